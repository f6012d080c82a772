//! The tokens of AVX2 and AVX-512 for the bodies of `layer`, and the entry functions of both levels.

use std::arch::x86_64::{
    __m256, __m512, _CMP_LT_OQ, _MM_HINT_T1, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_max_ps, _mm_max_ss,
    _mm_movehdup_ps, _mm_movehl_ps, _mm_packus_epi16, _mm_prefetch, _mm_storeu_si128, _mm256_add_epi32,
    _mm256_add_ps, _mm256_and_si256, _mm256_andnot_ps, _mm256_castpd_ps, _mm256_castps_si256,
    _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cvtepi32_ps,
    _mm256_div_ps, _mm256_extractf128_ps, _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_packus_epi32,
    _mm256_permute4x64_epi64, _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32, _mm256_storeu_ps,
    _mm256_sub_epi32, _mm256_sub_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_castps_pd, _mm512_castps_si512,
    _mm512_castps512_ps256, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepi32_epi8,
    _mm512_cvtepi32_ps, _mm512_div_ps, _mm512_extractf64x4_pd, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_loadu_ps, _mm512_mask_mov_ps, _mm512_mask_storeu_ps, _mm512_max_ps,
    _mm512_min_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32,
    _mm512_storeu_ps, _mm512_sub_epi32, _mm512_sub_ps,
};

use super::layer_bytes::{
    gemm_i8_avx2, gemm_i8_avx512, round_columns_avx2, round_columns_avx512, round_row_avx2, round_row_avx512,
    round_steps_avx2, round_steps_avx512, softmax_codes_avx2, softmax_codes_avx512,
};
use super::tiles::gemm_i8_amx;
use crate::gemm::{Epilogue, MatrixF32, PackedF32, PanelRow};
use crate::layer::LayerOps;
use crate::layer::body::{self, TileInput, TileSums, multiply_tile};
use crate::layer::simd::{LANES, Simd};

/// The exponent field of 1.0.
const ONE_BITS: i32 = 0x3f80_0000;
/// Lanes of half a vector.
const HALF: usize = 8;

/// The ops of AVX2; the caller has found AVX2 and FMA.
pub(crate) const AVX2: LayerOps = LayerOps {
    // SAFETY: reached through the table alone, which holds it only after AVX2 and FMA have been found.
    gemm_f32: |left, right, epilogue, out, stride| unsafe {
        gemm_f32_avx2(left, right, epilogue, out, stride)
    },
    // SAFETY: as above.
    gemm_i8: |left, right, epilogue, out, stride| unsafe { gemm_i8_avx2(left, right, epilogue, out, stride) },
    // SAFETY: as above.
    round_row: |values, codes| unsafe { round_row_avx2(values, codes) },
    // SAFETY: as above.
    round_columns: |rows, depth, out| unsafe { round_columns_avx2(rows, depth, out) },
    // SAFETY: as above.
    round_steps: |rows, width, out| unsafe { round_steps_avx2(rows, width, out) },
    // SAFETY: as above.
    softmax_codes: |row, scale, codes| unsafe { softmax_codes_avx2(row, scale, codes) },
    // SAFETY: as above.
    gelu_f32: |values| unsafe { gelu_f32_avx2(values) },
    // SAFETY: as above.
    softmax_f32: |row, scale| unsafe { softmax_f32_avx2(row, scale) },
    // SAFETY: as above.
    layer_norm_f32: |values, gain, bias, epsilon| unsafe { layer_norm_f32_avx2(values, gain, bias, epsilon) },
};

/// The ops of AVX-512; the caller has found AVX-512F.
pub(crate) const AVX512: LayerOps = LayerOps {
    // SAFETY: reached through the table alone, which holds it only after AVX-512F has been found.
    gemm_f32: |left, right, epilogue, out, stride| unsafe {
        gemm_f32_avx512(left, right, epilogue, out, stride)
    },
    // SAFETY: where AVX-512F is, AVX2 and FMA have been found as well.
    gemm_i8: |left, right, epilogue, out, stride| unsafe { gemm_i8_avx2(left, right, epilogue, out, stride) },
    // SAFETY: as above.
    round_row: |values, codes| unsafe { round_row_avx2(values, codes) },
    // SAFETY: as above.
    round_columns: |rows, depth, out| unsafe { round_columns_avx2(rows, depth, out) },
    // SAFETY: as above.
    round_steps: |rows, width, out| unsafe { round_steps_avx2(rows, width, out) },
    // SAFETY: as above.
    softmax_codes: |row, scale, codes| unsafe { softmax_codes_avx2(row, scale, codes) },
    // SAFETY: as above.
    gelu_f32: |values| unsafe { gelu_f32_avx512(values) },
    // SAFETY: as above.
    softmax_f32: |row, scale| unsafe { softmax_f32_avx512(row, scale) },
    // SAFETY: as above.
    layer_norm_f32: |values, gain, bias, epsilon| unsafe {
        layer_norm_f32_avx512(values, gain, bias, epsilon)
    },
};

/// The same with instructions on bytes; the caller has found AVX-512F, BW, VL and VNNI.
pub(crate) const AVX512_BYTES: LayerOps = LayerOps {
    // SAFETY: reached through the table alone, which holds it only after these have been found.
    gemm_i8: |left, right, epilogue, out, stride| unsafe {
        gemm_i8_avx512(left, right, epilogue, out, stride)
    },
    // SAFETY: as above.
    round_row: |values, codes| unsafe { round_row_avx512(values, codes) },
    // SAFETY: as above.
    round_columns: |rows, depth, out| unsafe { round_columns_avx512(rows, depth, out) },
    // SAFETY: as above.
    round_steps: |rows, width, out| unsafe { round_steps_avx512(rows, width, out) },
    // SAFETY: as above.
    softmax_codes: |row, scale, codes| unsafe { softmax_codes_avx512(row, scale, codes) },
    ..AVX512
};

/// The same with tiles; the caller has found AMX for bytes, and may use it.
pub(crate) const AMX: LayerOps = LayerOps {
    // SAFETY: reached through the table alone, which holds it only after these have been found and allowed.
    gemm_i8: |left, right, epilogue, out, stride| unsafe { gemm_i8_amx(left, right, epilogue, out, stride) },
    ..AVX512_BYTES
};

macro_rules! entry_functions {
    ($features:literal, $token:ident, $gemm:ident, $gelu:ident, $softmax:ident, $layer_norm:ident) => {
        #[target_feature(enable = $features)]
        fn $gemm(
            left: MatrixF32<'_>,
            right: &PackedF32,
            epilogue: Epilogue<'_>,
            out: &mut [f32],
            out_stride: usize,
        ) {
            body::gemm($token(()), left, right, epilogue, out, out_stride);
        }

        #[target_feature(enable = $features)]
        fn $gelu(values: &mut [f32]) {
            body::gelu($token(()), values);
        }

        #[target_feature(enable = $features)]
        fn $softmax(row: &mut [f32], scale: f32) {
            body::softmax($token(()), row, scale);
        }

        #[target_feature(enable = $features)]
        fn $layer_norm(values: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
            body::layer_norm($token(()), values, gain, bias, epsilon);
        }
    };
}
entry_functions!("avx2,fma", Avx2, gemm_f32_avx2, gelu_f32_avx2, softmax_f32_avx2, layer_norm_f32_avx2);
entry_functions!(
    "avx512f",
    Avx512,
    gemm_f32_avx512,
    gelu_f32_avx512,
    softmax_f32_avx512,
    layer_norm_f32_avx512
);

/// Tiles of half a panel: 6 rows of two registers of sums, two of the panel and one for the left side are 15 of 16.
#[target_feature(enable = "avx2,fma")]
fn tile_avx2<const ROWS: usize>(input: TileInput<'_>, sums: &mut TileSums) {
    multiply_tile::<_, 1, ROWS>(Avx2(()), input, 0, sums);
    multiply_tile::<_, 1, ROWS>(Avx2(()), input, 1, sums);
}

/// Tiles of a panel: 14 rows of two registers of sums, two of the panel and one for the left side are 31 of 32.
#[target_feature(enable = "avx512f")]
fn tile_avx512<const ROWS: usize>(input: TileInput<'_>, sums: &mut TileSums) {
    multiply_tile::<_, 2, ROWS>(Avx512(()), input, 0, sums);
}

/// Two registers of eight lanes. Made only in functions that have AVX2 and FMA enabled.
#[derive(Clone, Copy)]
pub(super) struct Avx2(pub(super) ());

/// One register of sixteen lanes. Made only in functions that have AVX-512F enabled.
#[derive(Clone, Copy)]
pub(super) struct Avx512(pub(super) ());

/// The functions of one token: each is an unsafe expression, sound for one reason.
macro_rules! functions {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty = $value:expr;)*) => {
        $(
            #[inline(always)]
            fn $name(self $(, $argument: $kind)*) -> $result {
                // SAFETY: the token exists only where the processor has the instructions; what is read or written is a
                // reference to an array of the register's size, at any alignment.
                unsafe { $value }
            }
        )*
    };
}

impl Simd for Avx2 {
    type Vector = [__m256; 2];
    const TILE_ROWS: usize = 6;

    functions! {
        splat(value: f32) -> [__m256; 2] = [_mm256_set1_ps(value); 2];
        load(values: &[f32; LANES]) -> [__m256; 2] =
            [_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values[HALF..].as_ptr())];
        store(vector: [__m256; 2], values: &mut [f32; LANES]) -> () = {
            _mm256_storeu_ps(values.as_mut_ptr(), vector[0]);
            _mm256_storeu_ps(values[HALF..].as_mut_ptr(), vector[1]);
        };
        add(left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] =
            [_mm256_add_ps(left[0], right[0]), _mm256_add_ps(left[1], right[1])];
        sub(left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] =
            [_mm256_sub_ps(left[0], right[0]), _mm256_sub_ps(left[1], right[1])];
        mul(left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] =
            [_mm256_mul_ps(left[0], right[0]), _mm256_mul_ps(left[1], right[1])];
        div(left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] =
            [_mm256_div_ps(left[0], right[0]), _mm256_div_ps(left[1], right[1])];
        min(left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] =
            [_mm256_min_ps(left[0], right[0]), _mm256_min_ps(left[1], right[1])];
        max(left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] =
            [_mm256_max_ps(left[0], right[0]), _mm256_max_ps(left[1], right[1])];
        mul_add(left: [__m256; 2], right: [__m256; 2], sum: [__m256; 2]) -> [__m256; 2] =
            [_mm256_fmadd_ps(left[0], right[0], sum[0]), _mm256_fmadd_ps(left[1], right[1], sum[1])];
        zero_below(value: [__m256; 2], threshold: f32, result: [__m256; 2]) -> [__m256; 2] = {
            let threshold = _mm256_set1_ps(threshold);
            [
                _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(value[0], threshold), result[0]),
                _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(value[1], threshold), result[1]),
            ]
        };
        exponent(shifted: [__m256; 2]) -> [__m256; 2] = {
            let one = _mm256_set1_epi32(ONE_BITS);
            [
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32::<23>(_mm256_castps_si256(shifted[0])), one)),
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32::<23>(_mm256_castps_si256(shifted[1])), one)),
            ]
        };
        difference(left: &[i32; LANES], right: &[i32; LANES]) -> [__m256; 2] = {
            let load = |values: &[i32]| _mm256_loadu_si256(values.as_ptr().cast());
            [
                _mm256_cvtepi32_ps(_mm256_sub_epi32(load(left), load(right))),
                _mm256_cvtepi32_ps(_mm256_sub_epi32(load(&left[HALF..]), load(&right[HALF..]))),
            ]
        };
        sum(vector: [__m256; 2]) -> f32 = sum_of(_mm256_add_ps(vector[0], vector[1]));
        largest(vector: [__m256; 2]) -> f32 = largest_of(_mm256_max_ps(vector[0], vector[1]));
        low_bytes(vector: [__m256; 2]) -> [u8; LANES] = {
            let low = vector.map(|half| _mm256_and_si256(_mm256_castps_si256(half), _mm256_set1_epi32(255)));
            // Packing joins the halves of both registers alternately.
            let pairs = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low[0], low[1]));
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
            let mut out = [0; LANES];
            _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
            out
        };
    }

    #[inline(always)]
    fn prefetch(self, row: &PanelRow) {
        prefetch_row(row);
    }

    #[inline(always)]
    fn tile<const ROWS: usize>(self, input: TileInput<'_>, sums: &mut TileSums) {
        // SAFETY: the token exists only where the processor has the instructions.
        unsafe { tile_avx2::<ROWS>(input, sums) }
    }
}

impl Simd for Avx512 {
    type Vector = __m512;
    const TILE_ROWS: usize = 14;

    functions! {
        splat(value: f32) -> __m512 = _mm512_set1_ps(value);
        load(values: &[f32; LANES]) -> __m512 = _mm512_loadu_ps(values.as_ptr());
        store(vector: __m512, values: &mut [f32; LANES]) -> () = _mm512_storeu_ps(values.as_mut_ptr(), vector);
        add(left: __m512, right: __m512) -> __m512 = _mm512_add_ps(left, right);
        sub(left: __m512, right: __m512) -> __m512 = _mm512_sub_ps(left, right);
        mul(left: __m512, right: __m512) -> __m512 = _mm512_mul_ps(left, right);
        div(left: __m512, right: __m512) -> __m512 = _mm512_div_ps(left, right);
        min(left: __m512, right: __m512) -> __m512 = _mm512_min_ps(left, right);
        max(left: __m512, right: __m512) -> __m512 = _mm512_max_ps(left, right);
        mul_add(left: __m512, right: __m512, sum: __m512) -> __m512 = _mm512_fmadd_ps(left, right, sum);
        zero_below(value: __m512, threshold: f32, result: __m512) -> __m512 = _mm512_mask_mov_ps(
            result,
            _mm512_cmp_ps_mask::<_CMP_LT_OQ>(value, _mm512_set1_ps(threshold)),
            _mm512_setzero_ps(),
        );
        exponent(shifted: __m512) -> __m512 = _mm512_castsi512_ps(_mm512_add_epi32(
            _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted)),
            _mm512_set1_epi32(ONE_BITS),
        ));
        difference(left: &[i32; LANES], right: &[i32; LANES]) -> __m512 = _mm512_cvtepi32_ps(_mm512_sub_epi32(
            _mm512_loadu_si512(left.as_ptr().cast()),
            _mm512_loadu_si512(right.as_ptr().cast())
        ));
        sum(vector: __m512) -> f32 = {
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(vector)));
            sum_of(_mm256_add_ps(_mm512_castps512_ps256(vector), upper))
        };
        largest(vector: __m512) -> f32 = {
            let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(vector)));
            largest_of(_mm256_max_ps(_mm512_castps512_ps256(vector), upper))
        };
        low_bytes(vector: __m512) -> [u8; LANES] = {
            let mut out = [0; LANES];
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_castps_si512(vector)));
            out
        };
    }

    #[inline(always)]
    fn load_first(self, values: &[f32], padding: f32) -> __m512 {
        // SAFETY: the token exists only where the processor has the instructions; the mask has one bit for each element of
        // the slice, and lanes whose bit is 0 are not read.
        unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(padding), mask_of(values.len()), values.as_ptr()) }
    }

    #[inline(always)]
    fn store_first(self, vector: __m512, values: &mut [f32]) {
        // SAFETY: as above; lanes whose bit is 0 are not written.
        unsafe { _mm512_mask_storeu_ps(values.as_mut_ptr(), mask_of(values.len()), vector) }
    }

    #[inline(always)]
    fn prefetch(self, row: &PanelRow) {
        prefetch_row(row);
    }

    #[inline(always)]
    fn tile<const ROWS: usize>(self, input: TileInput<'_>, sums: &mut TileSums) {
        // SAFETY: the token exists only where the processor has the instructions.
        unsafe { tile_avx512::<ROWS>(input, sums) }
    }
}

/// One bit for each of the first `len` of sixteen lanes.
#[inline(always)]
fn mask_of(len: usize) -> u16 {
    ((1_u32 << len.min(LANES)) - 1) as u16
}

/// Eight lanes, added at distance 4, 2 and 1.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn sum_of(lanes: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// The largest of eight lanes, in the same order.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn largest_of(lanes: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
}

/// Both lines of a row, to the second cache.
#[inline(always)]
fn prefetch_row(row: &PanelRow) {
    // SAFETY: every processor of x86-64 has this instruction, and it reads nothing that the program could notice.
    unsafe {
        _mm_prefetch::<_MM_HINT_T1>(row.0[0].as_ptr().cast());
        _mm_prefetch::<_MM_HINT_T1>(row.0[1].as_ptr().cast());
    }
}
