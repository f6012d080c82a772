//! Ops on codes, row by row and code by code. Lengths agree here; the table sees to it.

use crate::codes::{BLOCK_ROWS, GROUP_CODES, NibbleTables, Scoring};

/// Place of a code: block, then group of four codes, then row, then code.
pub(crate) fn scan_u8i8_reference(codes: &[u8], query: &[i8], sums: &mut [i32]) {
    for (row, sum) in sums.iter_mut().enumerate() {
        *sum = 0;
        let block = row / BLOCK_ROWS * BLOCK_ROWS * query.len();
        for (idx, number) in query.iter().enumerate() {
            let group = idx / GROUP_CODES * BLOCK_ROWS * GROUP_CODES;
            let place = block + group + row % BLOCK_ROWS * GROUP_CODES + idx % GROUP_CODES;
            *sum += i32::from(codes[place]) * i32::from(*number);
        }
    }
}

/// Place of a byte: block, then byte, then row.
pub(crate) fn scan_bits_reference(codes: &[u8], tables: &[NibbleTables], sums: &mut [i32]) {
    for (row, sum) in sums.iter_mut().enumerate() {
        *sum = 0;
        for (idx, table) in tables.iter().enumerate() {
            let place = (row / BLOCK_ROWS * tables.len() + idx) * BLOCK_ROWS + row % BLOCK_ROWS;
            let byte = usize::from(codes[place]);
            *sum += i32::from(table.0[byte & 15]) + i32::from(table.0[16 + (byte >> 4)]);
        }
    }
}

/// Codes stand row by row.
pub(crate) fn dot_u8i8_rows_reference(codes: &[u8], query: &[i8], rows: &[u32], sums: &mut [i32]) {
    for (sum, row) in sums.iter_mut().zip(rows) {
        *sum = 0;
        for (idx, number) in query.iter().enumerate() {
            *sum += i32::from(codes[*row as usize * query.len() + idx]) * i32::from(*number);
        }
    }
}

/// `offset + factor * (scale * sum + shift)` in `f32`.
pub(crate) fn scores_above_reference(
    sums: &[i32],
    scoring: &Scoring<'_>,
    threshold: f32,
    scores: &mut [f32],
    masks: &mut [u64],
) {
    masks.fill(0);
    for (row, sum) in sums.iter().enumerate() {
        let product = scoring.scale * *sum as f32 + scoring.shift;
        scores[row] = scoring.offsets[row] + scoring.factors[row] * product;
        if scores[row] > threshold {
            masks[row / BLOCK_ROWS] |= 1 << (row % BLOCK_ROWS);
        }
    }
}

/// Butterflies over distances 1, 2, 4 and so on.
pub(crate) fn hadamard_f32_reference(values: &mut [f32]) {
    let mut distance = 1;
    while distance < values.len() {
        for start in (0..values.len()).step_by(2 * distance) {
            for idx in start..start + distance {
                let (left, right) = (values[idx], values[idx + distance]);
                values[idx] = left + right;
                values[idx + distance] = left - right;
            }
        }
        distance *= 2;
    }
}
