//! Ops on codes with 512-bit registers, 8-bit products with VNNI.

use std::arch::x86_64::{
    __m512, __m512i, _CMP_GT_OQ, _mm_loadu_si128, _mm512_add_epi8, _mm512_add_epi16, _mm512_add_epi32,
    _mm512_add_ps, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_castsi512_si256, _mm512_cmp_ps_mask,
    _mm512_cvtepi32_ps, _mm512_cvtepu16_epi32, _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_sub_ps, _mm512_maskz_loadu_epi8, _mm512_mul_ps,
    _mm512_permute_ps, _mm512_permutex2var_epi64, _mm512_reduce_add_epi32, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setr_epi64, _mm512_setzero_si512, _mm512_shuffle_epi8,
    _mm512_shuffle_f32x4, _mm512_slli_epi16, _mm512_srli_epi16, _mm512_storeu_ps, _mm512_storeu_si512,
    _mm512_sub_epi16, _mm512_unpackhi_epi16, _mm512_unpacklo_epi16,
};

use crate::codes::{BLOCK_ROWS, CodeOps, GROUP_CODES, NibbleTables, Scoring};
use crate::portable::codes::hadamard_from;
use crate::x86_64::codes_avx2::PREFETCH_ROWS;
use crate::x86_64::prefetch;

/// Bytes of a register.
const BYTES: usize = 64;
/// `f32` or `i32` of a register.
const LANES: usize = 16;

/// The ops of this level; the caller has found AVX-512F, BW and VNNI.
pub(crate) const OPS: CodeOps = CodeOps {
    // SAFETY: reached through the table alone, which holds it only after AVX-512F, BW and VNNI have been found.
    scan_u8i8: |codes, query, sums| unsafe { scan_u8i8_avx512(codes, query, sums) },
    // SAFETY: as above.
    scan_bits: |codes, tables, sums| unsafe { scan_bits_avx512(codes, tables, sums) },
    // SAFETY: as above.
    dot_u8i8_rows: |codes, query, rows, sums| unsafe { dot_u8i8_rows_avx512(codes, query, rows, sums) },
    // SAFETY: as above.
    scores_above: |sums, scoring, threshold, scores, masks| unsafe {
        scores_above_avx512(sums, scoring, threshold, scores, masks)
    },
    // SAFETY: as above.
    hadamard_f32: |values| unsafe { hadamard_f32_avx512(values) },
};

/// Each lane is a row: four products and their sum are one instruction.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn scan_u8i8_avx512(codes: &[u8], query: &[i8], sums: &mut [i32]) {
    let blocks = codes.chunks_exact((query.len() * BLOCK_ROWS).max(1));
    sums.fill(0);
    for (sums, block) in sums.as_chunks_mut::<BLOCK_ROWS>().0.iter_mut().zip(blocks) {
        let mut totals = [_mm512_setzero_si512(); BLOCK_ROWS / LANES];
        let groups = block.as_chunks::<{ BLOCK_ROWS * GROUP_CODES }>().0;
        for (group, query) in groups.iter().zip(query.as_chunks::<GROUP_CODES>().0) {
            let query = _mm512_set1_epi32(i32::from_le_bytes(query.map(|number| number as u8)));
            for (total, codes) in totals.iter_mut().zip(group.as_chunks::<BYTES>().0) {
                *total = _mm512_dpbusd_epi32(*total, load(codes), query);
            }
        }
        for (sums, total) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(totals) {
            store(sums, total);
        }
    }
}

/// 64 rows are one register; the sums are kept as at the level of 256 bits.
#[target_feature(enable = "avx512f,avx512bw")]
fn scan_bits_avx512(codes: &[u8], tables: &[NibbleTables], sums: &mut [i32]) {
    let blocks = codes.chunks_exact((tables.len() * BLOCK_ROWS).max(1));
    sums.fill(0);
    for (sums, block) in sums.as_chunks_mut::<BLOCK_ROWS>().0.iter_mut().zip(blocks) {
        let mut both = _mm512_setzero_si512();
        let mut odd = _mm512_setzero_si512();
        let bytes = block.as_chunks::<BLOCK_ROWS>().0;
        let (byte_pairs, last_byte) = bytes.as_chunks::<2>();
        let (table_pairs, last_table) = tables.as_chunks::<2>();
        for (bytes, tables) in byte_pairs.iter().zip(table_pairs) {
            let sum = _mm512_add_epi8(looked_up(&bytes[0], &tables[0]), looked_up(&bytes[1], &tables[1]));
            both = _mm512_add_epi16(both, sum);
            odd = _mm512_add_epi16(odd, _mm512_srli_epi16::<8>(sum));
        }
        for (bytes, table) in last_byte.iter().zip(last_table) {
            let sum = looked_up(bytes, table);
            both = _mm512_add_epi16(both, sum);
            odd = _mm512_add_epi16(odd, _mm512_srli_epi16::<8>(sum));
        }
        store_words(sums, both, odd);
    }
}

/// For 64 rows, the entries that their bytes choose.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn looked_up(bytes: &[u8; BLOCK_ROWS], tables: &NibbleTables) -> __m512i {
    let nibble = _mm512_set1_epi8(15);
    let codes = load(bytes);
    let (low, high) = tables.0.split_at(16);
    let low = _mm512_shuffle_epi8(broadcast(low), _mm512_and_si512(codes, nibble));
    let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble);
    _mm512_add_epi8(low, _mm512_shuffle_epi8(broadcast(high), upper))
}

/// The sums of even rows are what `both` holds beyond 256 times those of the odd ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_words(sums: &mut [i32; BLOCK_ROWS], both: __m512i, odd: __m512i) {
    let even = _mm512_sub_epi16(both, _mm512_slli_epi16::<8>(odd));
    // Within each 16 rows, the first and the last eight; then in the order of the rows.
    let (first, last) = (_mm512_unpacklo_epi16(even, odd), _mm512_unpackhi_epi16(even, odd));
    let lower = _mm512_permutex2var_epi64(first, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), last);
    let upper = _mm512_permutex2var_epi64(first, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), last);
    let rows = sums.as_chunks_mut::<LANES>().0;
    store(&mut rows[0], _mm512_cvtepu16_epi32(_mm512_castsi512_si256(lower)));
    store(&mut rows[1], _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(lower)));
    store(&mut rows[2], _mm512_cvtepu16_epi32(_mm512_castsi512_si256(upper)));
    store(&mut rows[3], _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(upper)));
}

/// Four registers at a time, the rest masked.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot_u8i8_rows_avx512(codes: &[u8], query: &[i8], rows: &[u32], sums: &mut [i32]) {
    let (queries, query_rest) = query.as_chunks::<BYTES>();
    let mask = (1_u64 << query_rest.len()) - 1;
    // SAFETY: the mask has one bit for each number of the rest, and bytes whose bit is 0 are not read.
    let query_rest = unsafe { _mm512_maskz_loadu_epi8(mask, query_rest.as_ptr()) };
    for (idx, (sum, row)) in sums.iter_mut().zip(rows).enumerate() {
        if let Some(ahead) = rows.get(idx + PREFETCH_ROWS) {
            let start = *ahead as usize * query.len();
            prefetch(&codes[start..start + query.len()]);
        }
        let start = *row as usize * query.len();
        let (codes, rest) = codes[start..start + query.len()].as_chunks::<BYTES>();
        let mut totals = [_mm512_setzero_si512(); 2];
        for (idx, (codes, query)) in codes.iter().zip(queries).enumerate() {
            // SAFETY: the array has the 64 bytes that are read; any alignment is allowed.
            let query = unsafe { _mm512_loadu_si512(query.as_ptr().cast()) };
            totals[idx % 2] = _mm512_dpbusd_epi32(totals[idx % 2], load(codes), query);
        }
        if mask != 0 {
            // SAFETY: as for the rest of the query, which has the same length.
            let rest = unsafe { _mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast()) };
            totals[0] = _mm512_dpbusd_epi32(totals[0], rest, query_rest);
        }
        *sum = _mm512_reduce_add_epi32(_mm512_add_epi32(totals[0], totals[1]));
    }
}

/// Sixteen rows at a time; multiplications and additions stay apart.
#[target_feature(enable = "avx512f")]
fn scores_above_avx512(
    sums: &[i32],
    scoring: &Scoring<'_>,
    threshold: f32,
    scores: &mut [f32],
    masks: &mut [u64],
) {
    let (scale, shift) = (_mm512_set1_ps(scoring.scale), _mm512_set1_ps(scoring.shift));
    let threshold = _mm512_set1_ps(threshold);
    masks.fill(0);
    let scores = scores.as_chunks_mut::<LANES>().0.iter_mut();
    let rows = sums.as_chunks::<LANES>().0.iter().zip(scoring.factors.as_chunks::<LANES>().0);
    let rows = rows.zip(scoring.offsets.as_chunks::<LANES>().0);
    for (idx, (((sums, factors), offsets), scores)) in rows.zip(scores).enumerate() {
        // SAFETY: each array has the 64 bytes that are read; any alignment is allowed.
        let (sums, factors, offsets) = unsafe {
            (
                _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.as_ptr().cast())),
                _mm512_loadu_ps(factors.as_ptr()),
                _mm512_loadu_ps(offsets.as_ptr()),
            )
        };
        let product = _mm512_add_ps(_mm512_mul_ps(scale, sums), shift);
        let score = _mm512_add_ps(offsets, _mm512_mul_ps(factors, product));
        // SAFETY: the array has the 64 bytes that are written; any alignment is allowed.
        unsafe { _mm512_storeu_ps(scores.as_mut_ptr(), score) };
        let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(score, threshold);
        masks[idx * LANES / BLOCK_ROWS] |= u64::from(above) << (idx * LANES % BLOCK_ROWS);
    }
}

/// Distances 1 to 8 within a register, the others as long loops, which the compiler vectorises with these instructions.
#[target_feature(enable = "avx512f")]
fn hadamard_f32_avx512(values: &mut [f32]) {
    if values.len() < LANES {
        return hadamard_from(values, 1);
    }
    for sixteen in values.as_chunks_mut::<LANES>().0 {
        // SAFETY: the array has the 64 bytes that are read and written; any alignment is allowed.
        unsafe {
            let sums = _mm512_loadu_ps(sixteen.as_ptr());
            let sums = butterflies(sums, _mm512_permute_ps::<0b10_11_00_01>(sums), 0b1010_1010_1010_1010);
            let sums = butterflies(sums, _mm512_permute_ps::<0b01_00_11_10>(sums), 0b1100_1100_1100_1100);
            let halves = _mm512_shuffle_f32x4::<0b10_11_00_01>(sums, sums);
            let sums = butterflies(sums, halves, 0b1111_0000_1111_0000);
            let halves = _mm512_shuffle_f32x4::<0b01_00_11_10>(sums, sums);
            _mm512_storeu_ps(sixteen.as_mut_ptr(), butterflies(sums, halves, 0b1111_1111_0000_0000));
        }
    }
    hadamard_from(values, LANES);
}

/// `values + partners` where the mask has a 0, `partners - values` where it has a 1.
#[inline]
#[target_feature(enable = "avx512f")]
fn butterflies(values: __m512, partners: __m512, upper: u16) -> __m512 {
    _mm512_mask_sub_ps(_mm512_add_ps(partners, values), upper, partners, values)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; BYTES]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read; any alignment is allowed.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(lanes: &mut [i32; LANES], value: __m512i) {
    // SAFETY: the array has the 64 bytes that are written; any alignment is allowed.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), value) }
}

/// The 16 entries of a table in all four quarters.
#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(table: &[u8]) -> __m512i {
    debug_assert_eq!(table.len(), 16);
    // SAFETY: half of a `NibbleTables` has the 16 bytes that are read; any alignment is allowed.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
}
