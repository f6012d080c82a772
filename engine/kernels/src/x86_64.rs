//! Vector code for x86-64, one file per level and family. The functions are safe but for the instructions that they need,
//! which `dispatch` looks for.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

pub(crate) mod avx2;
pub(crate) mod avx512;
pub(crate) mod codes_avx2;
pub(crate) mod codes_avx512;
pub(crate) mod layer;
mod layer_bytes;
pub(crate) mod tiles;

/// Bytes that one fetch brings.
const CACHE_LINE_BYTES: usize = 64;

/// Asks for the cache lines of these values, of the first one's on.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T]) {
    let start = values.as_ptr().cast::<i8>();
    for place in (0..size_of_val(values)).step_by(CACHE_LINE_BYTES) {
        // SAFETY: a hint, which reads nothing; the address lies within the slice all the same.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(place)) };
    }
}
