//! Ops on codes with 256-bit registers.

use std::arch::x86_64::{
    __m256i, _CMP_GT_OQ, _mm_loadu_si128, _mm256_add_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps,
    _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_castsi256_si128, _mm256_cmp_ps,
    _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_cvtepu16_epi32,
    _mm256_extracti128_si256, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_movemask_ps,
    _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16, _mm256_storeu_ps,
    _mm256_storeu_si256, _mm256_sub_epi16, _mm256_unpackhi_epi16, _mm256_unpacklo_epi16,
};

use crate::codes::{BLOCK_ROWS, CodeOps, GROUP_CODES, NibbleTables, Scoring};
use crate::portable::codes::hadamard_from;
use crate::x86_64::prefetch;

/// Bytes of a register.
const BYTES: usize = 32;
/// `f32` or `i32` of a register.
const LANES: usize = 8;
/// Rows that are fetched ahead of the one whose sum is taken.
pub(crate) const PREFETCH_ROWS: usize = 8;

/// The ops of this level; the caller has found AVX2.
pub(crate) const OPS: CodeOps = CodeOps {
    // SAFETY: reached through the table alone, which holds it only after AVX2 has been found.
    scan_u8i8: |codes, query, sums| unsafe { scan_u8i8_avx2(codes, query, sums) },
    // SAFETY: as above.
    scan_bits: |codes, tables, sums| unsafe { scan_bits_avx2(codes, tables, sums) },
    // SAFETY: as above.
    dot_u8i8_rows: |codes, query, rows, sums| unsafe { dot_u8i8_rows_avx2(codes, query, rows, sums) },
    // SAFETY: as above.
    scores_above: |sums, scoring, threshold, scores, masks| unsafe {
        scores_above_avx2(sums, scoring, threshold, scores, masks)
    },
    // SAFETY: as above.
    hadamard_f32: |values| unsafe { hadamard_f32_avx2(values) },
};

/// Codes 0, 2 and codes 1, 3 of a group are widened to 16 bits and multiplied in pairs.
#[target_feature(enable = "avx2")]
fn scan_u8i8_avx2(codes: &[u8], query: &[i8], sums: &mut [i32]) {
    let even_codes = _mm256_set1_epi16(0xff);
    let blocks = codes.chunks_exact((query.len() * BLOCK_ROWS).max(1));
    sums.fill(0);
    for (sums, block) in sums.as_chunks_mut::<BLOCK_ROWS>().0.iter_mut().zip(blocks) {
        let mut totals = [_mm256_setzero_si256(); BLOCK_ROWS / LANES];
        let groups = block.as_chunks::<{ BLOCK_ROWS * GROUP_CODES }>().0;
        for (group, query) in groups.iter().zip(query.as_chunks::<GROUP_CODES>().0) {
            let evens = _mm256_set1_epi32(pair(query[0], query[2]));
            let odds = _mm256_set1_epi32(pair(query[1], query[3]));
            for (total, codes) in totals.iter_mut().zip(group.as_chunks::<BYTES>().0) {
                let codes = load(codes);
                let even = _mm256_madd_epi16(_mm256_and_si256(codes, even_codes), evens);
                let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(codes), odds);
                *total = _mm256_add_epi32(*total, _mm256_add_epi32(even, odd));
            }
        }
        for (sums, total) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(totals) {
            store(sums, total);
        }
    }
}

/// Two numbers as one 32-bit lane, the first one low.
fn pair(low: i8, high: i8) -> i32 {
    i32::from(high) << 16 | i32::from(low) & 0xffff
}

/// 64 rows are two registers. Four look-ups fit a byte; then the bytes are added to 16-bit sums: all of them to `both`, those
/// of odd rows also to `odd`, so that the even ones are what is left of `both`.
#[target_feature(enable = "avx2")]
fn scan_bits_avx2(codes: &[u8], tables: &[NibbleTables], sums: &mut [i32]) {
    let blocks = codes.chunks_exact((tables.len() * BLOCK_ROWS).max(1));
    sums.fill(0);
    for (sums, block) in sums.as_chunks_mut::<BLOCK_ROWS>().0.iter_mut().zip(blocks) {
        let mut both = [_mm256_setzero_si256(); 2];
        let mut odd = [_mm256_setzero_si256(); 2];
        let bytes = block.as_chunks::<BLOCK_ROWS>().0;
        let (byte_pairs, last_byte) = bytes.as_chunks::<2>();
        let (table_pairs, last_table) = tables.as_chunks::<2>();
        for (bytes, tables) in byte_pairs.iter().zip(table_pairs) {
            for half in 0..2 {
                let first = looked_up(&bytes[0], half, &tables[0]);
                let sum = _mm256_add_epi8(first, looked_up(&bytes[1], half, &tables[1]));
                both[half] = _mm256_add_epi16(both[half], sum);
                odd[half] = _mm256_add_epi16(odd[half], _mm256_srli_epi16::<8>(sum));
            }
        }
        for (bytes, table) in last_byte.iter().zip(last_table) {
            for half in 0..2 {
                let sum = looked_up(bytes, half, table);
                both[half] = _mm256_add_epi16(both[half], sum);
                odd[half] = _mm256_add_epi16(odd[half], _mm256_srli_epi16::<8>(sum));
            }
        }
        for (half, sums) in sums.as_chunks_mut::<BYTES>().0.iter_mut().enumerate() {
            let even = _mm256_sub_epi16(both[half], _mm256_slli_epi16::<8>(odd[half]));
            // Within each 16 rows of a register, the first and the last eight.
            let first = _mm256_unpacklo_epi16(even, odd[half]);
            let last = _mm256_unpackhi_epi16(even, odd[half]);
            let rows = sums.as_chunks_mut::<LANES>().0;
            store(&mut rows[0], _mm256_cvtepu16_epi32(_mm256_castsi256_si128(first)));
            store(&mut rows[1], _mm256_cvtepu16_epi32(_mm256_castsi256_si128(last)));
            store(&mut rows[2], _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(first)));
            store(&mut rows[3], _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(last)));
        }
    }
}

/// For 32 rows of a block, the entries that their bytes choose.
#[inline]
#[target_feature(enable = "avx2")]
fn looked_up(bytes: &[u8; BLOCK_ROWS], half: usize, tables: &NibbleTables) -> __m256i {
    let nibble = _mm256_set1_epi8(15);
    let codes = load(&bytes.as_chunks::<BYTES>().0[half]);
    let (low, high) = tables.0.split_at(16);
    let low = _mm256_shuffle_epi8(broadcast(low), _mm256_and_si256(codes, nibble));
    let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble);
    _mm256_add_epi8(low, _mm256_shuffle_epi8(broadcast(high), upper))
}

/// Sixteen codes at a time, widened to 16 bits.
#[target_feature(enable = "avx2")]
fn dot_u8i8_rows_avx2(codes: &[u8], query: &[i8], rows: &[u32], sums: &mut [i32]) {
    let (queries, query_rest) = query.as_chunks::<16>();
    for (idx, (sum, row)) in sums.iter_mut().zip(rows).enumerate() {
        if let Some(ahead) = rows.get(idx + PREFETCH_ROWS) {
            let start = *ahead as usize * query.len();
            prefetch(&codes[start..start + query.len()]);
        }
        let start = *row as usize * query.len();
        let (codes, rest) = codes[start..start + query.len()].as_chunks::<16>();
        let mut total = _mm256_setzero_si256();
        for (codes, query) in codes.iter().zip(queries) {
            // SAFETY: both arrays have the 16 bytes that are read; any alignment is allowed.
            let (codes, query) =
                unsafe { (_mm_loadu_si128(codes.as_ptr().cast()), _mm_loadu_si128(query.as_ptr().cast())) };
            let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(codes), _mm256_cvtepi8_epi16(query));
            total = _mm256_add_epi32(total, products);
        }
        let mut lanes = [0; LANES];
        store(&mut lanes, total);
        let rest = rest.iter().zip(query_rest).map(|(code, number)| i32::from(*code) * i32::from(*number));
        *sum = lanes.iter().sum::<i32>() + rest.sum::<i32>();
    }
}

/// Eight rows at a time; multiplications and additions stay apart.
#[target_feature(enable = "avx2")]
fn scores_above_avx2(
    sums: &[i32],
    scoring: &Scoring<'_>,
    threshold: f32,
    scores: &mut [f32],
    masks: &mut [u64],
) {
    let (scale, shift) = (_mm256_set1_ps(scoring.scale), _mm256_set1_ps(scoring.shift));
    let threshold = _mm256_set1_ps(threshold);
    masks.fill(0);
    let scores = scores.as_chunks_mut::<LANES>().0.iter_mut();
    let rows = sums.as_chunks::<LANES>().0.iter().zip(scoring.factors.as_chunks::<LANES>().0);
    let rows = rows.zip(scoring.offsets.as_chunks::<LANES>().0);
    for (idx, (((sums, factors), offsets), scores)) in rows.zip(scores).enumerate() {
        // SAFETY: each array has the 32 bytes that are read; any alignment is allowed.
        let (sums, factors, offsets) = unsafe {
            (
                _mm256_cvtepi32_ps(_mm256_loadu_si256(sums.as_ptr().cast())),
                _mm256_loadu_ps(factors.as_ptr()),
                _mm256_loadu_ps(offsets.as_ptr()),
            )
        };
        let product = _mm256_add_ps(_mm256_mul_ps(scale, sums), shift);
        let score = _mm256_add_ps(offsets, _mm256_mul_ps(factors, product));
        // SAFETY: the array has the 32 bytes that are written; any alignment is allowed.
        unsafe { _mm256_storeu_ps(scores.as_mut_ptr(), score) };
        let above = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(score, threshold));
        masks[idx * LANES / BLOCK_ROWS] |= u64::from(above as u8) << (idx * LANES % BLOCK_ROWS);
    }
}

/// Small distances in eights, the others as long loops: the compiler vectorises both with these instructions.
#[target_feature(enable = "avx2")]
fn hadamard_f32_avx2(values: &mut [f32]) {
    if values.len() < LANES {
        return hadamard_from(values, 1);
    }
    for eight in values.as_chunks_mut::<LANES>().0 {
        hadamard_from(eight, 1);
    }
    hadamard_from(values, LANES);
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; BYTES]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read; any alignment is allowed.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(lanes: &mut [i32; LANES], value: __m256i) {
    // SAFETY: the array has the 32 bytes that are written; any alignment is allowed.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), value) }
}

/// The 16 entries of a table in both halves.
#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(table: &[u8]) -> __m256i {
    debug_assert_eq!(table.len(), 16);
    // SAFETY: half of a `NibbleTables` has the 16 bytes that are read; any alignment is allowed.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
}
