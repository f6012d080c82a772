//! Ops on codes in loops over the rows of a block, which the compiler turns into vector code on any target.

use crate::codes::{BLOCK_ROWS, GROUP_CODES, NibbleTables, Scoring};

/// [`crate::Kernels::scan_u8i8`].
pub(crate) fn scan_u8i8_portable(codes: &[u8], query: &[i8], sums: &mut [i32]) {
    let blocks = codes.chunks_exact((query.len() * BLOCK_ROWS).max(1));
    sums.fill(0);
    for (sums, block) in sums.as_chunks_mut::<BLOCK_ROWS>().0.iter_mut().zip(blocks) {
        let (groups, queries) = (block.as_chunks::<{ BLOCK_ROWS * GROUP_CODES }>().0, query.as_chunks().0);
        for (group, query) in groups.iter().zip(queries) {
            let query: &[i8; GROUP_CODES] = query;
            let query = query.map(i32::from);
            for (sum, codes) in sums.iter_mut().zip(group.as_chunks::<GROUP_CODES>().0) {
                let [a, b, c, d] = codes.map(i32::from);
                *sum += a * query[0] + b * query[1] + c * query[2] + d * query[3];
            }
        }
    }
}

/// [`crate::Kernels::scan_bits`].
pub(crate) fn scan_bits_portable(codes: &[u8], tables: &[NibbleTables], sums: &mut [i32]) {
    let blocks = codes.chunks_exact((tables.len() * BLOCK_ROWS).max(1));
    sums.fill(0);
    for (sums, block) in sums.as_chunks_mut::<BLOCK_ROWS>().0.iter_mut().zip(blocks) {
        for (table, bytes) in tables.iter().zip(block.as_chunks::<BLOCK_ROWS>().0) {
            for (sum, byte) in sums.iter_mut().zip(bytes) {
                let (low, high) = (usize::from(byte & 15), usize::from(16 + (byte >> 4)));
                *sum += i32::from(table.0[low]) + i32::from(table.0[high]);
            }
        }
    }
}

/// [`crate::Kernels::dot_u8i8_rows`].
pub(crate) fn dot_u8i8_rows_portable(codes: &[u8], query: &[i8], rows: &[u32], sums: &mut [i32]) {
    for (sum, row) in sums.iter_mut().zip(rows) {
        let start = *row as usize * query.len();
        let codes = &codes[start..start + query.len()];
        *sum = codes.iter().zip(query).map(|(code, number)| i32::from(*code) * i32::from(*number)).sum();
    }
}

/// [`crate::Kernels::scores_above`].
pub(crate) fn scores_above_portable(
    sums: &[i32],
    scoring: &Scoring<'_>,
    threshold: f32,
    scores: &mut [f32],
    masks: &mut [u64],
) {
    for (score, ((sum, factor), offset)) in
        scores.iter_mut().zip(sums.iter().zip(scoring.factors).zip(scoring.offsets))
    {
        *score = offset + factor * (scoring.scale * *sum as f32 + scoring.shift);
    }
    for (mask, scores) in masks.iter_mut().zip(scores.as_chunks::<BLOCK_ROWS>().0) {
        let above = |(place, score): (usize, &f32)| u64::from(*score > threshold) << place;
        *mask = scores.iter().enumerate().map(above).fold(0, |mask, bit| mask | bit);
    }
}

/// [`crate::Kernels::hadamard_f32`].
pub(crate) fn hadamard_f32_portable(values: &mut [f32]) {
    hadamard_from(values, 1);
}

/// The butterflies from this distance on.
#[inline(always)]
pub(crate) fn hadamard_from(values: &mut [f32], first_distance: usize) {
    let mut distance = first_distance;
    while distance < values.len() {
        for pair in values.chunks_exact_mut(2 * distance) {
            let (lefts, rights) = pair.split_at_mut(distance);
            for (left, right) in lefts.iter_mut().zip(rights) {
                (*left, *right) = (*left + *right, *left - *right);
            }
        }
        distance *= 2;
    }
}
