//! The table: which levels there are, and what they promise beside their budgets.

use promptc_kernels::{Kernels, Level, available_levels};

#[test]
fn reference_and_portable_are_everywhere_and_the_last_level_is_the_best() {
    let levels = available_levels();
    assert_eq!(levels[..2], [Level::Reference, Level::Portable]);
    assert!(levels.is_sorted());
    assert_eq!(levels.last(), Some(&Kernels::best().level()));
}

#[test]
fn a_level_is_given_or_reported_as_absent() {
    for level in Level::ALL {
        match Kernels::at(level) {
            Ok(kernels) => {
                assert_eq!(kernels.level(), level);
                assert!(available_levels().contains(&level));
            }
            Err(absent) => {
                assert_eq!(absent.0, level);
                assert!(!available_levels().contains(&level));
                assert!(absent.to_string().contains(level.name()));
            }
        }
    }
}

#[test]
fn different_lengths_panic_at_every_level() {
    for &level in available_levels() {
        let kernels = Kernels::at(level).unwrap();
        type Call<'a> = &'a dyn Fn(&[f32], &[f32]) -> f64;
        let calls: [Call<'_>; 3] = [
            &|left, right| f64::from(kernels.dot_f32(left, right)),
            &|left, right| f64::from(kernels.l2_f32(left, right)),
            &|left, right| kernels.cosine_f32(left, right),
        ];
        for call in calls {
            let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(&[1.0; 9], &[1.0; 8])));
            assert!(found.is_err(), "{level:?}");
        }
    }
}

/// The bits of the portable level, which no processor may change: kept results depend on them.
#[test]
fn the_portable_level_keeps_its_bits() {
    let left: Vec<f32> = (0..37_u8).map(|idx| (f32::from(idx) - 11.0) / 7.0).collect();
    let right: Vec<f32> = (0..37_u8).map(|idx| 1.0 / (f32::from(idx) + 0.3)).collect();
    // The same sums written out by index, in `f32` without a block in sight.
    let sum_by_index = |term: &dyn Fn(f32, f32) -> f32| {
        let mut sums = [0.0_f32; 8];
        for idx in 0..left.len() {
            sums[idx % 8] += term(left[idx], right[idx]);
        }
        for distance in [4, 2, 1] {
            for idx in 0..distance {
                sums[idx] += sums[idx + distance];
            }
        }
        sums[0]
    };
    let kernels = Kernels::PORTABLE;
    assert_eq!(kernels.dot_f32(&left, &right).to_bits(), sum_by_index(&|a, b| a * b).to_bits());
    let squared = sum_by_index(&|a, b| (a - b) * (a - b));
    assert_eq!(kernels.l2_f32(&left, &right).to_bits(), squared.to_bits());
}
