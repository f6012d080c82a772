//! Integration tests of the store: one binary, one module per subject.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bad_input;
mod compat;
mod directory;
mod documents;
mod flows;
mod full_disk;
mod history;
mod ingest;
mod oracle;
mod queries;
mod records;
mod reliability_rows;
mod sinks;
mod sources;
mod statistics;
mod support;
mod text;
mod vectors;
