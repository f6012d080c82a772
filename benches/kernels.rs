//! How much faster than its reference is a kernel? One thread.
//!
//! `<op>_<level>/<dim>`: one pair of vectors, which stay in the first cache. `<op>_<level>/scan`: one query against a table
//! that fits no second cache, as an exact search does. Every level that this processor has; a kernel that is not faster than
//! its reference has no place.

use std::hint::black_box;
use std::process::ExitCode;

use criterion::{Criterion, Throughput};
use promptc_benches::{Clock, Recorder};
use promptc_kernels::{Kernels, available_levels};

/// Lengths of a pair of vectors.
const DIMS: [usize; 3] = [64, 512, 2048];
/// Length of a row of the table.
const SCAN_DIM: usize = 512;
/// Rows of the table: 16 MiB.
const SCAN_ROWS: usize = 8192;

/// Numbers in -1..1 that do not repeat within a table.
fn numbers(len: usize) -> Vec<f32> {
    (0..len as u64)
        .map(|idx| (idx.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0)
        .collect()
}

/// An op of one level, its result widened.
type Op = fn(&Kernels, &[f32], &[f32]) -> f64;

const OPS: [(&str, Op); 3] = [
    ("dot_f32", |kernels, left, right| f64::from(kernels.dot_f32(left, right))),
    ("l2_f32", |kernels, left, right| f64::from(kernels.l2_f32(left, right))),
    ("cosine_f32", |kernels, left, right| kernels.cosine_f32(left, right)),
];

fn kernels(criterion: &mut Criterion<Clock>) {
    let table = numbers(SCAN_ROWS * SCAN_DIM);
    for (name, op) in OPS {
        for level in available_levels() {
            let Ok(kernels) = Kernels::at(*level) else { continue };
            let mut group = criterion.benchmark_group(format!("{name}_{}", level.name()));
            for dim in DIMS {
                let (left, right) = (&table[..dim], &table[dim..2 * dim]);
                group.throughput(Throughput::Elements(dim as u64));
                group.bench_function(dim.to_string(), |bencher| {
                    bencher.iter(|| op(&kernels, black_box(left), black_box(right)));
                });
            }
            let query = &table[SCAN_DIM / 2..SCAN_DIM / 2 + SCAN_DIM];
            group.throughput(Throughput::Elements(table.len() as u64));
            group.bench_function("scan", |bencher| {
                bencher.iter(|| -> f64 {
                    table.chunks_exact(SCAN_DIM).map(|row| op(&kernels, query, row)).sum()
                });
            });
            group.finish();
        }
    }
}

fn main() -> ExitCode {
    let mut recorder = Recorder::start("kernels");
    recorder.param("threads", 1);
    let mut criterion = recorder.criterion();
    kernels(&mut criterion);
    criterion.final_summary();
    recorder.finish()
}
