//! Integration tests of the models crate: one binary, one file per subject.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod embed;
mod dedup;
mod tokenize;
mod chunk;
mod compress;
mod data;
mod reproduction;
