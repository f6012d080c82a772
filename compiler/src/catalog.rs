//! The one table of what the language offers: operators, functions, and the fields of declarations.
//!
//! ```text
//! operators --> class, effect, version, parameters      functions --> arguments, result
//! declarations --> fields with types, defaults, choices
//! ```
//!
//! `check` reads arguments and fields against these tables, editors show them, and the reference is printed from them. What an
//! operator does to the columns of its stream stands in `check/operators/`, one file for each family.

pub mod declarations;
pub mod functions;
pub mod operators;

pub use crate::resolve::DeclKind;
pub use functions::{Function, function};
pub use operators::{Alias, Operator, operator};

/// What a field or parameter accepts.
#[derive(Debug, Clone, Copy)]
pub enum Accepts {
    /// `true`, `false`.
    Bool,
    /// An integer in the inclusive range.
    Int(i64, i64),
    /// A seed: any u64.
    Seed,
    /// A float in the inclusive range.
    Float(f64, f64),
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// A list of integers in the inclusive range.
    Ints(i64, i64),
    /// A number of tokens.
    Tok,
    /// A ratio, or a range of two.
    Ratio,
    /// A share.
    Share,
    /// A duration.
    Duration,
    /// A size in bytes.
    Size,
    /// One of these identifiers.
    Choice(&'static [&'static str]),
    /// A list of these identifiers.
    Choices(&'static [&'static str]),
    /// The name of a declaration of one of these kinds.
    Declared(&'static [DeclKind]),
    /// Such a name, or a list of them.
    DeclaredList(&'static [DeclKind]),
    /// `name { fields }` against a table of its own.
    Block(&'static [FieldSpec]),
    /// `name { fields }` with any names; read by the owner.
    OpenBlock,
    /// A column, a list of columns, an expression over a stream or a call; read by the owner.
    Raw,
}

/// The value of a field that is not written.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "each variant is the value of its name")]
pub enum Fallback {
    /// The field has no value; the owner decides.
    None,
    /// The field must be written: E0207.
    Required,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'static str),
    /// The text list with this one text.
    OneText(&'static str),
    Ints(&'static [i64]),
    EmptyList,
}

/// One field of a block or parameter of an operator.
#[derive(Debug, Clone, Copy)]
pub struct FieldSpec {
    /// Its name.
    pub name: &'static str,
    /// What is accepted.
    pub accepts: Accepts,
    /// Its value if it is not written.
    pub fallback: Fallback,
    /// Shown by editors and in the reference.
    pub doc: &'static str,
}

impl FieldSpec {
    /// A field of a table.
    #[must_use]
    pub const fn new(name: &'static str, accepts: Accepts, fallback: Fallback, doc: &'static str) -> Self {
        Self { name, accepts, fallback, doc }
    }
}
