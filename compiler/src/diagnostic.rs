//! Diagnostics as plain data: what was found, where, why, and what to do.
//!
//! Passes push [`Diagnostic`]s into a list; nothing here prints. Renderers stand in `diagnostic/`, one file each:
//! human text, JSON lines and SARIF;
//! applying edits is `diagnostic/edits.rs`. The closed list of codes is in `diagnostic/codes.rs`.

use serde::Serialize;

use crate::source::Span;

pub mod codes;
pub mod edits;
pub mod json;
pub mod render;
pub mod sarif;

pub use codes::Code;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The program cannot be planned.
    Error,
    /// The program can be planned, but something is probably not meant.
    Warning,
}

/// A place with a few words about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// Words beside the marks; may be empty.
    pub text: String,
}

/// A change of the program text that would resolve the diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// The bytes to replace; empty for an insertion.
    pub span: Span,
    /// What to put there.
    pub replacement: String,
    /// Whether a program may apply it unasked: the result parses and the diagnostic is gone.
    pub machine_applicable: bool,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// From the closed list.
    pub code: Code,
    /// Error or warning; given by the code.
    pub severity: Severity,
    /// Lower case, no full stop, makes sense alone on one line.
    pub message: String,
    /// The main place.
    pub primary: Label,
    /// Other places that explain it.
    pub secondary: Vec<Label>,
    /// Why.
    pub notes: Vec<String>,
    /// What to do; may contain {line:col} references already formatted.
    pub helps: Vec<String>,
    /// A change that resolves it.
    pub edit: Option<Edit>,
}

impl Diagnostic {
    /// A finding at a place, with the words beside its marks.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>, span: Span, label: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            primary: Label { span, text: label.into() },
            secondary: Vec::new(),
            notes: Vec::new(),
            helps: Vec::new(),
            edit: None,
        }
    }

    /// Adds a reason.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.helps.push(text.into());
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// Adds an edit that a program may apply unasked.
    #[must_use]
    pub fn fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.edit = Some(Edit { span, replacement: replacement.into(), machine_applicable: true });
        self
    }
}
