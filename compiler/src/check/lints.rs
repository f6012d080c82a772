//! Lints: programs that are right, but probably not what was meant. Run last, and only on programs without errors.
//!
//! Warnings that fall out of another check are given there (W0202, W0203, W0402, W0501, W0601, W0602). A comment
//! `// allow(W0201)` on the line before the marked place, or before the declaration that holds it, silences a warning.

use std::collections::BTreeSet;

use super::context::Context;
use super::expressions::bare_columns;
use super::{editions, prompts};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::graph::{Class, Node, NodeId};
use crate::op::{self, Op};
use crate::resolve::{DeclKind, DeclarationId};
use crate::source::{SourceId, Span};
use crate::syntax::ast::{CommentKind, FromKeyword, ItemKind};

/// Names of formals that hold what is asked.
const QUESTIONS: [&str; 4] = ["question", "query", "ask", "task"];

/// Runs the lints, if there is no error, and takes out what the program allows.
pub(crate) fn finish(ctx: &mut Context<'_>) {
    editions::check_editions(ctx);
    if ctx.error_count() == 0 {
        editions::warn_missing(ctx);
        editions::warn_blanks(ctx);
        unused(ctx);
        let nodes = ctx.graph.nodes.clone();
        keys(ctx, &nodes);
        seeds(ctx, &nodes);
        compressions(ctx, &nodes);
    }
    let diagnostics = std::mem::take(&mut ctx.diagnostics);
    ctx.diagnostics = diagnostics.into_iter().filter(|diagnostic| !is_allowed(ctx, diagnostic)).collect();
}

/// Whether some `learn` trains what is declared.
pub(crate) fn is_learned(ctx: &Context<'_>, id: DeclarationId) -> bool {
    let declaration = ctx.get(id);
    let items = &ctx.program.modules[declaration.module].file.items;
    items.iter().any(|item| match &item.kind {
        ItemKind::From { keyword: FromKeyword::Learn, name, .. } => name.name == declaration.local,
        _ => false,
    })
}

/// W0201 for declarations of the main text and formals of its prompts; what an import offers need not be used.
fn unused(ctx: &mut Context<'_>) {
    let kinds = [DeclKind::Param, DeclKind::Type, DeclKind::Source, DeclKind::Index];
    for declaration in &ctx.program.declarations {
        if declaration.module != 0 {
            continue;
        }
        if kinds.contains(&declaration.kind) && !ctx.used.contains(&declaration.id) {
            let message =
                format!("{} `{}` is declared but never used", declaration.kind.noun(), declaration.local);
            ctx.report(Diagnostic::new(Code::W0201, message, declaration.span, "never used"));
        }
        if declaration.kind == DeclKind::Prompt
            && let Some(info) = prompts::prompt(ctx, declaration.id)
        {
            for (formal, span) in info.unused {
                let message = format!("formal `{formal}` of prompt `{}` is never used", declaration.local);
                ctx.report(Diagnostic::new(Code::W0201, message, span, "in no template"));
            }
        }
    }
}

/// W0404 for `sql` without a key, W0401 for what cannot be cached row by row behind it.
fn keys(ctx: &mut Context<'_>, nodes: &[Node]) {
    let mut reported = BTreeSet::new();
    for node in nodes {
        if let (Op::Sql { .. }, true) = (&node.op, node.key.is_empty()) {
            let place = Span { end: node.span.start + 3, ..node.span };
            let message = "`sql` without a key: everything after it is computed whole";
            let warning = Diagnostic::new(Code::W0404, message, place, "its rows have no identity");
            ctx.report(warning.help("add `key = column`, if the result has one that is unique"));
        }
        let costly = matches!(
            node.op,
            Op::Chunk(_)
                | Op::Compress(_)
                | Op::Embed { .. }
                | Op::Retrieve(_)
                | Op::Assemble(_)
                | Op::Unavailable { .. }
        );
        let Some(input) = node.inputs.first().map(|id| &nodes[id.0 as usize]) else { continue };
        let is_by_row = matches!(node.class, Class::RowWise | Class::Expanding);
        if costly && is_by_row && input.key.is_empty() && reported.insert(unkeyed_root(nodes, input.id)) {
            let message = "unkeyed stream cannot be incremental";
            let warning = Diagnostic::new(
                Code::W0401,
                message,
                node.span,
                "computed again for every row on each change",
            );
            ctx.report(warning.help("give the stream a key where it loses it"));
        }
    }
}

/// The first unkeyed node above a node.
fn unkeyed_root(nodes: &[Node], id: NodeId) -> NodeId {
    let mut at = id;
    while let Some(input) = nodes[at.0 as usize].inputs.first() {
        if !nodes[input.0 as usize].key.is_empty() {
            break;
        }
        at = *input;
    }
    at
}

/// Scans that a node is computed from.
fn scans_of(nodes: &[Node], id: NodeId) -> BTreeSet<NodeId> {
    let (mut seen, mut open, mut scans) = (BTreeSet::new(), vec![id], BTreeSet::new());
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let node = &nodes[id.0 as usize];
            open.extend(node.inputs.iter().copied());
            if matches!(node.op, Op::Scan(_)) {
                scans.insert(id);
            }
        }
    }
    scans
}

/// W0403 for two samples of the same rows with one seed.
fn seeds(ctx: &mut Context<'_>, nodes: &[Node]) {
    let mut samples: Vec<(u64, BTreeSet<NodeId>, Span)> = Vec::new();
    for node in nodes {
        let Op::Sample { seed, .. } = &node.op else { continue };
        let scans = scans_of(nodes, node.id);
        let twin = samples.iter().find(|(other, rows, _)| other == seed && !rows.is_disjoint(&scans));
        if let Some((_, _, first)) = twin {
            let message = format!("seed {seed} is repeated: both samples take the same rows");
            let warning = Diagnostic::new(Code::W0403, message, node.span, "the same rows again");
            let place = ctx.place(*first);
            ctx.report(
                warning.note(format!("the other sample is at {place}")).help("give each its own seed"),
            );
            continue;
        }
        samples.push((*seed, scans, node.span));
    }
}

/// Whether a compression drops text that a reader may need: more than structure goes.
fn drops_text(compress: &op::Compress) -> bool {
    compress.stages.iter().any(|stage| stage != "structural") || compress.select.is_some()
}

/// The compression that made the text of a column, following the stream upwards.
fn compression_of<'n>(
    nodes: &'n [Node],
    start: NodeId,
    column: &str,
) -> Option<(&'n Node, &'n op::Compress)> {
    let mut column = column.to_owned();
    let mut at = Some(start);
    while let Some(node) = at.map(|id| &nodes[id.0 as usize]) {
        let made_from = match &node.op {
            Op::Compress(compress) if compress.name == column => {
                if drops_text(compress) {
                    return Some((node, compress));
                }
                Some(&compress.text)
            }
            Op::Chunk(chunk) if chunk.name == column => Some(&chunk.text),
            Op::Embed { text, name, .. } if *name == column => Some(text),
            Op::Select { columns } | Op::Derive { columns } => {
                columns.iter().find(|(name, _)| *name == column).map(|(_, expr)| expr)
            }
            Op::Rename { columns } => {
                if let Some((_, old)) = columns.iter().find(|(new, _)| *new == column) {
                    column.clone_from(old);
                }
                None
            }
            _ => None,
        };
        if let Some(expr) = made_from {
            let mut names = Vec::new();
            bare_columns(expr, &mut names);
            column = names.first().map(|name| (*name).to_owned())?;
        }
        at = node.inputs.first().copied();
    }
    None
}

/// W0503 for indexes over compressed text, W0502 for prompts with a question over text that was selected without it.
fn compressions(ctx: &mut Context<'_>, nodes: &[Node]) {
    for node in nodes {
        let Some(input) = node.inputs.first().copied() else { continue };
        match &node.op {
            Op::Index(index) => {
                let Some((compressed, _)) = compression_of(nodes, input, &index.column) else { continue };
                let message = "index over compressed text";
                let place = ctx.place(compressed.span);
                let warning =
                    Diagnostic::new(Code::W0503, message, node.span, "what was dropped is not found");
                let warning = warning.note(format!("`{}` is compressed at {place}", index.column));
                ctx.report(warning.help("index the full text, and compress what is found"));
            }
            Op::Assemble(assemble) => blind_selections(ctx, nodes, input, assemble),
            _ => {}
        }
    }
}

fn blind_selections(ctx: &mut Context<'_>, nodes: &[Node], input: NodeId, assemble: &op::Assemble) {
    let Some(question) =
        assemble.prompt.formals.iter().find(|formal| QUESTIONS.contains(&formal.name.as_str()))
    else {
        return;
    };
    for (_, value, _) in &assemble.args {
        let mut names = Vec::new();
        bare_columns(value, &mut names);
        for name in names {
            let Some((node, compress)) = compression_of(nodes, input, name) else { continue };
            if compress.query.is_some() || compress.select.is_none() {
                continue;
            }
            let message =
                format!("`{name}` is selected without a query and feeds a prompt that has a question");
            let warning = Diagnostic::new(Code::W0502, message, node.span, "may drop the answer");
            let help = format!("compress with `query = ...`, as the prompt's `{}`", question.name);
            ctx.report(warning.help(help));
        }
    }
}

/// Whether a comment on the line before silences a warning.
fn is_allowed(ctx: &Context<'_>, diagnostic: &Diagnostic) -> bool {
    if diagnostic.severity == Severity::Error {
        return false;
    }
    let span = diagnostic.primary.span;
    let Some(module) = ctx.program.modules.iter().find(|module| module.file.source == span.source) else {
        return false;
    };
    let file = ctx.sources().get(span.source);
    let line_of = |offset: u32| file.line_column(offset).0;
    let item =
        module.file.items.iter().find(|item| item.span.start <= span.start && span.start <= item.span.end);
    let lines = [Some(line_of(span.start)), item.map(|item| line_of(item.span.start))];
    let comments = module.file.comments.iter().filter(|comment| comment.kind == CommentKind::Line);
    let mut allowing =
        comments.filter(|comment| allows(ctx, comment.span, diagnostic.code)).map(|comment| comment.span);
    allowing.any(|comment| {
        lines
            .iter()
            .flatten()
            .any(|line| line_of(comment.start) + 1 == *line && is_alone(ctx, span.source, comment))
    })
}

/// Whether nothing but blanks stands before a comment on its line.
fn is_alone(ctx: &Context<'_>, source: SourceId, comment: Span) -> bool {
    let text = &ctx.sources().get(source).text[..comment.start as usize];
    text.rsplit('\n').next().is_none_or(|before| before.trim().is_empty())
}

/// `// allow(W0201, W0602)`
fn allows(ctx: &Context<'_>, comment: Span, code: Code) -> bool {
    let text = ctx.sources().snippet(comment).trim_start_matches('/').trim();
    let codes =
        text.strip_prefix("allow(").and_then(|rest| rest.split_once(')')).map_or("", |(codes, _)| codes);
    codes.split(',').any(|listed| Code::parse(listed.trim()) == Some(code))
}
