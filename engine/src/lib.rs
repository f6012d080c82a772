//! How does a plan become rows? Plans of the compiler are run over the store, stage by stage, on DataFusion.
//!
//! ```text
//!  .promptc text
//!      |  program::load          text -> Checked (compiler: parse, resolve, check)
//!      |  run::plan_program      files are hashed; Checked -> Plan (compiler: lower, optimize, plan)
//!      |  run::run               Plan -> stages: which streams, artifacts and outputs are missing
//!      |    logical::Planner     nodes of one stage -> one DataFusion plan
//!      |      expressions, functions, aggregates     values of rows
//!      |      row_function + ops/<operator>.rs       row-wise operators with the row cache
//!      |      ops/dedup.rs                           extension node
//!      v
//!  store: flows/*.parquet   text/ (Tantivy)   vectors/ (Lance)   kv/ (RocksDB: row cache, ledger)   outputs
//! ```
//!
//! | Module | Holds |
//! |---|---|
//! | [`program`] | a program file, its imports, its diagnostics |
//! | [`run`] | planning against real files; running; the ledger |
//! | [`logical`] | graph nodes as DataFusion plans |
//! | [`ops`] | one file per operator |
//! | [`prompt`] | rendering and fitting of prompts, with lineage |
//! | [`sql`] | streams as SQL tables; queries; tests of programs |
//! | [`report`] | what a run did, node by node |
//! | [`mod@bench`] | a program's benches: repeated runs as rows of the benchmark history |
//! | [`gate`] | decisions over the history: gates of programs, and gates that are SQL files |
//! | [`stress`] | does the store keep what it acknowledged when its process is killed; how fast is it, beside RocksDB's own benchmark |
//! | [`measure`] | two builds measured in turn: slices, pairs, verdicts, the search for a slow commit |
//!
//! # Decisions
//! - **One partition.** Row order is part of a result, so DataFusion plans run in one partition and operators work in parallel over
//!   the rows of a batch. The same bytes come out with any number of threads and any batch size.
//! - **A stage is a named stream.** DataFusion has no shared sub-plans, and every named stream is a SQL table anyway; so each is stored once,
//!   under its Merkle fingerprint, and read by all its users.
//! - **Functions before nodes.** Row-wise and expanding operators are DataFusion functions, so a plan crosses to a distributed engine
//!   by registering them there. `dedup` needs all rows twice and is the one node of our own.
//! - **Row faults of expressions end the run** (E2103) with the function and the values, while bad source rows and overflowing prompts go to the
//!   quarantine: an expression of the program that cannot be computed is a fault of the program.
#![forbid(unsafe_code)]

pub mod aggregates;
pub mod arrays;
pub mod artifacts;
pub mod bench;
pub mod buffer;
pub mod context;
pub mod distill;
pub mod encoder;
pub mod error;
pub mod expressions;
pub mod functions;
pub mod gate;
pub mod logical;
pub mod measure;
pub mod ops;
pub mod program;
pub mod prompt;
pub mod report;
pub mod row_function;
pub mod run;
pub mod session;
mod shipped;
pub mod sql;
pub mod store_errors;
pub mod stress;
pub mod types;

pub use datafusion;
pub use promptc_compiler as compiler;
pub use promptc_models as models;
pub use promptc_store as store;
