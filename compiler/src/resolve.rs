//! Names: which texts belong to a program, what each declares, and what a path means there.
//!
//! ```text
//! main text --imports--> modules --collect--> declarations (one name space per file)
//! ```
//!
//! Nothing is typed here. Imports are handed in as texts by the caller; they are not transitive.

pub(crate) mod dependencies;
pub(crate) mod imports;
pub(crate) mod scope;
pub(crate) mod suggest;

pub(crate) use imports::{Module, Program};
pub use scope::DeclKind;
pub(crate) use scope::{Declaration, DeclarationId};
