//! Integration tests of the compiler, one binary.

mod check;
mod corpus;
mod errors;
mod format;
mod limits;
mod measure;
mod peg;
mod reference;
mod tidy;
