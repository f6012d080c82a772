//! The typed program: every name resolved, every value typed, every parameter in canonical form.
//!
//! Streams and artifacts are already one operator per step; `lower` only numbers them. Declarations that are decided later
//! (tests, benches, gates, queries) keep their typed parts here.

use serde::Serialize;

use crate::graph::{Graph, NodeId};
use crate::op::{Expr, Op, Value};
use crate::source::Span;
use crate::types::{Column, Type};

/// A whole program after `check`.
#[derive(Debug, Clone, Default)]
pub struct Hir {
    /// Parameters with their values of this compilation.
    pub params: Vec<Param>,
    /// All operators: every source, flow, index and write of the program and of what it imports.
    pub graph: Graph,
    /// `test` declarations.
    pub tests: Vec<Test>,
    /// `bench` declarations.
    pub benches: Vec<Bench>,
    /// `gate` declarations.
    pub gates: Vec<Gate>,
    /// `query` declarations: name, SQL, place.
    pub queries: Vec<(String, String, Span)>,
    /// Doc texts, by declaration; part of the meta fingerprint only.
    pub docs: Vec<(String, String)>,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Param {
    /// Its name, with the import's name before it where it is imported.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Its value here: `--set`, else the environment, else the default.
    pub value: Value,
    /// Whether the value is not the declared default.
    pub is_set: bool,
    /// Its doc text.
    pub doc: Option<String>,
}

/// A test: a graph of its own, in which the given sources are [`Op::Rows`] and all other sources are empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// The declared name.
    pub name: String,
    /// The pipeline.
    pub target: String,
    /// The pipeline's operators over the given rows; no writes.
    pub graph: Graph,
    /// What must hold.
    pub expects: Vec<Expect>,
    /// Where it is declared.
    pub span: Span,
}

/// One expectation of a test.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    /// The stream whose rows are looked at, `pipeline.flow`.
    pub stream: String,
    /// A bool over the stream's columns, named without the stream.
    pub condition: Expr,
    /// Whether it holds aggregates and is one fact; otherwise it must hold for every row, and there must be one.
    pub is_aggregate: bool,
    /// The text of the program.
    pub text: String,
    /// Sub-expressions that are worth showing when it fails: (text, value).
    pub shown: Vec<(String, Expr)>,
    /// Where it stands.
    pub span: Span,
}

/// A bench, typed; measuring is the bench area's.
#[derive(Debug, Clone, PartialEq)]
pub struct Bench {
    /// The declared name.
    pub name: String,
    /// `run = pipeline.flow`.
    pub run: Option<String>,
    /// The replaced source or split part.
    pub data: Option<String>,
    /// What the run reads, with `data`, `where`, `limit` and `sample` in place of the source; none where a subject is measured.
    pub measured: Option<Measured>,
    /// Names of what is measured, the subject before those of `against`.
    pub subjects: Vec<String>,
    /// `where`, `limit` and `sample` as written, by field.
    pub restricted: Vec<(String, String)>,
    /// `cache = warm`: results of rows are kept between repetitions.
    pub is_warm: bool,
    /// (name, aggregate expression over the run's stream, direction -1, 0 or +1).
    pub metrics: Vec<(String, Expr, i8)>,
    /// `repeat`.
    pub repeat: u32,
    /// `warm_up`.
    pub warm_up: u32,
    /// `record = history("suite")`.
    pub suite: Option<String>,
    /// Columns of the run's stream.
    pub columns: Vec<Column>,
    /// Where it is declared.
    pub span: Span,
}

/// The operators of a bench: a graph of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Everything that the run is computed from; no writes.
    pub graph: Graph,
    /// The run's stream in it.
    pub run: NodeId,
    /// The stream that stands for `data` in it. What does not depend on it is prepared before measuring.
    pub data: NodeId,
}

/// A gate, typed; deciding is the bench area's.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// The declared name.
    pub name: String,
    /// The bench.
    pub bench: String,
    /// SQL over `current` and `history`.
    pub sql: String,
    /// Requirements: program text and place.
    pub requires: Vec<(String, Span)>,
    /// The requirements in the same order as nullable bools over the result's columns.
    pub conditions: Vec<Expr>,
    /// Actions of `on pass` and `on fail` in the order written.
    pub outcomes: Vec<Action>,
    /// Where it is declared.
    pub span: Span,
}

/// One action of a gate's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Whether it belongs to `on pass`; otherwise to `on fail`.
    pub on_pass: bool,
    /// `tag`, `publish`, `keep`, `quarantine`.
    pub name: String,
    /// The artifact, by declaration and kind.
    pub artifact: Option<(String, String)>,
    /// The label.
    pub label: Option<String>,
    /// Where it stands.
    pub span: Span,
}

/// Marks operators that `plan` refuses because their area is not built.
#[must_use]
pub fn is_unavailable(op: &Op) -> bool {
    matches!(op, Op::Unavailable { .. })
}
