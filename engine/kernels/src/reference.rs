//! The definition of every op: plain loops that nobody optimises.

pub(crate) mod codes;
pub(crate) mod dot;
pub(crate) mod layer;
