//! Which functions run: the levels, what this processor has, and the table of one level.
//!
//! A [`Kernels`] value of a level exists only where the processor has its instructions; that is what makes its safe
//! functions sound. The processor is asked once per process.

use std::sync::OnceLock;

use crate::codes::CodeOps;
use crate::layer::LayerOps;
use crate::portable::{
    cosine_f32_portable, dot_f32_portable, dot_f32f64_portable, l2_f32_portable, l2_f32f64_portable,
};
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
    /// The same, with the tiles of AMX for products in 8 bits.
    Amx,
}

impl Level {
    /// All levels, in ascending order.
    pub const ALL: [Level; 5] = [Level::Reference, Level::Portable, Level::Avx2, Level::Avx512, Level::Amx];

    /// Name in bench ids and in results: `avx2`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
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

/// The ops of one level. Copying is cheap: it is some words.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    level: Level,
    dot_f32: fn(&[f32], &[f32]) -> f32,
    l2_f32: fn(&[f32], &[f32]) -> f32,
    cosine_f32: fn(&[f32], &[f32]) -> f64,
    dot_f32f64: fn(&[f32], &[f32]) -> f64,
    l2_f32f64: fn(&[f32], &[f32]) -> f64,
    pub(crate) codes: CodeOps,
    pub(crate) layer: LayerOps,
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
        codes: CodeOps::REFERENCE,
        layer: LayerOps::REFERENCE,
    };

    /// The same bits on every processor: for results that are kept, compared or printed.
    pub const PORTABLE: Kernels = Kernels {
        level: Level::Portable,
        dot_f32: dot_f32_portable,
        l2_f32: l2_f32_portable,
        cosine_f32: cosine_f32_portable,
        dot_f32f64: dot_f32f64_portable,
        l2_f32f64: l2_f32f64_portable,
        codes: CodeOps::PORTABLE,
        layer: LayerOps::PORTABLE,
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
        static BEST: OnceLock<Kernels> = OnceLock::new();
        *BEST.get_or_init(|| *tables().last().unwrap_or(&Self::PORTABLE))
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
    use crate::x86_64::{avx2, avx512, codes_avx2, codes_avx512, layer, tiles};
    let has_bytes = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni");
    let has_all_bytes = has_bytes && is_x86_feature_detected!("avx512vl");
    // The first processors with 512-bit registers multiply no bytes: they keep the 256-bit ops on codes.
    let codes = if has_bytes { codes_avx512::OPS } else { codes_avx2::OPS };
    let layer_of_avx2 = layer::AVX2;
    let layer = if has_all_bytes { layer::AVX512_BYTES } else { layer::AVX512 };
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
        codes: codes_avx2::OPS,
        layer: layer_of_avx2,
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
        codes,
        layer,
    });
    let amx = avx512.filter(|_| has_all_bytes && tiles::may_be_used()).map(|table| Kernels {
        level: Level::Amx,
        layer: layer::AMX,
        ..table
    });
    avx2.into_iter().chain(avx512).chain(amx)
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_tables() -> impl Iterator<Item = Kernels> {
    std::iter::empty()
}
