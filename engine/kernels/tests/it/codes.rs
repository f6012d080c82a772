//! Ops on codes: every level gives the bits of the reference.

use promptc_kernels::{
    BLOCK_ROWS, GROUP_CODES, Kernels, Level, NibbleTables, Scoring, TABLE_ENTRY_MAX, available_levels,
};
use proptest::prelude::*;

/// Bytes from a counter: a fixed mixing of its bits (Steele et al. 2014, SplitMix64).
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let byte = |idx: u64| {
        let mut bits = (seed << 32 | idx).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (bits >> 40) as u8
    };
    (0..len as u64).map(byte).collect()
}

/// The same starting `start` bytes into its buffer, so that a register's alignment is met or missed.
struct Moved {
    bytes: Vec<u8>,
    start: usize,
}

impl Moved {
    fn new(bytes: &[u8], start: usize) -> Self {
        Self { bytes: [&vec![0xaa; start], bytes].concat(), start }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

fn signed(bytes: &[u8]) -> Vec<i8> {
    // -128 never stands in a query, but a kernel has to bear it.
    bytes.iter().map(|byte| *byte as i8).collect()
}

fn tables(seed: u64, len: usize) -> Vec<NibbleTables> {
    let entries = bytes(seed, len * 32);
    let entry = |byte: &u8| byte % (TABLE_ENTRY_MAX + 1);
    entries.as_chunks::<32>().0.iter().map(|entries| NibbleTables(entries.each_ref().map(entry))).collect()
}

fn levels() -> impl Iterator<Item = (Level, Kernels)> {
    available_levels().iter().map(|level| (*level, Kernels::at(*level).unwrap()))
}

#[test]
fn sums_of_blocks_of_eight_bit_codes() {
    for dim in [0, 4, 8, 12, 60, 64, 68, 128, 256, 384, 1_028] {
        for blocks in [0, 1, 2, 5] {
            let codes = bytes(1, dim * blocks * BLOCK_ROWS);
            let query = signed(&bytes(2, dim));
            let mut wanted = vec![7; blocks * BLOCK_ROWS];
            Kernels::REFERENCE.scan_u8i8(&codes, &query, &mut wanted);
            for start in [0, 1, 31] {
                let moved = Moved::new(&codes, start);
                for (level, kernels) in levels() {
                    let mut found = vec![-1; wanted.len()];
                    kernels.scan_u8i8(moved.bytes(), &query, &mut found);
                    assert_eq!(found, wanted, "{level:?} dim {dim} blocks {blocks} start {start}");
                }
            }
        }
    }
}

#[test]
fn a_code_stands_where_the_layout_says() {
    let (dim, row, place) = (8, 70, 5);
    let mut codes = vec![0; dim * 2 * BLOCK_ROWS];
    let block = dim * BLOCK_ROWS;
    codes[block + GROUP_CODES * BLOCK_ROWS + (row - BLOCK_ROWS) * GROUP_CODES + 1] = 200;
    let mut query = vec![0; dim];
    query[place] = -3;
    for (level, kernels) in levels() {
        let mut sums = vec![0; 2 * BLOCK_ROWS];
        kernels.scan_u8i8(&codes, &query, &mut sums);
        let wanted: Vec<i32> =
            (0..2 * BLOCK_ROWS as i32).map(|idx| if idx == row as i32 { -600 } else { 0 }).collect();
        assert_eq!(sums, wanted, "{level:?}");
    }
}

#[test]
fn largest_sums_do_not_wrap() {
    for (level, kernels) in levels() {
        let mut sums = vec![0; BLOCK_ROWS];
        kernels.scan_u8i8(&vec![255; 65_536 * BLOCK_ROWS], &vec![-128; 65_536], &mut sums);
        assert_eq!(sums, vec![-128 * 255 * 65_536; BLOCK_ROWS], "{level:?}");
        let mut sums = vec![0; 1];
        kernels.dot_u8i8_rows(&vec![255; 65_536], &vec![-128; 65_536], &[0], &mut sums);
        assert_eq!(sums, [-128 * 255 * 65_536], "{level:?}");
        let full = vec![NibbleTables([TABLE_ENTRY_MAX; 32]); 512];
        let mut sums = vec![0; BLOCK_ROWS];
        kernels.scan_bits(&vec![0x5a; 512 * BLOCK_ROWS], &full, &mut sums);
        assert_eq!(sums, vec![i32::from(TABLE_ENTRY_MAX) * 1_024; BLOCK_ROWS], "{level:?}");
    }
}

#[test]
fn sums_of_blocks_of_bits() {
    for len in [0, 1, 2, 3, 4, 7, 8, 31, 32, 33, 48, 512] {
        for blocks in [0, 1, 2, 3] {
            let codes = bytes(3, len * blocks * BLOCK_ROWS);
            let tables = tables(4, len);
            let mut wanted = vec![7; blocks * BLOCK_ROWS];
            Kernels::REFERENCE.scan_bits(&codes, &tables, &mut wanted);
            for start in [0, 1, 31] {
                let moved = Moved::new(&codes, start);
                for (level, kernels) in levels() {
                    let mut found = vec![-1; wanted.len()];
                    kernels.scan_bits(moved.bytes(), &tables, &mut found);
                    assert_eq!(found, wanted, "{level:?} bytes {len} blocks {blocks} start {start}");
                }
            }
        }
    }
}

#[test]
fn sums_of_single_rows() {
    for dim in [1, 2, 15, 16, 17, 31, 63, 64, 65, 127, 128, 200, 256, 384, 1_000] {
        let codes = bytes(5, dim * 40);
        let query = signed(&bytes(6, dim));
        let rows: Vec<u32> = (0..60).map(|idx| idx * 17 % 40).collect();
        let mut wanted = vec![0; rows.len()];
        Kernels::REFERENCE.dot_u8i8_rows(&codes, &query, &rows, &mut wanted);
        for (level, kernels) in levels() {
            let mut found = vec![-1; rows.len()];
            kernels.dot_u8i8_rows(&codes, &query, &rows, &mut found);
            assert_eq!(found, wanted, "{level:?} dim {dim}");
        }
    }
}

#[test]
fn scores_and_masks_with_every_kind_of_number() {
    let count = 3 * BLOCK_ROWS;
    let sums: Vec<i32> = (0..count as i32).map(|idx| (idx - 90) * 7_919).collect();
    let specials = [1.5, -2.0, 0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, f32::MAX];
    let factors: Vec<f32> = (0..count).map(|idx| specials[idx % specials.len()]).collect();
    let offsets: Vec<f32> = (0..count).map(|idx| specials[idx / 2 % specials.len()] * 0.3).collect();
    let scoring = Scoring { factors: &factors, offsets: &offsets, scale: 0.001, shift: -3.7 };
    for threshold in [0.0, -5.0, f32::NEG_INFINITY, f32::INFINITY, f32::NAN] {
        let (mut wanted, mut wanted_masks) = (vec![0.0; count], vec![1; 3]);
        Kernels::REFERENCE.scores_above(&sums, &scoring, threshold, &mut wanted, &mut wanted_masks);
        for (level, kernels) in levels() {
            let (mut found, mut masks) = (vec![0.0; count], vec![u64::MAX; 3]);
            kernels.scores_above(&sums, &scoring, threshold, &mut found, &mut masks);
            let same = |found: &f32, wanted: &f32| {
                found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan()
            };
            assert!(found.iter().zip(&wanted).all(|(found, wanted)| same(found, wanted)), "{level:?}");
            assert_eq!(masks, wanted_masks, "{level:?} above {threshold}");
        }
    }
}

#[test]
fn hadamard_has_the_same_bits_and_is_its_own_inverse() {
    for exponent in 0..13 {
        let len = 1_usize << exponent;
        let values: Vec<f32> = bytes(7, len).iter().map(|byte| f32::from(*byte) / 37.0 - 3.0).collect();
        let mut wanted = values.clone();
        Kernels::REFERENCE.hadamard_f32(&mut wanted);
        // The definition, for one place.
        let place = len * 5 / 7;
        let sum: f64 = (0..len)
            .map(|idx| {
                f64::from(values[idx]) * if (idx & place).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 }
            })
            .sum();
        assert!((f64::from(wanted[place]) - sum).abs() <= 1e-5 * len as f64, "{len}");
        for (level, kernels) in levels() {
            let mut found = values.clone();
            kernels.hadamard_f32(&mut found);
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
            assert_eq!(bits(&found), bits(&wanted), "{level:?} {len}");
            kernels.hadamard_f32(&mut found);
            let back = found.iter().map(|value| value / len as f32);
            assert!(back.zip(&values).all(|(back, value)| (back - value).abs() < 1e-4), "{level:?} {len}");
        }
    }
}

#[test]
fn lengths_that_disagree_panic_at_every_level() {
    for (level, kernels) in levels() {
        let calls: [&dyn Fn(); 6] = [
            &|| kernels.scan_u8i8(&[0; 4 * 64 - 1], &[0; 4], &mut [0; 64]),
            &|| kernels.scan_u8i8(&[0; 4 * 63], &[0; 4], &mut [0; 63]),
            &|| kernels.scan_u8i8(&[0; 3 * 64], &[0; 3], &mut [0; 64]),
            &|| kernels.scan_bits(&[0; 63], &[NibbleTables([0; 32])], &mut [0; 64]),
            &|| kernels.dot_u8i8_rows(&[0; 15], &[0; 8], &[1], &mut [0]),
            &|| kernels.hadamard_f32(&mut [0.0; 12]),
        ];
        for (idx, call) in calls.into_iter().enumerate() {
            let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
            assert!(found.is_err(), "{level:?} call {idx}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_codes_agree(seed in 0_u64..1 << 31, groups in 1_usize..40, blocks in 1_usize..4) {
        let dim = groups * GROUP_CODES;
        let codes = bytes(seed, dim * blocks * BLOCK_ROWS);
        let query = signed(&bytes(seed + 1, dim));
        let tables = tables(seed + 2, dim);
        let (mut wanted, mut wanted_bits) = (vec![0; blocks * BLOCK_ROWS], vec![0; blocks * BLOCK_ROWS]);
        Kernels::REFERENCE.scan_u8i8(&codes, &query, &mut wanted);
        Kernels::REFERENCE.scan_bits(&codes, &tables, &mut wanted_bits);
        for (_, kernels) in levels() {
            let mut found = vec![0; wanted.len()];
            kernels.scan_u8i8(&codes, &query, &mut found);
            prop_assert_eq!(&found, &wanted);
            kernels.scan_bits(&codes, &tables, &mut found);
            prop_assert_eq!(&found, &wanted_bits);
        }
    }
}
