//! The engine from outside: programs on disk, run over a real store.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bad_input;
mod bench;
mod expected;
mod fixture;
mod increment;
mod operators;
mod pipelines;
mod same_bytes;
