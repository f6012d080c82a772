//! Prompts: their messages, and the proof that they fit their budget.
//!
//! ```text
//! budget  >=  T (fixed text + rendering)  +  min of every message      else E0503
//! budget  >=  T + max of bounded messages + min of elastic messages    else W0501
//! ```
//!
//! A message with slots is *bounded* by `max` and *elastic* by `shrink`. Fixed text is counted with `word_punct`; under
//! another tokenizer the compiler cannot count, takes T as 0, and leaves the proof to the run. What a rendering adds is
//! checked once for each use of the prompt.

use std::collections::BTreeSet;

use super::context::Context;
use super::expressions::{self, Scope, check_expr, constant};
use super::fields::{Fields, check_arguments, read_choice};
use super::template::{self, Template};
use super::{tokenizers, types, word_punct};
use crate::catalog::{Accepts, Fallback, FieldSpec};
use crate::diagnostic::{Code, Diagnostic};
use crate::op::{self, Shrink, Value};
use crate::resolve::DeclarationId;
use crate::source::Span;
use crate::syntax::ast::{self, Role};
use crate::types::{Column, Type};

/// Attributes of a message.
const MESSAGE: &[FieldSpec] = &[
    FieldSpec::new(
        "priority",
        Accepts::Int(-2_147_483_648, 2_147_483_647),
        Fallback::Int(50),
        "lower gives way first",
    ),
    FieldSpec::new("min", Accepts::Tok, Fallback::Int(0), "it is not shrunk below"),
    FieldSpec::new("max", Accepts::Tok, Fallback::None, "it is cut above"),
    FieldSpec::new("shrink", Accepts::Raw, Fallback::None, "how it gives way"),
    FieldSpec::new("when", Accepts::Raw, Fallback::None, "left out if false"),
];

/// Choices of `shrink` beside `compress(...)`.
const SHRINKS: &[&str] = &["none", "keep_head", "keep_tail", "keep_both", "drop"];

/// Parameters of `shrink = compress(...)`.
const SHRINK_COMPRESS: &[FieldSpec] = &[
    FieldSpec::new("query", Accepts::Raw, Fallback::None, "the formal that decides what matters"),
    FieldSpec::new(
        "ratio",
        Accepts::Ratio,
        Fallback::Required,
        "how far it may shrink, for example `1x..8x`",
    ),
    FieldSpec::new(
        "unit",
        Accepts::Choice(&["passage", "sentence", "clause", "token"]),
        Fallback::Text("clause"),
        "smallest unit that may be dropped",
    ),
    FieldSpec::new(
        "keep",
        Accepts::Choices(&["numbers", "names", "negation", "code", "tables", "headings"]),
        Fallback::EmptyList,
        "what must stay",
    ),
];

/// Largest ratio of the `token` stage without a model.
const TOKEN_RATIO: f64 = 1.25;

/// A typed prompt with what its static rules need.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PromptInfo {
    /// What the operators carry.
    pub(crate) op: op::Prompt,
    /// Formals that no template, condition or query names, with their places.
    pub(crate) unused: Vec<(String, Span)>,
    /// Tokens of the fixed text of all messages; `None` if the compiler cannot count them.
    fixed_tokens: Option<u64>,
    /// Whether each message has slots, and where it stands.
    messages: Vec<MessageInfo>,
    /// Where the name stands.
    span: Span,
}

#[derive(Debug, Clone, PartialEq)]
struct MessageInfo {
    role_span: Span,
    has_slots: bool,
    /// Where `min` is written.
    min_span: Option<Span>,
}

/// The typed prompt of a declaration; `None` after an error. Kept, so each prompt is reported once.
pub(crate) fn prompt(ctx: &mut Context<'_>, id: DeclarationId) -> Option<PromptInfo> {
    if let Some(known) = ctx.prompts.get(&id) {
        return known.clone();
    }
    let ast::ItemKind::Prompt { name, formals, within, messages } = &ctx.item(id).kind else { return None };
    let typed = ctx.within(id, |ctx| check_prompt(ctx, name, formals, within, messages));
    ctx.prompts.insert(id, typed.clone());
    typed
}

fn check_prompt(
    ctx: &mut Context<'_>,
    name: &ast::Ident,
    formals: &[ast::Formal],
    within: &ast::Expr,
    messages: &[ast::Message],
) -> Option<PromptInfo> {
    let errors_before = ctx.error_count();
    for formal in formals.iter().filter(|formal| formal.name.name == "render") {
        let message = "name `render` is a parameter of `assemble`";
        let diagnostic = Diagnostic::new(Code::E0108, message, formal.name.span, "not allowed for a formal");
        ctx.report(diagnostic.help("write another name, for example `render_`"));
    }
    let columns = types::check_record(ctx, formals);
    let budget = constant(ctx, within, &Type::Tok(None));
    let tokenizer = tokenizers::default_tokenizer(ctx, name.span);
    let mut used = BTreeSet::new();
    let mut typed = Vec::new();
    for message in messages {
        typed.push(check_message(ctx, &name.name, &columns, message, &mut used));
    }
    let budget_tokens = budget.as_ref().and_then(count_of);
    if ctx.error_count() > errors_before {
        return None;
    }
    let (budget_tokens, tokenizer) = (budget_tokens?, tokenizer?);
    // Only `word_punct` needs no file; other tokenizers belong to a later area.
    let is_counted = tokenizer.area.is_none();
    let fixed = typed.iter().map(|(_, template, _)| template.fixed_tokens).sum();
    let unused = formals.iter().filter(|formal| !used.contains(&formal.name.name));
    let info = PromptInfo {
        unused: unused.map(|formal| (formal.name.name.clone(), formal.name.span)).collect(),
        fixed_tokens: is_counted.then_some(fixed),
        messages: typed.iter().map(|(_, _, info)| info.clone()).collect(),
        op: op::Prompt {
            budget_tokens,
            formals: columns,
            messages: typed.into_iter().map(|(message, _, _)| message).collect(),
            tokenizer: tokenizer.nominal,
        },
        span: name.span,
    };
    prove_fit(ctx, &name.name, &info);
    Some(info)
}

fn count_of(value: &Value) -> Option<u64> {
    match value {
        Value::Int(count) => u64::try_from(*count).ok(),
        Value::UInt(count) => Some(*count),
        _ => None,
    }
}

fn check_message(
    ctx: &mut Context<'_>,
    prompt: &str,
    formals: &[Column],
    message: &ast::Message,
    used: &mut BTreeSet<String>,
) -> (op::Message, Template, MessageInfo) {
    let template = template::parse_template(&message.template, formals, &mut ctx.diagnostics);
    used.extend(template.used.iter().cloned());
    let owner = format!("a message of prompt `{prompt}`");
    let fields = check_arguments(ctx, &owner, message.role_span, &message.attributes, MESSAGE, 0);
    let scope = Scope::columns(prompt, formals);
    let shrink = fields.expr("shrink").map_or(Shrink::None, |expr| check_shrink(ctx, &scope, expr, used));
    let when = fields.expr("when").map(|expr| {
        let condition = check_expr(ctx, &scope, expr, Some(&Type::Bool.optional()));
        mark_used(&condition, used);
        condition
    });
    let min_tokens = fields.u64("min").unwrap_or(0);
    let max_tokens = fields.u64("max");
    check_sizes(ctx, &fields, min_tokens, max_tokens, template.has_slots);
    let priority = match fields.value("priority") {
        Some(Value::Int(priority)) => i32::try_from(priority).unwrap_or(50),
        _ => 50,
    };
    let typed = op::Message {
        role: message.role,
        priority,
        min_tokens,
        max_tokens,
        shrink,
        when,
        template: template.pieces.clone(),
    };
    let min_span = fields.get("min").map(|entry| entry.name_span);
    let info = MessageInfo { role_span: message.role_span, has_slots: template.has_slots, min_span };
    (typed, template, info)
}

fn mark_used(expr: &op::Expr, used: &mut BTreeSet<String>) {
    let mut names = Vec::new();
    expressions::bare_columns(expr, &mut names);
    used.extend(names.into_iter().map(str::to_owned));
}

/// E0504: `max` below `min`, or `min` on a message that is all fixed text.
fn check_sizes(ctx: &mut Context<'_>, fields: &Fields<'_>, min: u64, max: Option<u64>, has_slots: bool) {
    let Some(min_entry) = fields.get("min").filter(|_| min > 0) else { return };
    let (name_span, value_span) = (min_entry.name_span, min_entry.span);
    if !has_slots {
        let message = "contradictory sizes: `min` on a message without slots";
        let diagnostic = Diagnostic::new(Code::E0504, message, name_span, "all of the message is fixed text");
        ctx.report(diagnostic.help("remove `min`"));
    } else if let (Some(max), Some(max_span)) = (max, fields.span("max"))
        && max < min
    {
        let message = format!("contradictory sizes: `max` {max} tok is below `min` {min} tok");
        let diagnostic = Diagnostic::new(Code::E0504, message, max_span, format!("below {min} tok"));
        ctx.report(diagnostic.label(value_span, "`min`"));
    }
}

fn check_shrink(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    expr: &ast::Expr,
    used: &mut BTreeSet<String>,
) -> Shrink {
    let call = match &expr.kind {
        ast::ExprKind::Call(call) if call.callee.text() == "compress" => call,
        _ => {
            let choices: Vec<&'static str> = SHRINKS.iter().copied().chain(["compress(...)"]).collect();
            return match read_choice(ctx, "`shrink`", expr, &choices).as_deref() {
                Some("keep_head") => Shrink::KeepHead,
                Some("keep_tail") => Shrink::KeepTail,
                Some("keep_both") => Shrink::KeepBoth,
                Some("drop") => Shrink::Drop,
                _ => Shrink::None,
            };
        }
    };
    let fields =
        check_arguments(ctx, "`compress` of `shrink`", call.callee.span, &call.args, SHRINK_COMPRESS, 0);
    let query = fields.expr("query").map(|expr| {
        let query = check_expr(ctx, scope, expr, Some(&Type::Text));
        mark_used(&query, used);
        query
    });
    let (ratio_min, ratio_max) = match fields.value("ratio") {
        Some(Value::Range(low, high)) => match (*low, *high) {
            (Value::Float(low), Value::Float(high)) => (low, high),
            _ => (1.0, 1.0),
        },
        Some(Value::Float(ratio)) => (ratio, ratio),
        _ => (1.0, 1.0),
    };
    let ratio_span = fields.span("ratio").unwrap_or(call.span);
    if ratio_min < 1.0 || ratio_max < ratio_min {
        let message = format!("contradictory sizes: ratio {ratio_min}x..{ratio_max}x");
        ctx.report(Diagnostic::new(
            Code::E0504,
            message,
            ratio_span,
            "expected 1x or more, the larger one last",
        ));
    } else if query.is_none() && ratio_max > TOKEN_RATIO {
        let message = format!("ratio {ratio_max}x is out of reach without a query");
        let diagnostic = Diagnostic::new(Code::E0505, message, ratio_span, format!("at most {TOKEN_RATIO}x"));
        ctx.report(diagnostic.help("add `query = ...`, a formal that says what matters"));
    }
    let unit = fields.text("unit").unwrap_or_default();
    Shrink::Compress { query, ratio_min, ratio_max, unit, keep: fields.texts("keep") }
}

/// Tokens that a rendering adds to the messages; 0 for `plain`, whose blank lines are no tokens.
pub(crate) fn render_tokens(render: &str, roles: impl Iterator<Item = Role>) -> u64 {
    match render {
        "chatml" => roles.map(|role| word_punct::count(&chatml_frame(role))).sum(),
        _ => 0,
    }
}

/// What `chatml` puts around a message.
fn chatml_frame(role: Role) -> String {
    let role = match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    format!("<|im_start|>{role}\n <|im_end|>\n")
}

/// Checks a use of a prompt with a rendering that adds text; `span` is the place of the use. E0503, or W0501 at the use.
pub(crate) fn check_use(ctx: &mut Context<'_>, name: &str, info: &PromptInfo, render: &str, span: Span) {
    let extra = render_tokens(render, info.op.messages.iter().map(|message| message.role));
    let plain = Sums::of(info, 0);
    let sums = Sums::of(info, extra);
    if extra == 0 || info.fixed_tokens.is_none() || plain.least() > info.op.budget_tokens {
        return;
    }
    if sums.least() > info.op.budget_tokens {
        ctx.report(cannot_fit(ctx, name, info, &sums, span));
    } else if let (None, Some(warning)) = (overflow(name, info, &plain), overflow(name, info, &sums)) {
        ctx.report(warning.label(span, format!("rendered as `{render}`")));
    }
}

fn prove_fit(ctx: &mut Context<'_>, name: &str, info: &PromptInfo) {
    let sums = Sums::of(info, 0);
    if sums.least() > info.op.budget_tokens {
        ctx.report(cannot_fit(ctx, name, info, &sums, info.span));
        return;
    }
    let unbounded: Vec<&MessageInfo> = info.open_messages().collect();
    for message in &unbounded {
        let text = format!("message may overflow the budget of prompt `{name}`");
        let warning = Diagnostic::new(Code::W0501, text, message.role_span, "has neither `max` nor `shrink`");
        ctx.report(warning.help("add `shrink = keep_head`, or a `max`"));
    }
    if unbounded.is_empty() {
        let warning = overflow(name, info, &sums);
        ctx.diagnostics.extend(warning);
    }
}

impl PromptInfo {
    fn parts(&self) -> impl Iterator<Item = (&op::Message, &MessageInfo)> {
        self.op.messages.iter().zip(&self.messages)
    }

    /// Messages with slots that are neither bounded nor elastic.
    fn open_messages(&self) -> impl Iterator<Item = &MessageInfo> {
        let open = |message: &op::Message, info: &MessageInfo| {
            info.has_slots && message.max_tokens.is_none() && message.shrink == Shrink::None
        };
        self.parts().filter(move |(message, info)| open(message, info)).map(|(_, info)| info)
    }
}

/// The sums of the static rules, in tokens.
struct Sums {
    fixed: u64,
    rendering: u64,
    /// `min` of every message.
    mins: u64,
    /// `max` of bounded messages that are not elastic.
    bounded: u64,
    /// `min` of elastic messages.
    elastic: u64,
}

impl Sums {
    fn of(info: &PromptInfo, rendering: u64) -> Self {
        let mut sums =
            Sums { fixed: info.fixed_tokens.unwrap_or(0), rendering, mins: 0, bounded: 0, elastic: 0 };
        for (message, part) in info.parts().filter(|(_, part)| part.has_slots) {
            sums.mins = sums.mins.saturating_add(message.min_tokens);
            if message.shrink != Shrink::None {
                // A message that is dropped needs nothing.
                let least = if message.shrink == Shrink::Drop { 0 } else { message.min_tokens };
                sums.elastic = sums.elastic.saturating_add(least);
            } else if part.has_slots {
                sums.bounded = sums.bounded.saturating_add(message.max_tokens.unwrap_or(0));
            }
        }
        sums
    }

    fn least(&self) -> u64 {
        self.fixed.saturating_add(self.rendering).saturating_add(self.mins)
    }

    fn most(&self) -> u64 {
        self.fixed.saturating_add(self.rendering).saturating_add(self.bounded).saturating_add(self.elastic)
    }

    fn shown(&self, parts: &[(&str, u64)], sum: u64, budget: u64) -> String {
        let all = [("fixed text", self.fixed), ("rendering", self.rendering)];
        let parts = all.iter().chain(parts).filter(|(name, tokens)| *name == "fixed text" || *tokens > 0);
        let parts: Vec<String> = parts.map(|(name, tokens)| format!("{name} {tokens} tok")).collect();
        let equals = if parts.len() > 1 { format!(" = {sum} tok") } else { String::new() };
        format!("{}{equals} > {budget} tok", parts.join(" + "))
    }
}

fn cannot_fit(ctx: &Context<'_>, name: &str, info: &PromptInfo, sums: &Sums, span: Span) -> Diagnostic {
    let budget = info.op.budget_tokens;
    let excess = sums.least() - budget;
    let label = sums.shown(&[("min of slots", sums.mins)], sums.least(), budget);
    let diagnostic =
        Diagnostic::new(Code::E0503, format!("prompt `{name}` cannot fit its budget"), span, label);
    let written = info.parts().filter_map(|(message, part)| Some((message.min_tokens, part.min_span?)));
    let help = match written.filter(|(min, _)| *min >= excess).max_by_key(|(min, _)| *min) {
        Some((_, min_span)) => {
            format!("lower `min` at {} by {excess} tok, or raise the budget", ctx.place(min_span))
        }
        None => format!("raise the budget by {excess} tok, or shorten the fixed text"),
    };
    diagnostic.help(help)
}

/// W0501 for a prompt whose messages are all bounded or elastic, but together may pass the budget.
fn overflow(name: &str, info: &PromptInfo, sums: &Sums) -> Option<Diagnostic> {
    let budget = info.op.budget_tokens;
    if info.fixed_tokens.is_none() || sums.most() <= budget {
        return None;
    }
    let rigid = info.parts().filter(|(message, part)| part.has_slots && message.shrink == Shrink::None);
    let (_, largest) = rigid.max_by_key(|(message, _)| message.max_tokens)?;
    let label =
        sums.shown(&[("max", sums.bounded), ("min of the others", sums.elastic)], sums.most(), budget);
    let text = format!("message may overflow the budget of prompt `{name}`");
    Some(
        Diagnostic::new(Code::W0501, text, largest.role_span, label)
            .help("add `shrink = keep_head`, or lower its `max`"),
    )
}
