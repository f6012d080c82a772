//! What is on disk, and how does it get in and out without loss?
//!
//! The only crate of the workspace that touches files: it reads sources as Arrow record batches, keeps what a build
//! computed, and writes outputs so that a reader sees the old file or the new one and never a part.
//!
//! | Module | Answers |
//! |---|---|
//! | [`open`] | which directory is this, whose is it, which version wrote it |
//! | [`kv`] | what was acknowledged; what did an earlier build compute for this row; which files belong to the last build |
//! | [`documents`] | which of the records hold these words, which are nearest (derived from the log) |
//! | [`flows`] | what are the rows of a named stream (Parquet) |
//! | [`vectors`] | which vectors are nearest (Lance) |
//! | [`text`] | which texts hold these words (Tantivy) |
//! | [`sources`] | which rows stand in the user's files, and which of them are bad |
//! | [`model_folder`] | which files make a model, and what is their hash |
//! | [`sinks`] | how do rows become the user's output files |
//! | [`paths`] | may this output path be written at all |
//! | [`medium`] | how does one file replace another in a single step |
//! | [`schema`] | which columns has each table of ours |
//! | [`history`] | what was ever measured, where and of which commit (Parquet) |
//! | [`sql`] | what does the history say, as tables and views of SQL |
//! | [`doctor`] | is the directory whole, and what in it is no longer needed |
//! | [`failpoint`] | where do tests make a write fail |
//!
//! ```text
//!  user's files --sources--> record batches ==> flows/*.parquet ==> record batches --sinks--> user's outputs
//!                                 |                  |
//!                           kv: row cache      vectors/*.lance, text/*
//!                                 |                  |
//!                                 +---- kv: ledger --+     (which of these files belong to the last build)
//! ```
//!
//! # Order of truth
//! 1. RocksDB (`kv/`): the log, and with each of its records what it changed; the ledger's build record names the flow files and the state of each index of the last successful
//!    build. It is written last, synced, in one atomic batch.
//! 2. Flow files are named by the fingerprint of what they hold, published by rename and never changed afterwards.
//! 3. Lance and Tantivy are derived from flow files. Each stores, in its own commit, the fingerprint it stands for; if
//!    that is not the one asked for, the index is brought up to date or rebuilt.
//! 4. The row cache is never needed: a missing or damaged entry is computed again.
//!
//! `FORMAT.md` beside the sources describes every file, key and value, and what is durable after which call.
#![forbid(unsafe_code)]

pub mod doctor;
pub mod documents;
pub mod failpoint;
pub mod flows;
mod folder_seal;
pub mod history;
pub mod kv;
pub mod medium;
pub mod model_folder;
pub mod open;
pub mod paths;
pub mod schema;
pub mod sinks;
pub mod sources;
pub mod sql;
pub mod text;
pub mod vectors;
