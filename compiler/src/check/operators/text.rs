//! `chunk`, `compress` and `dedup`: texts into shorter texts, with the spans that they come from.

use super::{Applied, companion_spans, report_input, set_column};
use crate::catalog::operators::STAGES;
use crate::check::context::{Context, Stream};
use crate::check::expressions::{as_column, check_expr};
use crate::check::scorers::scorer;
use crate::check::tokenizers::tokenizer_of;
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::NodeId;
use crate::op::{self, Op, Value};
use crate::types::{Column, Type};

/// Largest ratio of the `token` stage without a model.
const TOKEN_RATIO: f64 = 1.25;

fn spans_type() -> Type {
    Type::List(Box::new(Type::Span))
}

/// An operator whose tokenizer belongs to an area that is not built.
fn unavailable(area: &str, applied: &Applied<'_>, tokenizer: &str) -> Op {
    let what = format!("operator `{}` with tokenizer `{tokenizer}`", applied.operator.name);
    Op::Unavailable { area: area.to_owned(), what }
}

pub(super) fn chunk(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let (text, span) = applied.first(ctx, "column")?;
    if !matches!(text.ty.required(), Type::Text) {
        report_input(ctx, applied, &text.ty, "a text column", span);
        return None;
    }
    let name = applied.result_name(ctx, &text, span)?;
    let fields = &applied.fields;
    let tokenizer = tokenizer_of(ctx, fields, applied.callee_span())?;
    let (max, min, overlap) = (fields.u64("max")?, fields.u64("min")?, fields.u64("overlap")?);
    for (field, value) in [("overlap", overlap), ("min", min)] {
        if value >= max {
            let span = fields.span(field).or(fields.span("max")).unwrap_or(applied.callee_span());
            let message = format!("`{field}` of {value} tok is not below `max` of {max} tok");
            ctx.report(Diagnostic::new(Code::E0504, message, span, format!("expected less than {max}tok")));
            return None;
        }
    }
    let clash = applied.input.column("chunk").is_some();
    if clash {
        let message = format!("column `chunk` is already in stream `{}`", applied.input.name);
        let diagnostic =
            Diagnostic::new(Code::E0202, message, applied.callee_span(), "adds a column `chunk`");
        ctx.report(diagnostic.help("give the old one another name with `rename` before"));
        return None;
    }
    let input = applied.keep_key(ctx, &[&name, "heading"]);
    let spans = companion_spans(&text, &input.columns).and_then(|spans| as_column(&spans).map(str::to_owned));
    let mut columns = input.columns.clone();
    set_column(&mut columns, &name, Type::Text);
    set_column(&mut columns, &format!("{name}_spans"), spans_type());
    set_column(&mut columns, &format!("{name}_tokens"), Type::Tok(Some(tokenizer.nominal.clone())));
    set_column(&mut columns, "chunk", Type::U32);
    set_column(&mut columns, "heading", Type::Text.optional());
    let mut key = input.key.clone();
    if !key.is_empty() {
        key.push("chunk".to_owned());
    }
    let op = match tokenizer.area {
        Some(area) => unavailable(area, applied, &tokenizer.nominal.name),
        None => Op::Chunk(op::Chunk {
            text,
            name,
            spans,
            by: fields.text("by")?,
            max_tokens: max,
            min_tokens: min,
            overlap_tokens: overlap,
            keep: fields.texts("keep"),
            breadcrumbs: fields.bool("breadcrumbs")?,
            tokenizer: tokenizer.nominal,
        }),
    };
    Some(applied.emit(ctx, &input, op, Vec::new(), columns, key))
}

pub(super) fn compress(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let (text, span) = applied.first(ctx, "column")?;
    let is_list = match text.ty.required() {
        Type::Text => false,
        Type::List(element) if matches!(element.required(), Type::Text) => true,
        other => {
            report_input(ctx, applied, other, "a text or a list of texts", span);
            return None;
        }
    };
    let fields = &applied.fields;
    let name = applied.result_name(ctx, &text, span)?;
    let query = fields
        .expr("query")
        .map(|expr| check_expr(ctx, &applied.scope(), expr, Some(&Type::Text.optional())));
    let titles = match fields.expr("titles") {
        Some(expr) => {
            let wanted = Type::List(Box::new(Type::Text.optional()));
            Some(check_expr(ctx, &applied.scope(), expr, Some(&wanted.optional())))
        }
        None => None,
    };
    if query.as_ref().is_some_and(|query| query.ty.is_unknown())
        || titles.as_ref().is_some_and(|titles| titles.ty.is_unknown())
    {
        return None;
    }
    let stages = check_stages(ctx, applied, query.is_some())?;
    let ratio = check_ratio(ctx, applied, &stages)?;
    let scorer = check_scorer(ctx, applied, query.is_some())?;
    let tokenizer = tokenizer_of(ctx, fields, applied.callee_span())?;
    let input = applied.keep_key(ctx, &[&name]);
    let spans = companion_spans(&text, &input.columns);
    let mut columns = input.columns.clone();
    let per_element = |ty: Type| if is_list { Type::List(Box::new(ty)) } else { ty };
    let same_null = |ty: Type| if text.ty.is_optional() { ty.optional() } else { ty };
    set_column(&mut columns, &name, same_null(per_element(Type::Text)));
    set_column(&mut columns, &format!("{name}_spans"), per_element(spans_type()));
    let tok = Type::Tok(Some(tokenizer.nominal.clone()));
    set_column(&mut columns, &format!("{name}_tokens_in"), tok.clone());
    set_column(&mut columns, &format!("{name}_tokens_out"), tok);
    let (links, keep) = (fields.text("links")?, fields.texts("keep"));
    if links == "side" {
        set_column(&mut columns, &format!("{name}_links"), Type::List(Box::new(Type::Text)));
    }
    if !keep.is_empty() {
        set_column(&mut columns, &format!("{name}_keep_unmet"), Type::U32);
    }
    let key = input.key.clone();
    let what = |area: &str, what: &str| Op::Unavailable { area: area.to_owned(), what: what.to_owned() };
    let op = match (tokenizer.area, scorer.1, fields.declared("stats")) {
        (Some(area), ..) => unavailable(area, applied, &tokenizer.nominal.name),
        (None, Some(area), _) => what(area, "operator `compress` with a scorer that is not learned here"),
        (None, None, Some(_)) => what("store", "operator `compress` with the statistics of an index"),
        (None, None, None) => Op::Compress(op::Compress {
            text,
            name,
            spans,
            stages,
            query,
            ratio: ratio.0,
            budget_tokens: ratio.1,
            unit: fields.text("unit")?,
            titles,
            keep,
            scorer: scorer.0,
            select: fields.text("select"),
            links,
            gap: fields.text("gap"),
            tokenizer: tokenizer.nominal,
        }),
    };
    let others = scorer.2.map(|fitted| vec![Some(fitted)]).unwrap_or_default();
    Some(applied.emit(ctx, &input, op, others, columns, key))
}

/// The stages in order; the default ones are cut at `unit`.
fn check_stages(ctx: &mut Context<'_>, applied: &Applied<'_>, has_query: bool) -> Option<Vec<String>> {
    let fields = &applied.fields;
    let place = |stage: &str| STAGES.iter().position(|other| *other == stage);
    let selects = fields.text("select").is_some();
    if !fields.has("stages") {
        if !has_query && !selects {
            return Some(vec!["structural".to_owned()]);
        }
        let last = place(&fields.text("unit")?)?;
        return Some(STAGES[..=last].iter().map(|stage| (*stage).to_owned()).collect());
    }
    let span = fields.span("stages")?;
    fields.get("stages")?.value.as_ref()?;
    let stages = fields.texts("stages");
    let places: Vec<usize> = stages.iter().filter_map(|stage| place(stage)).collect();
    if let Some(idx) = places.windows(2).position(|pair| pair[0] >= pair[1]) {
        let message = format!("stage `{}` cannot follow `{}`", stages[idx + 1], stages[idx]);
        let diagnostic = Diagnostic::new(Code::E0313, message, span, "stages out of order");
        ctx.report(diagnostic.note(format!("the order is {}", STAGES.join(", "))));
        return None;
    }
    let needs_query = stages.iter().find(|stage| matches!(stage.as_str(), "passage" | "sentence" | "clause"));
    if let Some(stage) = needs_query.filter(|_| !has_query && !selects) {
        let message = format!("stage `{stage}` of `compress` needs a query");
        let diagnostic = Diagnostic::new(Code::E0207, message, span, "`query` is missing");
        ctx.report(diagnostic.help("add `query = ...`, or choose without one: `select = textrank`"));
        return None;
    }
    Some(stages)
}

/// `ratio` or `budget`: exactly one, unless only lossless stages run.
fn check_ratio(
    ctx: &mut Context<'_>,
    applied: &Applied<'_>,
    stages: &[String],
) -> Option<(Option<f64>, Option<u64>)> {
    let fields = &applied.fields;
    let is_lossless = stages.iter().all(|stage| stage == "structural");
    if fields.has("select") && fields.has("query") {
        let span = fields.span("select")?;
        let message = "`select` and `query` of `compress` exclude each other";
        let diagnostic = Diagnostic::new(Code::E0311, message, span, "chooses without a query");
        ctx.report(diagnostic.label(fields.span("query")?, "`query`"));
        return None;
    }
    match (fields.get("ratio"), fields.get("budget")) {
        (Some(ratio), Some(budget)) => {
            let message = "`ratio` and `budget` of `compress` exclude each other";
            ctx.report(
                Diagnostic::new(Code::E0311, message, budget.span, "`budget`").label(ratio.span, "`ratio`"),
            );
            None
        }
        (None, None) if is_lossless => Some((None, None)),
        (None, None) => {
            let message = "missing parameter `ratio` or `budget` of operator `compress`";
            let diagnostic =
                Diagnostic::new(Code::E0207, message, applied.callee_span(), "how short is not said");
            ctx.report(diagnostic.help("add `ratio = 4x` or `budget = 256tok`"));
            None
        }
        (None, Some(_)) => Some((None, Some(fields.u64("budget")?))),
        (Some(entry), None) => {
            let ratio = match entry.value.as_ref()? {
                Value::Float(ratio) => *ratio,
                _ => {
                    let message = "a range of ratios is for `shrink` of prompts";
                    let diagnostic =
                        Diagnostic::new(Code::E0303, message, entry.span, "range, expected ratio");
                    ctx.report(diagnostic);
                    return None;
                }
            };
            if ratio < 1.0 {
                let message = format!("ratio {ratio}x is below 1x");
                let diagnostic = Diagnostic::new(Code::E0504, message, entry.span, "would lengthen the text");
                ctx.report(diagnostic.note("a ratio is input tokens over output tokens"));
                return None;
            }
            let is_token_only = stages.iter().any(|stage| stage == "token")
                && stages.iter().all(|stage| matches!(stage.as_str(), "structural" | "token"));
            if is_token_only && ratio > TOKEN_RATIO {
                let message = format!("ratio {ratio}x is out of reach for the stage `token`");
                let diagnostic = Diagnostic::new(
                    Code::E0505,
                    message,
                    entry.span,
                    format!("at most {TOKEN_RATIO}x without a model"),
                );
                ctx.report(diagnostic.help("add `query = ...` and the stages up to `clause`"));
                return None;
            }
            Some((Some(ratio), None))
        }
    }
}

/// The scorer's name, the area that it needs, and the node that fits it.
type FoundScorer = (String, Option<&'static str>, Option<NodeId>);

fn check_scorer(ctx: &mut Context<'_>, applied: &Applied<'_>, has_query: bool) -> Option<FoundScorer> {
    let lexical = Some(("lexical".to_owned(), None, None));
    let Some(expr) = applied.fields.expr("scorer") else { return lexical };
    if let crate::syntax::ast::ExprKind::Path(path) = &expr.kind {
        if path.text() == "lexical" {
            return lexical;
        }
        let declaration = ctx.expect(path, &[crate::resolve::DeclKind::Scorer])?;
        let (name, id) = (declaration.name.clone(), declaration.id);
        let found = scorer(ctx, id)?;
        if found.indexes.is_some() {
            let message = format!("type mismatch: scorer `{name}` weighs indexes, and ranks no sentences");
            let diagnostic = Diagnostic::new(Code::E0303, message, expr.span, "of kind `fusion`");
            ctx.report(diagnostic.help(format!("name it in `fuse = zscore({name})` of a `retrieve`")));
            return None;
        }
        if !has_query {
            let message = format!("scorer `{name}` without a query");
            let diagnostic = Diagnostic::new(Code::E0207, message, expr.span, "it scores against a question");
            ctx.report(diagnostic.help("add `query = ...`"));
            return None;
        }
        return Some((name, found.area, found.fitted.filter(|_| found.area.is_none())));
    }
    ctx.report(Diagnostic::new(
        Code::E0303,
        "`scorer` is not the name of a scorer",
        expr.span,
        "expected a scorer",
    ));
    None
}

pub(super) fn dedup(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let (text, span) = applied.first(ctx, "column")?;
    let Some(column) = as_column(&text).map(str::to_owned) else {
        report_input(ctx, applied, &text.ty, "a text column", span);
        return None;
    };
    if !matches!(text.ty.required(), Type::Text) {
        report_input(ctx, applied, &text.ty, "a text column", span);
        return None;
    }
    let fields = &applied.fields;
    let input = applied.keep_key(ctx, &["copies"]);
    if input.key.is_empty() {
        let message = "operator `dedup` needs a key: the kept copy is the one with the smallest key";
        let diagnostic =
            Diagnostic::new(Code::E0207, message, applied.callee_span(), "the stream has no key");
        ctx.report(diagnostic.help("give `sql` before it `key = ...`"));
        return None;
    }
    let unit = fields.text("unit")?;
    let mut columns = input.columns.clone();
    let mut spans = companion_spans(&text, &columns).and_then(|spans| as_column(&spans).map(str::to_owned));
    if unit == "block" {
        let name = format!("{column}_spans");
        set_column(&mut columns, &name, spans_type());
        spans = Some(name);
    }
    set_column(&mut columns, "copies", Type::List(Box::new(Type::Text)));
    let op = Op::Dedup(op::Dedup {
        column,
        spans,
        unit,
        by: fields.text("by")?,
        jaccard: fields.f64("jaccard")?,
        shingle: fields.u32("shingle")?,
        permutations: fields.u32("permutations")?,
        min_words: fields.u32("min_words")?,
    });
    let key = input.key.clone();
    let columns: Vec<Column> = columns;
    Some(applied.emit(ctx, &input, op, Vec::new(), columns, key))
}
