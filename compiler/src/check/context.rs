//! What every pass of `check` shares: the program, what is already typed, and the list of findings.
//!
//! Declarations are typed when they are first asked for, so that their order does not matter; results are kept.
//! Streams and artifacts become nodes of the graph at the same moment, hence inputs always come before users.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::graph::{Class, Effect, Graph, Node, NodeId};
use crate::hir;
use crate::op::{self, Op, Value};
use crate::resolve::suggest::suggest;
use crate::resolve::{DeclKind, Declaration, DeclarationId, Program};
use crate::source::{SourceMap, Span};
use crate::syntax::ast;
use crate::types::{Column, Nominal, Type};

/// Parts of splits that a stream may hold rows of: name of the part to the place of the split.
pub(crate) type Taint = BTreeMap<String, Span>;

/// What the caller of `check` decides: values from outside the program.
pub(crate) struct Outside<'a> {
    /// `--set name=value`.
    pub(crate) set: &'a BTreeMap<String, String>,
    /// The environment, for `env(...)` in params.
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    /// The home folder, for a leading `~`.
    pub(crate) home: Option<&'a str>,
    /// What a model folder holds.
    pub(crate) encoders: &'a dyn Fn(super::EncoderPlace<'_>) -> Result<super::EncoderFolder, String>,
}

/// A typed stream.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    /// How messages call it: `docs`, `corpus.chunks`, `docs |> chunk`.
    pub(crate) name: String,
    /// Columns, hidden keys included.
    pub(crate) columns: Vec<Column>,
    /// Names of the key columns; empty: unkeyed.
    pub(crate) key: Vec<String>,
    /// Parts of splits in it.
    pub(crate) taint: Taint,
    /// Its node; `None` where an error stands in the way.
    pub(crate) node: Option<NodeId>,
    /// Whether an error hides the columns.
    pub(crate) is_unknown: bool,
}

impl Stream {
    /// A stream after an error: has every column, of unknown type.
    pub(crate) fn unknown(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            columns: Vec::new(),
            key: Vec::new(),
            taint: Taint::new(),
            node: None,
            is_unknown: true,
        }
    }

    /// The column of a name.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A typed embedder.
#[derive(Debug, Clone)]
pub(crate) struct EmbedderInfo {
    /// What the operators carry.
    pub(crate) op: op::Embedder,
    /// The type of its vectors.
    pub(crate) ty: Type,
    /// The area that is needed to run it, if it is not core.
    pub(crate) area: Option<&'static str>,
    /// The fitted table, if `weight = idf`.
    pub(crate) fitted: Option<NodeId>,
}

/// A typed tokenizer.
#[derive(Debug, Clone)]
pub(crate) struct TokenizerInfo {
    /// Identity.
    pub(crate) nominal: Nominal,
    /// The area that is needed to run it, if it is not core.
    pub(crate) area: Option<&'static str>,
}

/// A typed index.
#[derive(Debug, Clone)]
pub(crate) struct IndexInfo {
    /// `flat`, `bm25` and the like.
    pub(crate) kind: String,
    /// The indexed stream.
    pub(crate) stream: Stream,
    /// Identity of the indexed stream: a declaration and the flow or part.
    pub(crate) stream_key: StreamKey,
    /// The indexed column.
    pub(crate) column: Column,
    /// The embedder of a vector column, where the program declares it.
    pub(crate) embedder: Option<DeclarationId>,
    /// The artifact's node.
    pub(crate) node: Option<NodeId>,
}

/// A stream's address: the declaration, and the flow of a pipeline or the part of a split.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamKey {
    /// Source, pipeline or trajectory.
    pub(crate) declaration: DeclarationId,
    /// Flow or part.
    pub(crate) part: Option<String>,
}

/// A flow that is being typed.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    /// The pipeline's qualified name.
    pub(crate) pipeline: String,
    /// The flow's address.
    pub(crate) key: StreamKey,
    /// What it reads at the moment: the words and their place.
    pub(crate) reading: Option<(String, Span)>,
}

/// The shared state of all passes.
pub(crate) struct Context<'a> {
    /// All texts and declarations.
    pub(crate) program: &'a Program,
    /// Values from outside.
    pub(crate) outside: &'a Outside<'a>,
    /// Findings so far.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The module whose names are visible.
    pub(crate) module: usize,
    /// Declarations that something refers to.
    pub(crate) used: BTreeSet<DeclarationId>,
    /// Params with their values; `None` after an error.
    pub(crate) params: BTreeMap<DeclarationId, Option<hir::Param>>,
    /// Aliases, resolved, and the number of their parts.
    pub(crate) types: BTreeMap<DeclarationId, (Type, usize)>,
    /// Parts of the type that is being resolved.
    pub(crate) type_parts: usize,
    /// Aliases that are being resolved.
    pub(crate) open_types: Vec<DeclarationId>,
    /// Tokenizers; `None` after an error.
    pub(crate) tokenizers: BTreeMap<DeclarationId, Option<TokenizerInfo>>,
    /// Embedders; `None` after an error.
    pub(crate) embedders: BTreeMap<DeclarationId, Option<EmbedderInfo>>,
    /// Scorers; `None` after an error.
    pub(crate) scorers: BTreeMap<DeclarationId, Option<super::scorers::ScorerInfo>>,
    /// Embedders, tokenizers and scorers that are being typed (what they are fitted on may lead back).
    pub(crate) open_embedders: Vec<DeclarationId>,
    /// Indexes; `None` after an error.
    pub(crate) indexes: BTreeMap<DeclarationId, Option<IndexInfo>>,
    /// Benches; `None` after an error.
    pub(crate) benches: BTreeMap<DeclarationId, Option<super::benches::BenchInfo>>,
    /// Prompts; `None` after an error.
    pub(crate) prompts: BTreeMap<DeclarationId, Option<super::prompts::PromptInfo>>,
    /// Typed streams.
    pub(crate) streams: BTreeMap<StreamKey, Stream>,
    /// Flows that are being typed, outermost first.
    pub(crate) visits: Vec<Visit>,
    /// The pipeline whose flows are visible by their own names, and how many of them, from the top.
    pub(crate) inside: Option<(DeclarationId, usize)>,
    /// Columns of the stream whose step is being read: a name among them is known, but not constant.
    pub(crate) row_columns: Vec<String>,
    /// Params whose values are being computed, outermost first.
    pub(crate) open_params: Vec<DeclarationId>,
    /// Nodes so far; names of streams, artifacts and outputs.
    pub(crate) graph: Graph,
    /// What is fitted on rows of streams; the taint pass reads it.
    pub(crate) fits: Vec<Fit>,
}

/// Something that is fitted on the rows of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Fit {
    /// What is fitted: `embedder e`, `index i`.
    pub(crate) what: String,
    /// The declaration that is fitted.
    pub(crate) declaration: DeclarationId,
    /// Parts of splits in its rows.
    pub(crate) taint: Taint,
    /// The stream as written.
    pub(crate) stream: String,
    /// Where the stream is named.
    pub(crate) span: Span,
}

/// A node before it has an id.
pub(crate) struct NewNode {
    /// What it does.
    pub(crate) op: Op,
    /// What it reads.
    pub(crate) inputs: Vec<NodeId>,
    /// Columns of its rows.
    pub(crate) schema: Vec<Column>,
    /// Key columns.
    pub(crate) key: Vec<String>,
    /// Rows to rows.
    pub(crate) class: Class,
    /// Its effect.
    pub(crate) effect: Effect,
    /// Version of its algorithm.
    pub(crate) version: u32,
    /// Where it is shown.
    pub(crate) label: String,
    /// Where it is written.
    pub(crate) span: Span,
}

impl<'a> Context<'a> {
    /// A context before any pass.
    pub(crate) fn new(program: &'a Program, outside: &'a Outside<'a>, diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            program,
            outside,
            diagnostics,
            module: 0,
            used: BTreeSet::new(),
            params: BTreeMap::new(),
            types: BTreeMap::new(),
            type_parts: 0,
            open_types: Vec::new(),
            tokenizers: BTreeMap::new(),
            embedders: BTreeMap::new(),
            scorers: BTreeMap::new(),
            open_embedders: Vec::new(),
            indexes: BTreeMap::new(),
            benches: BTreeMap::new(),
            prompts: BTreeMap::new(),
            streams: BTreeMap::new(),
            visits: Vec::new(),
            inside: None,
            row_columns: Vec::new(),
            open_params: Vec::new(),
            graph: Graph::default(),
            fits: Vec::new(),
        }
    }

    /// Adds a finding.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Number of errors so far, warnings not counted.
    pub(crate) fn error_count(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    /// The source texts.
    pub(crate) fn sources(&self) -> &'a SourceMap {
        &self.program.sources
    }

    /// `line:column` of the start of a span, as messages write it.
    pub(crate) fn place(&self, span: Span) -> String {
        let (line, column) = self.sources().get(span.source).line_column(span.start);
        format!("{line}:{column}")
    }

    /// All declarations of a kind, in the order written, imports after the main text.
    pub(crate) fn of_kind(&self, kind: DeclKind) -> impl Iterator<Item = &'a Declaration> + use<'a> {
        self.program.declarations.iter().filter(move |declaration| declaration.kind == kind)
    }

    /// The declaration of an id.
    pub(crate) fn get(&self, id: DeclarationId) -> &'a Declaration {
        &self.program.declarations[id.0 as usize]
    }

    /// The tree of a declaration.
    pub(crate) fn item(&self, id: DeclarationId) -> &'a ast::Item {
        self.program.item(self.get(id))
    }

    /// Runs `body` with the names of the module of `id` visible.
    pub(crate) fn within<T>(&mut self, id: DeclarationId, body: impl FnOnce(&mut Self) -> T) -> T {
        let module = self.get(id).module;
        let outer = std::mem::replace(&mut self.module, module);
        let row_columns = std::mem::take(&mut self.row_columns);
        let result = body(self);
        self.row_columns = row_columns;
        self.module = outer;
        result
    }

    /// The declaration that a whole path names, if there is one. Marks it as used; reports nothing.
    pub(crate) fn declaration(&mut self, path: &ast::Path) -> Option<&'a Declaration> {
        let (declaration, used) = self.declaration_prefix(path)?;
        (used == path.segments.len()).then_some(declaration)
    }

    /// The declaration that a path begins with, and how many of its segments name it. Marks it as used.
    pub(crate) fn declaration_prefix(&mut self, path: &ast::Path) -> Option<(&'a Declaration, usize)> {
        let (id, used) = self.lookup(path)?;
        self.used.insert(id);
        Some((self.get(id), used))
    }

    /// As [`Context::declaration_prefix`], without marking.
    pub(crate) fn lookup(&self, path: &ast::Path) -> Option<(DeclarationId, usize)> {
        let module = &self.program.modules[self.module];
        let first = path.segments.first()?;
        if let Some(id) = module.names.get(&first.name) {
            return Some((*id, 1));
        }
        let import = module.imports.get(&first.name)?;
        let second = path.segments.get(1)?;
        let id = self.program.modules[import.module?].names.get(&second.name)?;
        Some((*id, 2))
    }

    /// Whether a path begins with the name space of an import whose text could not be had: users of it are not reported.
    pub(crate) fn is_of_lost_import(&self, path: &ast::Path) -> bool {
        let module = &self.program.modules[self.module];
        let import = path.segments.first().and_then(|first| module.imports.get(&first.name));
        import.is_some_and(|import| import.module.is_none())
    }

    /// Names of declarations of these kinds that are visible here, as they would be written; all kinds if `kinds` is empty.
    pub(crate) fn visible(&self, kinds: &[DeclKind]) -> Vec<String> {
        let module = &self.program.modules[self.module];
        let fits = |id: &DeclarationId| kinds.is_empty() || kinds.contains(&self.get(*id).kind);
        let own = module.names.iter().filter(|(_, id)| fits(id)).map(|(name, _)| name.clone());
        let imported = module.imports.iter().filter_map(|(space, import)| Some((space, import.module?)));
        let foreign = imported.flat_map(|(space, module_idx)| {
            let names = self.program.modules[module_idx].names.iter();
            names.filter(|(_, id)| fits(id)).map(move |(name, _)| format!("{space}.{name}"))
        });
        own.chain(foreign).collect()
    }

    /// The declaration of one of `kinds` that a path names; E0201 or E0209 if there is none.
    pub(crate) fn expect(&mut self, path: &ast::Path, kinds: &[DeclKind]) -> Option<&'a Declaration> {
        let what = kinds.first().map_or("name", |kind| kind.noun());
        match self.declaration(path) {
            Some(declaration) if kinds.contains(&declaration.kind) => Some(declaration),
            Some(declaration) => {
                let is = declaration.kind.with_article();
                let expected = kinds.iter().map(|kind| kind.with_article()).collect::<Vec<_>>().join(" or ");
                let message = format!("`{}` is {is}, expected {expected}", path.text());
                let label = format!("declared as {is}");
                self.report(Diagnostic::new(Code::E0209, message, path.span, label));
                None
            }
            None => {
                self.report_unknown(what, path, kinds);
                None
            }
        }
    }

    /// E0201 with the nearest declared names of these kinds.
    pub(crate) fn report_unknown(&mut self, what: &str, path: &ast::Path, kinds: &[DeclKind]) {
        if self.is_of_lost_import(path) {
            return;
        }
        let wrong = path.text();
        let message = format!("unknown {what} `{wrong}`");
        let names = self.visible(kinds);
        let diagnostic = Diagnostic::new(Code::E0201, message, path.span, "not declared");
        self.report(suggest(diagnostic, &wrong, path.span, names.iter().map(String::as_str)));
    }

    /// Adds a node to the graph.
    pub(crate) fn add_node(&mut self, node: NewNode) -> NodeId {
        let id = NodeId(self.graph.nodes.len() as u32);
        self.graph.nodes.push(Node {
            id,
            op: node.op,
            inputs: node.inputs,
            schema: node.schema,
            key: node.key,
            class: node.class,
            effect: node.effect,
            version: node.version,
            labels: vec![node.label],
            span: node.span,
        });
        id
    }

    /// A text path with a leading `~` replaced by the home folder; reports E0314 if that is not known.
    pub(crate) fn expand_home(&mut self, path: &str, span: Span) -> String {
        let rest = match path.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => return path.to_owned(),
        };
        match self.outside.home {
            Some(home) => format!("{}{rest}", home.trim_end_matches('/')),
            None => {
                let message = "home folder of `~` is not known";
                self.report(Diagnostic::new(Code::E0314, message, span, "begins with `~`"));
                path.to_owned()
            }
        }
    }
}

/// The text of a constant of type text; empty for other values.
pub(crate) fn text_of(value: &Value) -> &str {
    if let Value::Text(text) = value { text } else { "" }
}
