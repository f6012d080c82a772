//! Vector code for x86-64, one file per level. The functions are safe but for the instructions that they need, which
//! `dispatch` looks for.

pub(crate) mod avx2;
pub(crate) mod avx512;
pub(crate) mod layer;
