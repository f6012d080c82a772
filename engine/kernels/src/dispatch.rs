//! Which functions run: the levels, what this processor has, and the table of one level.
//!
//! A [`Kernels`] value of a level exists only where the processor has its instructions; that is what makes its safe
//! functions sound. The processor is asked once per process.

use std::sync::OnceLock;

use crate::codes::CodeOps;
use crate::portable::codes as portable_codes;
use crate::portable::{
    cosine_f32_portable, dot_f32_portable, dot_f32f64_portable, l2_f32_portable, l2_f32f64_portable,
};
use crate::reference::codes as reference_codes;
use crate::reference::dot::{
    cosine_f32_reference, dot_f32_reference, dot_f32f64_reference, l2_f32_reference, l2_f32f64_reference,
};

/// A way to compute all ops, from the definition to the widest registers. A later level is faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain loops: the definition.
    Reference,
    /// Independent sums in a fixed order, without instructions that only some processors have: the same bits everywhere.
    Portable,
    /// 256-bit registers: AVX2 and FMA of x86-64.
    Avx2,
    /// 512-bit registers: AVX-512F of x86-64.
    Avx512,
}

impl Level {
    /// All levels, in ascending order.
    pub const ALL: [Level; 4] = [Level::Reference, Level::Portable, Level::Avx2, Level::Avx512];

    /// Name in bench ids and in results: `avx2`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// This processor has no instructions of that level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelAbsent(
    /// The level that was asked for.
    pub Level,
);

impl std::fmt::Display for LevelAbsent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "this processor has no instructions of kernel level `{}`", self.0.name())
    }
}

impl std::error::Error for LevelAbsent {}

/// The ops of one level. Copying is cheap: it is eleven words.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    level: Level,
    dot_f32: fn(&[f32], &[f32]) -> f32,
    l2_f32: fn(&[f32], &[f32]) -> f32,
    cosine_f32: fn(&[f32], &[f32]) -> f64,
    dot_f32f64: fn(&[f32], &[f32]) -> f64,
    l2_f32f64: fn(&[f32], &[f32]) -> f64,
    pub(crate) codes: CodeOps,
}

impl Kernels {
    /// The definition; for tests and for measuring.
    pub const REFERENCE: Kernels = Kernels {
        level: Level::Reference,
        dot_f32: dot_f32_reference,
        l2_f32: l2_f32_reference,
        cosine_f32: cosine_f32_reference,
        dot_f32f64: dot_f32f64_reference,
        l2_f32f64: l2_f32f64_reference,
        codes: CodeOps {
            scan_u8i8: reference_codes::scan_u8i8_reference,
            scan_bits: reference_codes::scan_bits_reference,
            dot_u8i8_rows: reference_codes::dot_u8i8_rows_reference,
            scores_above: reference_codes::scores_above_reference,
            hadamard_f32: reference_codes::hadamard_f32_reference,
        },
    };

    /// The same bits on every processor: for results that are kept, compared or printed.
    pub const PORTABLE: Kernels = Kernels {
        level: Level::Portable,
        dot_f32: dot_f32_portable,
        l2_f32: l2_f32_portable,
        cosine_f32: cosine_f32_portable,
        dot_f32f64: dot_f32f64_portable,
        l2_f32f64: l2_f32f64_portable,
        codes: CodeOps {
            scan_u8i8: portable_codes::scan_u8i8_portable,
            scan_bits: portable_codes::scan_bits_portable,
            dot_u8i8_rows: portable_codes::dot_u8i8_rows_portable,
            scores_above: portable_codes::scores_above_portable,
            hadamard_f32: portable_codes::hadamard_f32_portable,
        },
    };

    /// The table of this level.
    ///
    /// # Errors
    /// [`LevelAbsent`] where the processor does not have its instructions.
    pub fn at(level: Level) -> Result<Kernels, LevelAbsent> {
        tables().iter().find(|table| table.level == level).copied().ok_or(LevelAbsent(level))
    }

    /// The table of the highest level that this processor has. Cost: after the first call, one load.
    #[inline]
    pub fn best() -> Kernels {
        *tables().last().unwrap_or(&Self::PORTABLE)
    }

    /// Which level this is.
    pub fn level(&self) -> Level {
        self.level
    }

    /// [`crate::dot_f32`] at this level.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    pub fn dot_f32(&self, left: &[f32], right: &[f32]) -> f32 {
        assert_same_length(left, right);
        (self.dot_f32)(left, right)
    }

    /// [`crate::l2_f32`] at this level.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    pub fn l2_f32(&self, left: &[f32], right: &[f32]) -> f32 {
        assert_same_length(left, right);
        (self.l2_f32)(left, right)
    }

    /// Sum of the products of `left` and `right` in `f64`, 32 sums that nothing fuses: the same bits at every level but the
    /// reference, for scores that are kept or compared. 0 if they are empty. Cost: one pass.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    pub fn dot_f32f64(&self, left: &[f32], right: &[f32]) -> f64 {
        assert_same_length(left, right);
        (self.dot_f32f64)(left, right)
    }

    /// Sum of the squared differences of `left` and `right` in `f64` (no square root), as [`Self::dot_f32f64`].
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    pub fn l2_f32f64(&self, left: &[f32], right: &[f32]) -> f64 {
        assert_same_length(left, right);
        (self.l2_f32f64)(left, right)
    }

    /// [`crate::cosine_f32`] at this level.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    pub fn cosine_f32(&self, left: &[f32], right: &[f32]) -> f64 {
        assert_same_length(left, right);
        (self.cosine_f32)(left, right)
    }
}

/// Without this the rest of the longer one would be dropped in silence.
#[inline]
fn assert_same_length(left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len(), "the two vectors of a kernel have one length");
}

/// The levels that this processor has, in ascending order; the first two are always there.
pub fn available_levels() -> &'static [Level] {
    static LEVELS: OnceLock<Vec<Level>> = OnceLock::new();
    LEVELS.get_or_init(|| tables().iter().map(|table| table.level).collect())
}

/// The tables of the levels that this processor has, in ascending order.
fn tables() -> &'static [Kernels] {
    static TABLES: OnceLock<Vec<Kernels>> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut tables = vec![Kernels::REFERENCE, Kernels::PORTABLE];
        tables.extend(vector_tables());
        tables
    })
}

#[cfg(target_arch = "x86_64")]
fn vector_tables() -> impl Iterator<Item = Kernels> {
    use crate::x86_64::{avx2, avx512, codes_avx2};
    let codes_avx2 = CodeOps {
        // SAFETY: reached through the tables below alone, which are made only after AVX2 has been found.
        scan_u8i8: |codes, query, sums| unsafe { codes_avx2::scan_u8i8_avx2(codes, query, sums) },
        // SAFETY: as above.
        scan_bits: |codes, tables, sums| unsafe { codes_avx2::scan_bits_avx2(codes, tables, sums) },
        // SAFETY: as above.
        dot_u8i8_rows: |codes, query, rows, sums| unsafe {
            codes_avx2::dot_u8i8_rows_avx2(codes, query, rows, sums)
        },
        // SAFETY: as above.
        scores_above: |sums, scoring, threshold, scores, masks| unsafe {
            codes_avx2::scores_above_avx2(sums, scoring, threshold, scores, masks)
        },
        // SAFETY: as above.
        hadamard_f32: |values| unsafe { codes_avx2::hadamard_f32_avx2(values) },
    };
    let has_bytes = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni");
    // The first processors with 512-bit registers multiply no bytes: they keep the 256-bit ops on codes.
    let codes_avx512 = if has_bytes { codes_of_avx512() } else { codes_avx2 };
    let avx2 = (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Kernels {
        level: Level::Avx2,
        // SAFETY: reached through this table alone, which is made only after AVX2 and FMA have been found.
        dot_f32: |left, right| unsafe { avx2::dot_f32_avx2(left, right) },
        // SAFETY: as above.
        l2_f32: |left, right| unsafe { avx2::l2_f32_avx2(left, right) },
        // SAFETY: as above.
        cosine_f32: |left, right| unsafe { avx2::cosine_f32_avx2(left, right) },
        // SAFETY: as above.
        dot_f32f64: |left, right| unsafe { avx2::dot_f32f64_avx2(left, right) },
        // SAFETY: as above.
        l2_f32f64: |left, right| unsafe { avx2::l2_f32f64_avx2(left, right) },
        codes: codes_avx2,
    });
    let has_avx512 = is_x86_feature_detected!("avx512f") && avx2.is_some();
    let avx512 = has_avx512.then_some(Kernels {
        level: Level::Avx512,
        // SAFETY: reached through this table alone, which is made only after AVX-512F has been found.
        dot_f32: |left, right| unsafe { avx512::dot_f32_avx512(left, right) },
        // SAFETY: as above.
        l2_f32: |left, right| unsafe { avx512::l2_f32_avx512(left, right) },
        // SAFETY: as above.
        cosine_f32: |left, right| unsafe { avx512::cosine_f32_avx512(left, right) },
        // SAFETY: as above.
        dot_f32f64: |left, right| unsafe { avx512::dot_f32f64_avx512(left, right) },
        // SAFETY: as above.
        l2_f32f64: |left, right| unsafe { avx512::l2_f32f64_avx512(left, right) },
        codes: codes_avx512,
    });
    avx2.into_iter().chain(avx512)
}

/// To be called after AVX-512F, BW and VNNI have been found.
#[cfg(target_arch = "x86_64")]
fn codes_of_avx512() -> CodeOps {
    use crate::x86_64::codes_avx512 as ops;
    CodeOps {
        // SAFETY: the caller has found the instructions.
        scan_u8i8: |codes, query, sums| unsafe { ops::scan_u8i8_avx512(codes, query, sums) },
        // SAFETY: as above.
        scan_bits: |codes, tables, sums| unsafe { ops::scan_bits_avx512(codes, tables, sums) },
        // SAFETY: as above.
        dot_u8i8_rows: |codes, query, rows, sums| unsafe {
            ops::dot_u8i8_rows_avx512(codes, query, rows, sums)
        },
        // SAFETY: as above.
        scores_above: |sums, scoring, threshold, scores, masks| unsafe {
            ops::scores_above_avx512(sums, scoring, threshold, scores, masks)
        },
        // SAFETY: as above.
        hadamard_f32: |values| unsafe { ops::hadamard_f32_avx512(values) },
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_tables() -> impl Iterator<Item = Kernels> {
    std::iter::empty()
}
