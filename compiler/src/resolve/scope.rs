//! Declarations: one entry per declared name, with its kind, its module and its place.

use std::collections::BTreeMap;

use super::imports::Module;
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{SourceMap, Span};
use crate::syntax::ast::{FromKeyword, Ident, Item, ItemKind, OnKeyword, PlainKeyword};

/// Index of a declaration in [`super::Program::declarations`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DeclarationId(pub(crate) u32);

/// What is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the keyword of its name")]
pub enum DeclKind {
    Param,
    Type,
    Source,
    Tokenizer,
    Embedder,
    Model,
    Scorer,
    Recursion,
    Bench,
    Service,
    Index,
    Adapter,
    Dynamics,
    Diffusion,
    Trajectory,
    Patterns,
    Federation,
    Prompt,
    Pipeline,
    Query,
    Gate,
    Test,
}

impl DeclKind {
    /// The kind with its article, for messages: `an index`.
    #[must_use]
    pub fn with_article(self) -> String {
        let noun = self.noun();
        let article = if noun.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
        format!("{article} {noun}")
    }

    /// The keyword of the declaration; a bank of patterns is `patterns`.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            DeclKind::Param => "param",
            DeclKind::Type => "type",
            DeclKind::Source => "source",
            DeclKind::Tokenizer => "tokenizer",
            DeclKind::Embedder => "embedder",
            DeclKind::Model => "model",
            DeclKind::Scorer => "scorer",
            DeclKind::Recursion => "recursion",
            DeclKind::Bench => "bench",
            DeclKind::Service => "service",
            DeclKind::Index => "index",
            DeclKind::Adapter => "adapter",
            DeclKind::Dynamics => "dynamics",
            DeclKind::Diffusion => "diffusion",
            DeclKind::Trajectory => "trajectory",
            DeclKind::Patterns => "patterns",
            DeclKind::Federation => "federation",
            DeclKind::Prompt => "prompt",
            DeclKind::Pipeline => "pipeline",
            DeclKind::Query => "query",
            DeclKind::Gate => "gate",
            DeclKind::Test => "test",
        }
    }
}

/// A declared name.
#[derive(Debug, Clone)]
pub(crate) struct Declaration {
    /// Its place in the list.
    pub(crate) id: DeclarationId,
    /// The module that declares it.
    pub(crate) module: usize,
    /// The item in that module's file.
    pub(crate) item: usize,
    /// The name with the import's name before it: `rag.docs`.
    pub(crate) name: String,
    /// The name as declared.
    pub(crate) local: String,
    /// What it is.
    pub(crate) kind: DeclKind,
    /// Where its name stands.
    pub(crate) span: Span,
}

/// The name and kind that an item declares. `learn` names what it trains and declares nothing; imports bind a name space.
pub(crate) fn declared(item: &Item) -> Option<(&Ident, DeclKind)> {
    let found = match &item.kind {
        ItemKind::Param { name, .. } => (name, DeclKind::Param),
        ItemKind::Type { name, .. } => (name, DeclKind::Type),
        ItemKind::Source { name, .. } => (name, DeclKind::Source),
        ItemKind::Plain { keyword, name, .. } => (name, plain_kind(*keyword)),
        ItemKind::Index { name, .. } => (name, DeclKind::Index),
        ItemKind::On { keyword, name, .. } => match keyword {
            OnKeyword::Adapter => (name, DeclKind::Adapter),
            OnKeyword::Dynamics => (name, DeclKind::Dynamics),
            OnKeyword::Diffusion => (name, DeclKind::Diffusion),
        },
        ItemKind::From { keyword, name, .. } => match keyword {
            FromKeyword::Trajectory => (name, DeclKind::Trajectory),
            FromKeyword::Patterns => (name, DeclKind::Patterns),
            FromKeyword::Learn => return None,
        },
        ItemKind::Federation { name, .. } => (name, DeclKind::Federation),
        ItemKind::Prompt { name, .. } => (name, DeclKind::Prompt),
        ItemKind::Pipeline { name, .. } => (name, DeclKind::Pipeline),
        ItemKind::Query { name, .. } => (name, DeclKind::Query),
        ItemKind::Gate { name, .. } => (name, DeclKind::Gate),
        ItemKind::Test { name, .. } => (name, DeclKind::Test),
        ItemKind::Import { .. } | ItemKind::Bad => return None,
    };
    Some(found)
}

fn plain_kind(keyword: PlainKeyword) -> DeclKind {
    match keyword {
        PlainKeyword::Tokenizer => DeclKind::Tokenizer,
        PlainKeyword::Embedder => DeclKind::Embedder,
        PlainKeyword::Model => DeclKind::Model,
        PlainKeyword::Scorer => DeclKind::Scorer,
        PlainKeyword::Recursion => DeclKind::Recursion,
        PlainKeyword::Bench => DeclKind::Bench,
        PlainKeyword::Service => DeclKind::Service,
    }
}

/// Keywords that begin a declaration; no name may be one of them.
pub(crate) const KEYWORDS: &[&str] = &[
    "edition",
    "import",
    "param",
    "type",
    "source",
    "tokenizer",
    "embedder",
    "model",
    "scorer",
    "recursion",
    "bench",
    "service",
    "index",
    "adapter",
    "dynamics",
    "diffusion",
    "trajectory",
    "patterns",
    "learn",
    "federation",
    "prompt",
    "pipeline",
    "query",
    "gate",
    "test",
];

/// Fills the name tables of all modules; a name that is taken or reserved is reported and the first one stays.
pub(crate) fn collect(
    modules: &mut [Module],
    sources: &SourceMap,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Declaration> {
    let mut declarations: Vec<Declaration> = Vec::new();
    for (module_idx, module) in modules.iter_mut().enumerate() {
        let mut taken: BTreeMap<String, Span> =
            module.imports.iter().map(|(name, import)| (name.clone(), import.span)).collect();
        for (item_idx, item) in module.file.items.iter().enumerate() {
            let Some((name, kind)) = declared(item) else { continue };
            if KEYWORDS.contains(&name.name.as_str()) || crate::catalog::operator(&name.name).is_some() {
                diagnostics.push(reserved(name));
            }
            if let Some(first) = taken.get(&name.name) {
                diagnostics.push(defined_twice(sources, name, *first));
                continue;
            }
            taken.insert(name.name.clone(), name.span);
            let id = DeclarationId(declarations.len() as u32);
            module.names.insert(name.name.clone(), id);
            declarations.push(Declaration {
                id,
                module: module_idx,
                item: item_idx,
                name: format!("{}{}", module.prefix, name.name),
                local: name.name.clone(),
                kind,
                span: name.span,
            });
        }
    }
    declarations
}

fn reserved(name: &Ident) -> Diagnostic {
    let is_keyword = KEYWORDS.contains(&name.name.as_str());
    let what = if is_keyword { "a keyword" } else { "an operator" };
    Diagnostic::new(
        Code::E0108,
        format!("name `{}` is {what}", name.name),
        name.span,
        format!("{what} of the language"),
    )
    .help(format!("write another name, for example `{}_`", name.name))
}

/// The diagnostic for a second definition of a name.
pub(crate) fn defined_twice(sources: &SourceMap, name: &Ident, first: Span) -> Diagnostic {
    let (line, column) = sources.get(first.source).line_column(first.start);
    Diagnostic::new(
        Code::E0202,
        format!("name `{}` is defined twice", name.name),
        name.span,
        "defined again here",
    )
    .label(first, "first defined here")
    .note(format!("first defined at {line}:{column}"))
}
