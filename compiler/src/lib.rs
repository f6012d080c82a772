//! Is this program right, and what exactly has to be computed? Text in, diagnostics and a plan out.
//!
//! ```text
//! text --parse--> Ast --resolve, check--> Hir --lower--> Graph --optimize--> Graph --plan--> Plan
//! ```
//!
//! The crate is pure: no files, clock, environment, threads or printing. Texts of imports are handed in by the caller.
//!
//! [`targets`] reads the promises of the benches, with the part of TOML in [`toml`]: pure, and needed where no engine is built.
#![forbid(unsafe_code)]

pub mod canonical;
pub mod catalog;
pub mod check;
pub mod diagnostic;
pub mod fingerprint;
pub mod graph;
pub mod hir;
mod lower;
pub mod op;
pub mod optimize;
pub mod plan;
mod resolve;
pub mod source;
pub mod syntax;
pub mod targets;
pub mod toml;
pub mod types;

pub use check::{Checked, EncoderFolder, EncoderPlace, Input, check, no_encoders, sql_limit};
pub use resolve::suggest::help as did_you_mean;
