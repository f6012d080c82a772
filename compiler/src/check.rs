//! From trees to the typed program: names, types, units, spaces, effects, budgets, measurements.
//!
//! ```text
//! texts --load--> Program --params, sources, flows, indexes, prompts, ...--> Hir + diagnostics
//! ```
//!
//! Every declaration is typed when it is first needed and once only. A part with an error has type `unknown`, which matches
//! everything and yields no second diagnostic.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::hir::Hir;
use crate::resolve::imports;
pub use crate::resolve::imports::Loader;
use crate::resolve::{DeclKind, Declaration, DeclarationId, Program};
use crate::source::{SourceId, SourceMap, Span};
use crate::syntax::ast::ItemKind;
pub use sql::limit::sql_limit;

mod benches;
mod constants;
mod context;
mod editions;
mod embedders;
mod expressions;
pub(crate) mod fields;
mod flows;
mod functions;
mod gates;
mod indexes;
mod later;
mod lints;
mod operators;
mod params;
mod prompts;
mod scorers;
mod sources;
mod sql;
mod taint;
mod template;
mod tests;
mod tokenizers;
mod types;
mod units;
mod word_punct;
mod writes;

use context::{Context, Outside};

/// Most findings of one text that are handed out.
const MAX_FINDINGS: usize = 1_000;

/// A program and what comes from outside of it.
pub struct Input<'a> {
    /// The name that diagnostics show, with `/` as separator; its folder is the base of relative paths.
    pub name: &'a str,
    /// The whole text.
    pub text: &'a str,
    /// Gives the name and text of an import: called with the name of the importing text and the path as written.
    pub loader: &'a mut Loader<'a>,
    /// Values of params, as text: `--set name=value`. Params of imports have the import's name before theirs.
    pub set: BTreeMap<String, String>,
    /// The environment, which `env(...)` in params reads.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The home folder, for a leading `~` in paths.
    pub home: Option<String>,
    /// What a model folder holds, or why it cannot be used; a relative path begins at the folder of the text.
    pub encoders: &'a dyn Fn(EncoderPlace<'_>) -> Result<EncoderFolder, String>,
    /// Whether warnings are errors.
    pub deny_warnings: bool,
}

/// Where the model of an embedder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderPlace<'a> {
    /// `static` or `bert`.
    pub kind: &'a str,
    /// Its folder; `None` for the one that comes with promptc.
    pub dir: Option<&'a str>,
}

/// What the type of an embedder takes from its model folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderFolder {
    /// Hash of its files.
    pub hash: String,
    /// Length of its vectors.
    pub dim: u32,
    /// Longest sequence in tokens; `None` where any length is read.
    pub max_tokens: Option<u32>,
    /// Longest sequence where the program states none, if the folder says so.
    pub usual_tokens: Option<u32>,
    /// `mean` or `cls`, where the program states none, if the folder says so.
    pub pool: Option<&'static str>,
}

impl EncoderFolder {
    /// A folder that says nothing of what is usual.
    #[must_use]
    pub fn new(hash: String, dim: u32, max_tokens: Option<u32>) -> Self {
        Self { hash, dim, max_tokens, usual_tokens: None, pool: None }
    }
}

/// For a caller without model folders: what comes with promptc is known by its kind and length alone, so that a program that uses it can be
/// checked, and not run.
///
/// # Errors
/// For every folder: there are none.
pub fn no_encoders(place: EncoderPlace<'_>) -> Result<EncoderFolder, String> {
    match place {
        EncoderPlace { kind: "static", dir: None } => Ok(EncoderFolder::new("shipped".to_owned(), 256, None)),
        EncoderPlace { kind: "bert", dir: None } => {
            Ok(EncoderFolder::new("shipped".to_owned(), 384, Some(256)))
        }
        _ => Err("model folders are not looked at here".to_owned()),
    }
}

/// What `check` found.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The typed program; complete if there is no error.
    pub hir: Hir,
    /// Findings by place.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that spans are of.
    pub sources: SourceMap,
}

impl Checked {
    /// Whether the program cannot be planned.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Checks a program. Never fails: what is wrong with the text is a diagnostic. Cost: below 5 ms for 200 lines.
#[must_use]
pub fn check(input: Input<'_>) -> Checked {
    let mut diagnostics = Vec::new();
    let program = imports::load(input.name, input.text, input.loader, &mut diagnostics);
    let outside = Outside {
        set: &input.set,
        environment: input.environment,
        home: input.home.as_deref(),
        encoders: input.encoders,
    };
    let mut ctx = Context::new(&program, &outside, diagnostics);
    let mut hir = check_program(&mut ctx);
    lints::finish(&mut ctx);
    let mut diagnostics = std::mem::take(&mut ctx.diagnostics);
    hir.graph = crate::lower::lower(std::mem::take(&mut ctx.graph), &stream_order(&ctx));
    drop(ctx);
    if input.deny_warnings {
        diagnostics.iter_mut().for_each(|diagnostic| diagnostic.severity = Severity::Error);
    }
    drop_swallowed(&mut diagnostics);
    sort(&mut diagnostics);
    cap(&mut diagnostics);
    Checked { hir, diagnostics, sources: program.sources }
}

/// Takes out what was found inside a text that is not terminated: it holds the rest of the file.
fn drop_swallowed(diagnostics: &mut Vec<Diagnostic>) {
    let open: Vec<Span> = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.code == Code::E0104)
        .map(|diagnostic| diagnostic.primary.span)
        .collect();
    diagnostics.retain(|diagnostic| {
        let span = diagnostic.primary.span;
        !open.iter().any(|open| open.source == span.source && open.end <= span.start)
    });
}

/// By text, place and code; the same finding about the same place stands once.
fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|left, right| {
        let key = |diagnostic: &Diagnostic| (diagnostic.primary.span, diagnostic.code);
        key(left).cmp(&key(right)).then_with(|| left.message.cmp(&right.message))
    });
    diagnostics.dedup();
}

/// Keeps the first findings of each text, errors before warnings, so that a wrong program stays wrong; the last one kept
/// says how many are left out.
fn cap(diagnostics: &mut Vec<Diagnostic>) {
    let mut left: BTreeMap<(SourceId, Severity), usize> = BTreeMap::new();
    for diagnostic in diagnostics.iter() {
        *left.entry((diagnostic.primary.span.source, diagnostic.severity)).or_default() += 1;
    }
    let sources: BTreeSet<SourceId> = left.keys().map(|(source, _)| *source).collect();
    for source in sources {
        let count = |severity| left.get(&(source, severity)).copied().unwrap_or(0);
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        if errors + warnings <= MAX_FINDINGS {
            continue;
        }
        let mut kept_errors = errors.min(MAX_FINDINGS);
        let mut kept_warnings = MAX_FINDINGS - kept_errors;
        diagnostics.retain(|diagnostic| {
            let room = match diagnostic.severity {
                _ if diagnostic.primary.span.source != source => return true,
                Severity::Error => &mut kept_errors,
                Severity::Warning => &mut kept_warnings,
            };
            let is_kept = *room > 0;
            *room = room.saturating_sub(1);
            is_kept
        });
        let last = diagnostics.iter_mut().rfind(|diagnostic| diagnostic.primary.span.source == source);
        if let Some(last) = last {
            let rest = errors + warnings - MAX_FINDINGS;
            last.notes.push(format!("{rest} more findings of this file are left out"));
        }
    }
}

fn check_program(ctx: &mut Context<'_>) -> Hir {
    let params = params::check_params(ctx);
    for id in crate::resolve::dependencies::order(ctx.program) {
        check_declaration(ctx, id);
    }
    later::check_all(ctx);
    taint::check(ctx);
    let tests = tests::check_all(ctx);
    let benches = benches::check_all(ctx);
    let gates = gates::check_all(ctx);
    let queries = benches::check_queries(ctx);
    confess(ctx);
    Hir { params, tests, benches, gates, queries, docs: docs(ctx.program), ..Hir::default() }
}

/// Without an error everything has a type; if not, a check has kept silent, and that is ours to mend.
fn confess(ctx: &mut Context<'_>) {
    if ctx.error_count() > 0 {
        return;
    }
    let lost = ctx.streams.iter().find(|(_, stream)| stream.is_unknown || stream.node.is_none());
    let Some((key, stream)) = lost else { return };
    let span = ctx.get(key.declaration).span;
    let message = format!("internal fault: stream `{}` has no type", stream.name);
    let fault = Diagnostic::new(Code::E2001, message, span, "no error was found in it");
    ctx.report(fault.help("report this program to the makers of promptc"));
}

/// Types a declaration of the core; those of later areas follow when all of these are known.
fn check_declaration(ctx: &mut Context<'_>, id: DeclarationId) {
    let declaration = ctx.get(id);
    match declaration.kind {
        DeclKind::Type => {
            types::alias(ctx, id, declaration.span);
        }
        DeclKind::Source => sources::check_source(ctx, id),
        DeclKind::Tokenizer => {
            tokenizers::tokenizer(ctx, id);
        }
        DeclKind::Embedder => {
            embedders::embedder(ctx, id);
        }
        DeclKind::Index => {
            indexes::index(ctx, id);
        }
        DeclKind::Prompt => {
            prompts::prompt(ctx, id);
        }
        DeclKind::Pipeline => flows::check_pipeline(ctx, id),
        _ => {}
    }
}

/// Names of streams and artifacts in the order of their declarations.
fn stream_order(ctx: &Context<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for declaration in &ctx.program.declarations {
        names.push(declaration.name.clone());
        let parts = ctx.streams.keys().filter(|key| key.declaration == declaration.id);
        let flows = flows::flow_names(ctx, declaration.id);
        let is_flow = |part: &&String| !flows.contains(part);
        let split: Vec<&String> = parts.filter_map(|key| key.part.as_ref()).filter(is_flow).collect();
        names.extend(flows.iter().chain(split).map(|part| format!("{}.{part}", declaration.name)));
    }
    names
}

/// Doc texts of texts and declarations, by name.
fn docs(program: &Program) -> Vec<(String, String)> {
    let doc = |declaration: &Declaration| {
        let item = program.item(declaration);
        // An import has no name of its own; everything else that is declared may have a doc text.
        (!matches!(item.kind, ItemKind::Import { .. })).then(|| item.doc.clone()).flatten()
    };
    let own = program.declarations.iter().filter_map(|decl| Some((decl.name.clone(), doc(decl)?)));
    let files =
        program.modules.iter().filter_map(|module| Some((module.prefix.clone(), module.file.doc.clone()?)));
    files.chain(own).collect()
}
