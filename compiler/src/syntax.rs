//! From text to syntax tree and back: the pest grammar, its tree builder with recovery, and the formatter.
//!
//! ```text
//! text --scan--> masked text --pest--> pairs --items, expressions, ...--> ast::File + comments
//!                    |                   | bad_*
//!                    +---- repair <------+   marks, second parse, diagnose
//! ```
//!
//! The tree builder has one file per family of grammar rules. Nothing here knows what a name means.

pub mod ast;
mod blocks;
mod diagnose;
mod expressions;
mod format;
pub mod grammar;
mod items;
mod lexer;
mod literals;
mod measures;
mod parse;
mod pipelines;
mod prompts;
mod repair;
mod scan;
mod types;

pub use format::format;
pub use parse::parse;
pub use scan::{ITEM_KEYWORDS, MAX_FILE_BYTES, MAX_IDENT_BYTES, MAX_NESTING, MAX_SYNTAX_DIAGNOSTICS};
