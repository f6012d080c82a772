//! How fast is it, on this machine, against what was promised?
//!
//! | bench | question | command |
//! |---|---|---|
//! | `compile` | how long do parse, check and plan take? | `cargo bench --bench compile` |
//! | `compression` | how much slower than a copy, or than splitting into tokens, is each stage? | `cargo bench --bench compression` |
//! | `compression_performance` | how much is saved, how fast: lossless, structural, with a question? | `cargo bench --bench compression_performance` |
//! | `e2e_main_job` | how long does the main job take: cold, unchanged, one page changed? | `cargo bench --bench e2e_main_job` |
//! | `embedding_generation` | how many texts a second does an embedder take? | `cargo bench --bench embedding_generation` |
//! | `history` | how long do queries, one benchmark's history and a gate take over a large history? | `cargo bench --bench history` |
//! | `kernels` | how much faster than its reference is a kernel? | `cargo bench --bench kernels` |
//! | `patterns` | how long does finding the nearest of many vectors take, and how many are found? | `cargo bench --bench patterns` |
//! | `retrieve` | how long does a question to an index take, and building it? | `cargo bench --bench retrieve` |
//! | `storage_performance` | how long do reads and writes of the store take, how durable? | `cargo bench --bench storage_performance` |
//!
//! [`catalog`] lists these and all that have no subject yet; those say so, and their rows `skipped`. Add `-- --quick` for a first look,
//! and `PROMPTC_BENCH_SCALE=full` for the large sizes. Every bench takes criterion's arguments: a filter, `--list`,
//! `--save-baseline`.
//!
//! What is promised stands in `targets.toml`, read by [`targets`]; sizes and seeds stand at the top of each bench, shared settings in
//! `bench.toml`, read by [`context`]. [`fixtures`] makes the inputs: the same bytes on every machine. A run ends in the benchmark
//! history (`benches/results`, or `PROMPTC_HISTORY`) through [`Recorder`].
//!
//! # Decisions
//! *The feature `history`*, on by default, is the recorder's way into the store, and the benches of store and engine. Without it
//! (`cargo bench --bench kernels --no-default-features`) a bench of compiler, kernels or models is built in a minute instead of the
//! time that DataFusion, Lance and RocksDB take; criterion's files are then read by `promptc bench ingest`.
//!
//! *Benches without a subject* are files of their own with one line, since `cargo bench --bench <name>` takes names of targets.

pub mod arguments;
mod built;
pub mod catalog;
pub mod context;
pub mod encoder;
pub mod fixtures;
pub mod measurement;
pub mod place;
pub mod recorder;
pub mod slice;
pub mod targets;

pub use measurement::Measurement;
pub use recorder::Recorder;
pub use slice::Clock;
