//! Every level against the reference, within the named budgets.

use promptc_kernels::{Kernels, Level, available_levels};
use proptest::prelude::*;

use super::budgets;

/// Around the widths of the registers (4, 8, 16), the blocks (8, 32, 64), and longer.
pub(crate) const LENGTHS: [usize; 30] = [
    0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 31, 32, 33, 47, 48, 63, 64, 65, 79, 80, 127, 128, 129,
    383, 768, 4099,
];

/// Largest start of a slice in its buffer, in elements: from 0 every alignment of a 64-byte register is met.
const STARTS: usize = 16;

/// Numbers in -1..1 from a counter: a fixed mixing of its bits (Steele et al. 2014, SplitMix64).
pub(crate) fn number(seed: u64) -> f32 {
    let mut bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits >> 40) as f32 / (1_u64 << 23) as f32) - 1.0
}

pub(crate) fn numbers(seed: u64, len: usize) -> Vec<f32> {
    (0..len as u64).map(|idx| number(seed << 32 | idx)).collect()
}

/// One level of one pair; complaints as text, so that a table of cases reports all of them.
fn complaints(level: Level, left: &[f32], right: &[f32]) -> Vec<String> {
    let kernels = Kernels::at(level).unwrap();
    let pairs =
        || left.iter().map(|value| f64::from(*value)).zip(right.iter().map(|value| f64::from(*value)));
    let products: f64 = pairs().map(|(left, right)| (left * right).abs()).sum();
    let squares: f64 = pairs().map(|(left, right)| (left - right).powi(2)).sum();
    let (dot, l2) = (Kernels::REFERENCE.dot_f32(left, right), Kernels::REFERENCE.l2_f32(left, right));
    let cosine = Kernels::REFERENCE.cosine_f32(left, right);
    let checks = [
        (
            "dot",
            f64::from(dot),
            f64::from(kernels.dot_f32(left, right)),
            budgets::sum_f32(level, left.len(), products),
        ),
        (
            "l2",
            f64::from(l2),
            f64::from(kernels.l2_f32(left, right)),
            budgets::sum_f32(level, left.len(), squares),
        ),
        ("cosine", cosine, kernels.cosine_f32(left, right), budgets::cosine_f32(left.len())),
    ];
    let is_off = |wanted: f64, found: f64, budget: f64| match wanted.is_finite() {
        true => found.is_nan() || (wanted - found).abs() > budget,
        false => !(wanted == found || wanted.is_nan() && found.is_nan()),
    };
    checks
        .into_iter()
        .filter(|(_, wanted, found, budget)| is_off(*wanted, *found, *budget))
        .map(|(op, wanted, found, budget)| {
            format!("{op} {level:?} of {}: {found} instead of {wanted} (+-{budget:e})", left.len())
        })
        .collect()
}

fn all_complaints(left: &[f32], right: &[f32]) -> Vec<String> {
    available_levels().iter().flat_map(|level| complaints(*level, left, right)).collect()
}

#[track_caller]
fn assert_agree(cases: impl IntoIterator<Item = (Vec<f32>, Vec<f32>)>) {
    let complaints: Vec<String> =
        cases.into_iter().flat_map(|(left, right)| all_complaints(&left, &right)).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn all_lengths() {
    assert_agree(LENGTHS.map(|len| (numbers(1, len), numbers(2, len))));
}

#[test]
fn the_free_functions_are_the_best_level() {
    let (left, right) = (numbers(1, 100), numbers(2, 100));
    let best = Kernels::best();
    assert_eq!(promptc_kernels::dot_f32(&left, &right), best.dot_f32(&left, &right));
    assert_eq!(promptc_kernels::l2_f32(&left, &right), best.l2_f32(&left, &right));
    assert_eq!(promptc_kernels::cosine_f32(&left, &right), best.cosine_f32(&left, &right));
}

#[test]
fn every_element_counts_once_at_every_place() {
    // Powers of two and small sums: exact at all levels, so that no budget hides a lost or doubled element.
    for &level in available_levels() {
        let kernels = Kernels::at(level).unwrap();
        for len in (0..=200).chain([1023, 1024, 1025]) {
            let (ones, twos) = (vec![1.0_f32; len], vec![3.0_f32; len]);
            assert_eq!(kernels.dot_f32(&ones, &twos), 3.0 * len as f32, "{level:?} {len}");
            assert_eq!(kernels.l2_f32(&ones, &twos), 4.0 * len as f32, "{level:?} {len}");
        }
        for place in 0..150 {
            let mut unit = vec![0.0_f32; 150];
            unit[place] = 2.0;
            let counting: Vec<f32> = (0..150_u8).map(f32::from).collect();
            assert_eq!(kernels.dot_f32(&unit, &counting), 2.0 * place as f32, "{level:?} {place}");
            assert_eq!(kernels.cosine_f32(&unit, &unit), 1.0, "{level:?} {place}");
        }
    }
}

#[test]
fn unaligned_starts_change_nothing() {
    let (left, right) = (numbers(3, 190), numbers(4, 190));
    for &level in available_levels() {
        let kernels = Kernels::at(level).unwrap();
        for start in 0..STARTS {
            let moved = |values: &[f32], start: usize| [&vec![9.0; start], values].concat();
            // Both starts differ, so that at most one of them is aligned.
            let (there, here) = (moved(&left, start), moved(&right, STARTS - start));
            let (there, here) = (&there[start..], &here[STARTS - start..]);
            assert_eq!(kernels.dot_f32(there, here), kernels.dot_f32(&left, &right), "{level:?} {start}");
            assert_eq!(kernels.l2_f32(there, here), kernels.l2_f32(&left, &right), "{level:?} {start}");
            assert_eq!(
                kernels.cosine_f32(there, here),
                kernels.cosine_f32(&left, &right),
                "{level:?} {start}"
            );
        }
    }
}

#[test]
fn zeros_of_both_signs() {
    for len in LENGTHS {
        assert_agree([
            (vec![0.0; len], vec![0.0; len]),
            (vec![-0.0; len], numbers(5, len)),
            (numbers(5, len), vec![0.0; len]),
        ]);
        for &level in available_levels() {
            let kernels = Kernels::at(level).unwrap();
            assert_eq!(kernels.cosine_f32(&vec![0.0; len], &numbers(5, len)), 0.0, "{level:?}");
        }
    }
}

#[test]
fn nan_and_infinities_at_every_place() {
    let specials =
        [(f32::NAN, 1.0), (f32::INFINITY, 1.0), (f32::NEG_INFINITY, 1.0), (f32::INFINITY, f32::INFINITY)];
    for len in [1, 8, 9, 33, 64, 79] {
        for place in 0..len {
            assert_agree(specials.map(|(one, other)| {
                let (mut left, mut right) = (numbers(6, len), numbers(7, len));
                (left[place], right[place]) = (one, other);
                (left, right)
            }));
        }
    }
    // Infinite times zero, and infinities of both signs: NaN.
    let (left, right) = (vec![f32::INFINITY, 1.0], vec![0.0, 1.0]);
    let (up, down) = (vec![f32::INFINITY, f32::NEG_INFINITY], vec![1.0, 1.0]);
    for &level in available_levels() {
        let kernels = Kernels::at(level).unwrap();
        assert!(kernels.dot_f32(&left, &right).is_nan() && kernels.dot_f32(&up, &down).is_nan(), "{level:?}");
        assert!(kernels.l2_f32(&left, &left).is_nan() && kernels.cosine_f32(&left, &right).is_nan());
        assert!(kernels.cosine_f32(&[f32::NAN], &[0.0]).is_nan(), "{level:?}");
    }
}

#[test]
fn subnormal_numbers() {
    let tiny = |seed, len| numbers(seed, len).iter().map(|value| value * 1e-40).collect::<Vec<f32>>();
    assert_agree(LENGTHS.map(|len| (tiny(8, len), tiny(9, len))));
    assert_agree(
        LENGTHS.map(|len| (tiny(8, len), numbers(9, len).iter().map(|value| value * 1e3).collect())),
    );
    let least = f32::from_bits(1);
    for &level in available_levels() {
        let kernels = Kernels::at(level).unwrap();
        assert_eq!(kernels.dot_f32(&[least; 70], &[1.0; 70]), 70.0 * least, "no flush to zero at {level:?}");
        assert_eq!(kernels.cosine_f32(&[least; 70], &[least; 70]), 1.0, "{level:?}");
    }
}

#[test]
fn large_values() {
    let large = |seed, len| numbers(seed, len).iter().map(|value| value * 1e17).collect::<Vec<f32>>();
    assert_agree(LENGTHS.map(|len| (large(10, len), large(11, len))));
    for &level in available_levels() {
        let kernels = Kernels::at(level).unwrap();
        // Squares of these overflow `f32`, and the cosine does not care.
        assert_eq!(kernels.cosine_f32(&[f32::MAX; 33], &[f32::MAX; 33]), 1.0, "{level:?}");
        assert_eq!(kernels.dot_f32(&[f32::MAX; 33], &[2.0; 33]), f32::INFINITY, "{level:?}");
    }
}

#[test]
fn cancelling_values() {
    // Each term has its opposite next to it or half a vector away: the sum is near zero, the terms are not.
    let next = |len: usize| -> Vec<f32> {
        (0..len).map(|idx| number(idx as u64 / 2) * if idx % 2 == 0 { 1e4 } else { -1e4 }).collect()
    };
    let apart = |len: usize| -> Vec<f32> {
        (0..len)
            .map(|idx| number((idx % len.div_ceil(2)) as u64) * if idx < len / 2 { 1e4 } else { -1e4 })
            .collect()
    };
    assert_agree(LENGTHS.map(|len| (next(len), vec![1.0; len])));
    assert_agree(LENGTHS.map(|len| (apart(len), vec![1.0; len])));
    // Nearly equal vectors: the differences have few bits left.
    assert_agree(LENGTHS.map(|len| {
        let left = numbers(12, len);
        let right = left.iter().map(|value| value * (1.0 + 3.0 * f32::EPSILON)).collect();
        (left, right)
    }));
}

#[test]
fn a_wrong_result_is_a_complaint() {
    let (left, mut right) = (numbers(13, 100), numbers(14, 100));
    let wanted = Kernels::REFERENCE.dot_f32(&left, &right);
    let magnitude: f64 = left.iter().zip(&right).map(|(left, right)| f64::from((left * right).abs())).sum();
    right[99] = 0.0;
    let lost = (Kernels::PORTABLE.dot_f32(&left, &right) - wanted).abs();
    assert!(f64::from(lost) > budgets::sum_f32(Level::Portable, 100, magnitude));
}

/// A component of any kind that leaves the sums finite.
fn component() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -1.0_f32..1.0,
        1 => -1e15_f32..1e15,
        1 => any::<f32>().prop_map(|value| value % 1e-30).prop_filter("finite", |value| value.is_finite()),
        1 => Just(0.0_f32),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_vectors(pairs in prop::collection::vec((component(), component()), 0..300)) {
        let (left, right): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let complaints = all_complaints(&left, &right);
        prop_assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }

    #[test]
    fn a_cosine_has_the_same_bits_at_all_levels_but_the_reference(
        pairs in prop::collection::vec((component(), component()), 0..300),
    ) {
        let (left, right): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let wanted = Kernels::PORTABLE.cosine_f32(&left, &right).to_bits();
        for &level in available_levels().iter().filter(|level| **level != Level::Reference) {
            prop_assert_eq!(Kernels::at(level).unwrap().cosine_f32(&left, &right).to_bits(), wanted);
        }
    }

    #[test]
    fn sums_in_f64_have_the_same_bits_at_all_levels_but_the_reference_and_are_near_it(
        pairs in prop::collection::vec((component(), component()), 0..300),
    ) {
        let (left, right): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
        type Sum = fn(&Kernels, &[f32], &[f32]) -> f64;
        let ops: [Sum; 2] = [Kernels::dot_f32f64, Kernels::l2_f32f64];
        for (idx, op) in ops.into_iter().enumerate() {
            let wanted = op(&Kernels::PORTABLE, &left, &right);
            for &level in available_levels().iter().filter(|level| **level != Level::Reference) {
                prop_assert_eq!(op(&Kernels::at(level).unwrap(), &left, &right).to_bits(), wanted.to_bits());
            }
            let term = |(left, right): &(f32, f32)| match idx {
                0 => (f64::from(*left) * f64::from(*right)).abs(),
                _ => (f64::from(*left) - f64::from(*right)).powi(2),
            };
            let magnitude: f64 = pairs.iter().map(term).sum();
            let distance = (op(&Kernels::REFERENCE, &left, &right) - wanted).abs();
            prop_assert!(distance <= budgets::sum_f32f64(left.len(), magnitude));
        }
    }

    #[test]
    fn a_vector_has_cosine_one_with_itself(values in prop::collection::vec(component(), 1..300)) {
        let (opposite, is_zero) = (values.iter().map(|value| -value).collect::<Vec<f32>>(), values.iter().all(|value| *value == 0.0));
        for &level in available_levels() {
            let kernels = Kernels::at(level).unwrap();
            let wanted = if is_zero { 0.0 } else { 1.0 };
            prop_assert_eq!(kernels.cosine_f32(&values, &values), wanted);
            prop_assert_eq!(kernels.cosine_f32(&values, &opposite), -wanted);
        }
    }
}
