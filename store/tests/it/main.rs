//! Integration tests of the store: one binary, one module per subject.

mod directory;
mod sinks;
mod sources;
mod support;
