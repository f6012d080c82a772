//! How fast is it, on this machine, against what was promised?
//!
//! | bench | question | command |
//! |---|---|---|
//! | `compile` | how long do parse, check and plan take? | `cargo bench --bench compile` |
//! | `compression` | how much slower than a copy, or than splitting into tokens, is each stage? | `cargo bench --bench compression` |
//! | `kernels` | how much faster than its reference is a kernel? | `cargo bench --bench kernels` |
//!
//! Add `-- --quick` for a first look. What is promised stands in `targets.toml`, read by [`targets`]; sizes and seeds stand at
//! the top of each bench. [`fixtures`] makes the inputs: the same bytes on every machine.

pub mod fixtures;
pub mod targets;
