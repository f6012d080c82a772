//! Split taint: rows that a split sets aside for testing must not reach training.
//!
//! Streams carry the parts of splits that their rows can be of; every operator unites its inputs. What is trained asks
//! here. An index may hold test documents, which are no labels, but what is fitted for it on them is worth a warning.

use super::context::{Context, Stream, Taint};
use crate::diagnostic::{Code, Diagnostic};
use crate::resolve::DeclKind;
use crate::source::Span;
use crate::syntax::ast;

/// The part that nothing may be trained on.
const TEST: &str = "test";

/// E0401 if the stream that something is trained on holds test rows.
pub(crate) fn refuse_test(ctx: &mut Context<'_>, path: &ast::Path, stream: &Stream) {
    refuse(ctx, &path.text(), path.span, &stream.taint);
}

/// E0401 if the rows of an index that weights are learned for are test rows: the weights would be those of their scores.
pub(crate) fn refuse_test_index(ctx: &mut Context<'_>, stream: &Stream, span: Span) {
    refuse(ctx, &stream.name, span, &stream.taint);
}

fn refuse(ctx: &mut Context<'_>, shown: &str, span: Span, taint: &Taint) {
    let Some(split) = taint.get(TEST).copied() else { return };
    let label = format!("tainted `{TEST}` by the split at {}", ctx.place(split));
    let mut diagnostic = Diagnostic::new(Code::E0401, "test rows reach training", span, label);
    // The part beside it, where the stream is the split one itself.
    let train = match shown.strip_suffix(".test") {
        Some(whole) => format!("{whole}.train"),
        None => format!("{shown}.train"),
    };
    if ctx.streams.values().any(|stream| stream.name == train || stream.name.ends_with(&format!(".{train}")))
    {
        diagnostic = diagnostic.help(format!("did you mean `{train}`?"));
        // A column may follow the stream: it stays.
        if ctx.sources().snippet(span).starts_with(shown) {
            diagnostic = diagnostic.fix(Span { end: span.start + shown.len() as u32, ..span }, train);
        }
    } else if let Some(flow) = flow_of(ctx, shown) {
        diagnostic = diagnostic.note(flow);
    }
    ctx.report(diagnostic);
}

/// How test rows come into a flow: the parts and sources that its operators read.
fn flow_of(ctx: &Context<'_>, shown: &str) -> Option<String> {
    let stream = ctx.streams.values().find(|stream| stream.name == shown)?;
    let nodes = super::benches::upstream(ctx, stream.node?);
    let mut labels: Vec<String> = Vec::new();
    for id in nodes {
        labels.extend(ctx.graph.node(id).labels.first().cloned());
    }
    Some(format!("the rows come by {}", labels.join(" -> ")))
}

/// Checks what is fitted on streams besides `learn` and `patterns`: weights of embedders and tokenizers (E0401), and
/// centroids of indexes (W0402).
pub(crate) fn check(ctx: &mut Context<'_>) {
    for fit in std::mem::take(&mut ctx.fits) {
        if ctx.get(fit.declaration).kind != DeclKind::Index {
            refuse(ctx, &fit.stream, fit.span, &fit.taint);
            continue;
        }
        let Some(split) = fit.taint.get(TEST).copied() else { continue };
        let message = format!("centroids of {} are fitted on test rows", fit.what);
        let label = format!("holds `{TEST}` of the split at {}", ctx.place(split));
        let warning = Diagnostic::new(Code::W0402, message, fit.span, label);
        ctx.report(
            warning.note("test documents may be searched; what is fitted on them knows a little of them"),
        );
    }
}
