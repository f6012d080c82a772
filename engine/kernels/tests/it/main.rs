//! Integration tests of the kernels, one binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agree;
mod budgets;
mod bytes;
mod codes;
mod layer;
mod levels;
