//! How lists of hits become one: what `fuse = ...` says.

use crate::check::context::Context;
use crate::check::expressions::constant;
use crate::check::fields::read_choice;
use crate::check::scorers::scorer;
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::NodeId;
use crate::op::{self, Fusion, Value};
use crate::resolve::{DeclKind, DeclarationId};
use crate::source::Span;
use crate::syntax::ast;
use crate::types::Type;

/// The constant of reciprocal rank fusion where none is written (Cormack, Clarke and Büttcher 2009).
const RRF: f64 = 60.0;

/// W2302 for a fusion by ranks of words with vectors of an embedder that is much weaker than they are: a rank says nothing of how good
/// a hit is, so the weaker index decides as much as the better one. Measured on SciFact and Vaswani, words alone 0.685 / 0.441 and with
/// such vectors 0.63 / 0.41.
pub(super) fn warn_of_rank_fusion(
    ctx: &mut Context<'_>,
    fuse: &Fusion,
    arms: &[op::Arm],
    span: Option<Span>,
) {
    let (Fusion::Rrf(_), Some(span)) = (fuse, span) else { return };
    let weak = arms.iter().find_map(|arm| Some((&arm.name, arm.embed.as_ref()?.weakness()?)));
    let (Some((name, reason)), true) = (weak, arms.iter().any(|arm| arm.kind == "bm25")) else { return };
    let message = format!("`rrf` lets index `{name}`, {reason}, decide as much as the words");
    let warning = Diagnostic::new(Code::W2302, message, span, "fusion by ranks");
    ctx.report(warning.help("leave `fuse` out: standardised scores keep the better index in front"));
}

/// `zscore`, `zscore([0.7, 0.3])`, `zscore(scorer)`, `rrf`, `rrf(60)`, `max`; standardised scores with equal weights if nothing is
/// written. With the node that fits the weights, if they are learned. `indexes` are those that gave the lists, if any did.
pub(super) fn check_fusion(
    ctx: &mut Context<'_>,
    owner: &str,
    expr: Option<&ast::Expr>,
    lists: usize,
    indexes: Option<&[DeclarationId]>,
) -> Option<(Fusion, Option<NodeId>)> {
    if let Some(ast::Expr { kind: ast::ExprKind::Call(call), .. }) = expr
        && call.callee.text() == "zscore"
        && let [argument] = call.args.as_slice()
        && let ast::ExprKind::Path(path) = &argument.value.kind
        && ctx.lookup(path).is_some_and(|(id, _)| ctx.get(id).kind == DeclKind::Scorer)
    {
        let (name, node) = learned_weights(ctx, owner, path, indexes)?;
        return Some((Fusion::Learned(name), Some(node)));
    }
    Some((given_fusion(ctx, owner, expr, lists)?, None))
}

/// The weights that a scorer learned for these indexes: its name, and the node that fits it.
fn learned_weights(
    ctx: &mut Context<'_>,
    owner: &str,
    path: &ast::Path,
    indexes: Option<&[DeclarationId]>,
) -> Option<(String, NodeId)> {
    let declaration = ctx.expect(path, &[DeclKind::Scorer])?;
    let (name, id) = (declaration.name.clone(), declaration.id);
    let found = scorer(ctx, id)?;
    let Some(learned_for) = &found.indexes else {
        let message = format!("type mismatch: `fuse` of {owner} takes a scorer of kind `fusion`");
        ctx.report(Diagnostic::new(Code::E0303, message, path.span, format!("`{name}` is of another kind")));
        return None;
    };
    if indexes != Some(learned_for) {
        let names = |ids: &[DeclarationId]| {
            ids.iter().map(|id| ctx.get(*id).name.clone()).collect::<Vec<_>>().join(", ")
        };
        let message = format!("scorer `{name}` has weights for other lists than {owner} joins");
        let label = format!("learned for [{}]", names(learned_for));
        let joined =
            indexes.map_or_else(|| "it joins columns".to_owned(), |ids| format!("it joins [{}]", names(ids)));
        let diagnostic = Diagnostic::new(Code::E0303, message, path.span, label).note(joined);
        ctx.report(diagnostic.help("name the same indexes in the same order in both `from`"));
        return None;
    }
    let Some(node) = found.fitted else {
        let message = format!("scorer `{name}` is never learned: it has no weights");
        let diagnostic = Diagnostic::new(Code::E0207, message, path.span, format!("no `learn {name}`"));
        ctx.report(diagnostic.help(format!(
            "add `learn {name} from stream {{ objective = retrieve(query, relevant), seed = 1 }}`"
        )));
        return None;
    };
    Some((name, node))
}

/// A fusion whose weights are written, or equal.
fn given_fusion(
    ctx: &mut Context<'_>,
    owner: &str,
    expr: Option<&ast::Expr>,
    lists: usize,
) -> Option<Fusion> {
    let equal = vec![1.0; lists];
    let Some(expr) = expr else { return Some(Fusion::Zscore(equal)) };
    let choices: &[&'static str] = &["zscore", "rrf", "max", "weighted"];
    let owner = format!("`fuse` of {owner}");
    let ast::ExprKind::Call(call) = &expr.kind else {
        return match read_choice(ctx, &owner, expr, choices)?.as_str() {
            "zscore" => Some(Fusion::Zscore(equal)),
            "rrf" => Some(Fusion::Rrf(RRF)),
            "max" => Some(Fusion::Max),
            _ => Some(Fusion::Weighted(equal)),
        };
    };
    let name = ast::Expr { kind: ast::ExprKind::Path(call.callee.clone()), span: call.callee.span };
    let method = read_choice(ctx, &owner, &name, choices)?;
    let [argument] = call.args.as_slice() else {
        let message = format!("`{method}` takes 1 argument, found {}", call.args.len());
        ctx.report(Diagnostic::new(Code::E0302, message, call.span, "expected 1"));
        return None;
    };
    match method.as_str() {
        "rrf" => match constant(ctx, &argument.value, &Type::F64)? {
            Value::Float(c) if c >= 0.0 => Some(Fusion::Rrf(c)),
            _ => {
                let message = "constant of `rrf` is negative";
                ctx.report(Diagnostic::new(Code::E0502, message, argument.span, "expected 0 or more"));
                None
            }
        },
        "max" => {
            ctx.report(Diagnostic::new(Code::E0302, "`max` takes no argument", call.span, "expected none"));
            None
        }
        _ => {
            let weights = constant(ctx, &argument.value, &Type::List(Box::new(Type::F64)))?;
            let Value::List(weights) = weights else { return None };
            if weights.len() != lists {
                let message = format!("`{method}` has {} weights for {lists} lists", weights.len());
                ctx.report(Diagnostic::new(Code::E0302, message, argument.span, format!("expected {lists}")));
                return None;
            }
            let weights = weights
                .iter()
                .filter_map(|weight| if let Value::Float(weight) = weight { Some(*weight) } else { None });
            let weights: Vec<f64> = weights.collect();
            Some(if method == "zscore" { Fusion::Zscore(weights) } else { Fusion::Weighted(weights) })
        }
    }
}
