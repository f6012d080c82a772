//! Integration tests of the models crate: one binary, one file per subject.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bert;
mod bert_coded;
mod bpe;
mod chunk;
mod compress;
mod data;
mod dedup;
mod distill;
mod embed;
mod nearest;
mod reproduction;
mod safetensors;
mod static_table;
mod tokenize;
mod wordpiece;
