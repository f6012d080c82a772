//! Integration tests of the models crate: one binary, one file per subject.
#![allow(clippy::unwrap_used, missing_docs)]
mod embed;
mod dedup;
mod tokenize;
mod chunk;
mod compress;
mod data;
mod reproduction;
