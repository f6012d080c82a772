//! How much faster than its reference is a kernel? One thread.
//!
//! `<op>_<level>/<dim>`: one pair of vectors, which stay in the first cache. `<op>_<level>/scan`: one query against a table
//! that fits no second cache, as an exact search does. `scan_u8i8_<level>/<rows>`, `scan_bits_<level>/<rows>`: one query against
//! the codes of so many rows of 256 numbers, in their blocks; `dot_u8i8_rows`: against rows in random order. `gemm_f32_<level>/<rows>x<depth>x<width>`
//! and `gemm_i8_…` count multiplications with addition, `gemm_i8_<level>/round_<rows>x<depth>` numbers that are rounded; the other ops of a transformer layer count elements of a row. Every level that this processor
//! has; a kernel that is not faster than its reference has no place.

use std::hint::black_box;
use std::process::ExitCode;

use criterion::{BenchmarkGroup, Criterion, Throughput};
use promptc_benches::{Clock, Recorder};
use promptc_kernels::{
    BLOCK_ROWS, BYTE_BITS, Epilogue, Kernels, Level, MatrixF32, NibbleTables, PackedF32, PackedI8, RowsU8,
    Scoring, available_levels,
};

/// Lengths of a pair of vectors.
const DIMS: [usize; 3] = [64, 512, 2048];
/// Length of a row of the table.
const SCAN_DIM: usize = 512;
/// Rows of the table: 16 MiB.
const SCAN_ROWS: usize = 8192;
/// Numbers of a row of codes.
const CODE_DIM: usize = 256;
/// Rows of codes: within the second cache, the third, and beyond both for 8-bit codes.
const CODE_ROWS: [usize; 3] = [1_024, 10_240, 102_400];
/// Rows in random order whose sums are taken at a time.
const RANDOM_ROWS: usize = 128;

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

fn codes(criterion: &mut Criterion<Clock>) {
    let most = CODE_ROWS[CODE_ROWS.len() - 1];
    let codes: Vec<u8> =
        numbers(most * CODE_DIM).iter().map(|number| (number * 127.0 + 128.0) as u8).collect();
    let query: Vec<i8> = numbers(CODE_DIM).iter().map(|number| (number * 127.0) as i8).collect();
    let tables = vec![NibbleTables(std::array::from_fn(|idx| idx as u8)); CODE_DIM / BYTE_BITS];
    let random: Vec<u32> =
        (0..RANDOM_ROWS as u64).map(|idx| (idx * 0x9e37_79b9 % most as u64) as u32).collect();
    let (mut sums, mut scores, mut masks) = (vec![0; most], vec![0.0; most], vec![0; most / BLOCK_ROWS]);
    let factors = numbers(most);
    for level in available_levels() {
        let Ok(kernels) = Kernels::at(*level) else { continue };
        for rows in CODE_ROWS {
            let sums = &mut sums[..rows];
            let mut group = criterion.benchmark_group(format!("scan_u8i8_{}", level.name()));
            group.throughput(Throughput::Elements(rows as u64));
            let blocks = &codes[..rows * CODE_DIM];
            group.bench_function(rows.to_string(), |bencher| {
                bencher.iter(|| kernels.scan_u8i8(black_box(blocks), black_box(&query), sums));
            });
            group.finish();
            let mut group = criterion.benchmark_group(format!("scan_bits_{}", level.name()));
            group.throughput(Throughput::Elements(rows as u64));
            let blocks = &codes[..rows * CODE_DIM / BYTE_BITS];
            group.bench_function(rows.to_string(), |bencher| {
                bencher.iter(|| kernels.scan_bits(black_box(blocks), black_box(&tables), sums));
            });
            group.finish();
        }
        let mut group = criterion.benchmark_group(format!("dot_u8i8_rows_{}", level.name()));
        group.throughput(Throughput::Elements(RANDOM_ROWS as u64));
        group.bench_function(CODE_DIM.to_string(), |bencher| {
            bencher.iter(|| kernels.dot_u8i8_rows(&codes, &query, &random, &mut sums[..RANDOM_ROWS]));
        });
        group.finish();
        let mut group = criterion.benchmark_group(format!("scores_above_{}", level.name()));
        let rows = CODE_ROWS[0];
        group.throughput(Throughput::Elements(rows as u64));
        let scoring =
            Scoring { factors: &factors[..rows], offsets: &factors[..rows], scale: 0.5, shift: 1.0 };
        let (scores, masks) = (&mut scores[..rows], &mut masks[..rows / BLOCK_ROWS]);
        group.bench_function(rows.to_string(), |bencher| {
            bencher.iter(|| kernels.scores_above(&sums[..rows], black_box(&scoring), 0.9, scores, masks));
        });
        group.finish();
        let mut group = criterion.benchmark_group(format!("hadamard_f32_{}", level.name()));
        let mut values = numbers(CODE_DIM);
        group.throughput(Throughput::Elements(CODE_DIM as u64));
        group.bench_function(CODE_DIM.to_string(), |bencher| {
            bencher.iter(|| {
                kernels.hadamard_f32(black_box(&mut values));
                values[0] /= CODE_DIM as f32;
            });
        });
        group.finish();
    }
}

/// Rows, depth and width of a product: one sentence and a group of them in a feed-forward step of all-MiniLM-L6-v2.
const PRODUCTS: [[usize; 3]; 2] = [[33, 384, 1536], [512, 384, 1536]];
/// Lengths of rows: tokens of a sentence, widths of the same model.
const ROWS: [usize; 3] = [33, 384, 1536];

/// Of a layer norm.
static GAIN: [f32; 1536] = [1.5; 1536];
static BIAS: [f32; 1536] = [0.5; 1536];

/// An op on a row, in place.
type RowOp = fn(&Kernels, &mut [f32]);

const ROW_OPS: [(&str, RowOp); 3] = [
    ("gelu_f32", |kernels, row| kernels.gelu_f32(row)),
    ("softmax_f32", |kernels, row| kernels.softmax_f32(row, 0.2)),
    ("layer_norm_f32", |kernels, row| {
        kernels.layer_norm_f32(row, &GAIN[..row.len()], &BIAS[..row.len()], 1e-12);
    }),
];

/// The same products in 8 bits, and the rounding of their rows.
fn products_of_bytes(criterion: &mut Criterion<Clock>, level: Level, kernels: &Kernels) {
    let mut group = criterion.benchmark_group(format!("gemm_i8_{}", level.name()));
    for [rows, depth, width] in PRODUCTS {
        if level == Level::Reference {
            group.sample_size(10);
        }
        group.throughput(Throughput::Elements((rows * depth * width) as u64));
        let weights: Vec<i8> = numbers(depth * width).iter().map(|value| (value * 1e4) as i8).collect();
        let right = PackedI8::new(&weights, &vec![0.01; width], depth, width);
        let (values, mut left) = (numbers(rows * depth), RowsU8::default());
        let rows_of_numbers = MatrixF32 { values: &values, rows, stride: depth };
        kernels.round_rows(rows_of_numbers, depth, &mut left);
        let mut out = vec![0.0; rows * width];
        group.bench_function(format!("{rows}x{depth}x{width}"), |bencher| {
            bencher.iter(|| kernels.gemm_i8(&left, &right, Epilogue::Store, black_box(&mut out), width));
        });
        group.throughput(Throughput::Elements((rows * depth) as u64));
        group.bench_function(format!("round_{rows}x{depth}"), |bencher| {
            bencher.iter(|| kernels.round_rows(black_box(rows_of_numbers), depth, &mut left));
        });
    }
    attention_of_bytes(&mut group, kernels);
    group.finish();
}

/// What an attention of 128 tokens rounds: keys, values and shares of a head.
fn attention_of_bytes(group: &mut BenchmarkGroup<'_, Clock>, kernels: &Kernels) {
    const TOKENS: usize = 128;
    const WIDTH: usize = 32;
    let (values, scores) = (numbers(TOKENS * WIDTH), numbers(TOKENS * TOKENS));
    let rows = MatrixF32 { values: &values, rows: TOKENS, stride: WIDTH };
    let scores = MatrixF32 { values: &scores, rows: TOKENS, stride: TOKENS };
    let (mut packed, mut shares) = (PackedI8::default(), RowsU8::default());
    group.throughput(Throughput::Elements((TOKENS * WIDTH) as u64));
    group.bench_function("keys_128x32", |bencher| {
        bencher.iter(|| kernels.round_columns(black_box(rows), WIDTH, &mut packed));
    });
    group.bench_function("values_128x32", |bencher| {
        bencher.iter(|| kernels.round_steps(black_box(rows), WIDTH, &mut packed));
    });
    group.throughput(Throughput::Elements((TOKENS * TOKENS) as u64));
    group.bench_function("shares_128x128", |bencher| {
        bencher.iter(|| kernels.softmax_rows(black_box(scores), TOKENS, 0.2, &mut shares));
    });
}

fn layer_ops(criterion: &mut Criterion<Clock>) {
    for level in available_levels() {
        let Ok(kernels) = Kernels::at(*level) else { continue };
        let mut group = criterion.benchmark_group(format!("gemm_f32_{}", level.name()));
        for [rows, depth, width] in PRODUCTS {
            if *level == Level::Reference {
                group.sample_size(10);
            }
            group.throughput(Throughput::Elements((rows * depth * width) as u64));
            let (values, mut right) = (numbers(rows * depth), PackedF32::default());
            right.fill_rows(&numbers(depth * width), width, depth, width);
            let left = MatrixF32 { values: &values, rows, stride: depth };
            let mut out = vec![0.0; rows * width];
            group.bench_function(format!("{rows}x{depth}x{width}"), |bencher| {
                bencher.iter(|| kernels.gemm_f32(left, &right, Epilogue::Store, black_box(&mut out), width));
            });
        }
        group.finish();
        products_of_bytes(criterion, *level, &kernels);
        for (name, op) in ROW_OPS {
            let mut group = criterion.benchmark_group(format!("{name}_{}", level.name()));
            for len in ROWS {
                let start = numbers(len);
                let mut row = start.clone();
                group.throughput(Throughput::Elements(len as u64));
                group.bench_function(len.to_string(), |bencher| {
                    bencher.iter(|| {
                        row.copy_from_slice(&start);
                        op(&kernels, black_box(&mut row));
                    });
                });
            }
            group.finish();
        }
    }
}

fn main() -> ExitCode {
    let mut recorder = Recorder::start("kernels");
    recorder.param("threads", 1);
    let mut criterion = recorder.criterion();
    kernels(&mut criterion);
    codes(&mut criterion);
    layer_ops(&mut criterion);
    criterion.final_summary();
    recorder.finish()
}
