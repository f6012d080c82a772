//! From text to syntax tree and back: the pest grammar, its tree builder with recovery, and the formatter.

pub mod ast;
