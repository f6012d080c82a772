//! Integration tests of the store: one binary, one module per subject.

mod directory;
mod flows;
mod sinks;
mod sources;
mod support;
mod text;
mod vectors;
