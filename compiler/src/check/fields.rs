//! Fields of blocks and arguments of calls against a table of what is accepted.

use std::collections::BTreeMap;

use super::context::Context;
use super::expressions::constant;
use crate::catalog::{Accepts, Fallback, FieldSpec};
use crate::diagnostic::{Code, Diagnostic};
use crate::op::Value;
use crate::resolve::suggest::{nearest, suggest};
use crate::resolve::{DeclKind, DeclarationId};
use crate::source::Span;
use crate::syntax::ast;
use crate::types::Type;

/// One written field.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    /// Where its name stands; for a positional argument, the value.
    pub(crate) name_span: Span,
    /// Where its value stands.
    pub(crate) span: Span,
    /// The value as written.
    pub(crate) expr: Option<&'a ast::Expr>,
    /// The block as written.
    pub(crate) block: Option<&'a ast::Block>,
    /// The constant, unless the owner reads it or an error stands in the way.
    pub(crate) value: Option<Value>,
    /// The named declarations.
    pub(crate) declared: Vec<DeclarationId>,
    /// The checked fields of [`Accepts::Block`].
    pub(crate) fields: Option<Fields<'a>>,
}

/// Checked fields by name, with the defaults of their table.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    /// The table.
    pub(crate) specs: &'static [FieldSpec],
    /// What is written.
    pub(crate) entries: BTreeMap<&'static str, Entry<'a>>,
    /// Names that the table does not have.
    unknown: Vec<String>,
    /// Whether a field is missing, unknown or of another type.
    pub(crate) has_errors: bool,
}

impl<'a> Fields<'a> {
    /// No field written.
    pub(crate) fn empty(specs: &'static [FieldSpec]) -> Self {
        Self { specs, entries: BTreeMap::new(), unknown: Vec::new(), has_errors: false }
    }

    /// A written field.
    pub(crate) fn get(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries.get(name)
    }

    /// Whether a field is written.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The value as written.
    pub(crate) fn expr(&self, name: &str) -> Option<&'a ast::Expr> {
        self.get(name)?.expr
    }

    /// Where the value of a field stands, if it is written.
    pub(crate) fn span(&self, name: &str) -> Option<Span> {
        self.get(name).map(|entry| entry.span)
    }

    /// The declaration that a field names.
    pub(crate) fn declared(&self, name: &str) -> Option<DeclarationId> {
        self.get(name)?.declared.first().copied()
    }

    /// The declarations that a field names.
    pub(crate) fn declared_list(&self, name: &str) -> &[DeclarationId] {
        self.get(name).map_or(&[], |entry| &entry.declared)
    }

    /// The value of a field: as written, else its default.
    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        if let Some(entry) = self.get(name) {
            return entry.value.clone();
        }
        match self.specs.iter().find(|spec| spec.name == name)?.fallback {
            Fallback::None | Fallback::Required => None,
            Fallback::Bool(value) => Some(Value::Bool(value)),
            Fallback::Int(value) => Some(Value::Int(value)),
            Fallback::Float(value) => Some(Value::Float(value)),
            Fallback::Text(value) => Some(Value::Text(value.to_owned())),
            Fallback::OneText(value) => Some(Value::List(vec![Value::Text(value.to_owned())])),
            Fallback::Ints(values) => {
                Some(Value::List(values.iter().map(|value| Value::Int(*value)).collect()))
            }
            Fallback::EmptyList => Some(Value::List(Vec::new())),
        }
    }

    /// A truth value; `None` without value and default, or after an error.
    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        if let Value::Bool(value) = self.value(name)? { Some(value) } else { None }
    }

    /// A whole number that is not negative: counts, tokens, sizes, seeds.
    pub(crate) fn u64(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Int(value) => u64::try_from(value).ok(),
            Value::UInt(value) => Some(value),
            _ => None,
        }
    }

    /// As [`Fields::u64`], within 32 bits.
    pub(crate) fn u32(&self, name: &str) -> Option<u32> {
        u32::try_from(self.u64(name)?).ok()
    }

    /// A float, ratio or share.
    pub(crate) fn f64(&self, name: &str) -> Option<f64> {
        match self.value(name)? {
            Value::Float(value) => Some(value),
            Value::Int(value) => Some(value as f64),
            _ => None,
        }
    }

    /// A text or choice.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        if let Value::Text(value) = self.value(name)? { Some(value) } else { None }
    }

    /// A list of texts or choices; empty without value and default.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let Some(Value::List(values)) = self.value(name) else { return Vec::new() };
        values
            .into_iter()
            .filter_map(|value| if let Value::Text(text) = value { Some(text) } else { None })
            .collect()
    }

    /// A list of integers; empty without value and default.
    pub(crate) fn ints(&self, name: &str) -> Vec<i64> {
        let Some(Value::List(values)) = self.value(name) else { return Vec::new() };
        values
            .into_iter()
            .filter_map(|value| if let Value::Int(int) = value { Some(int) } else { None })
            .collect()
    }
}

/// Reports fields that belong to other kinds of the declaration; false if there are any.
pub(super) fn check_fields_of_kind(
    ctx: &mut Context<'_>,
    owner: &str,
    kind: &str,
    fields: &Fields<'_>,
    allowed: &[&'static str],
) -> bool {
    let others = fields.entries.iter().filter(|(name, _)| **name != "kind" && !allowed.contains(name));
    let mut is_right = true;
    for (name, entry) in others {
        let message = format!("unknown field `{name}` of {owner} of kind `{kind}`");
        let diagnostic = Diagnostic::new(Code::E0206, message, entry.name_span, "not for this kind")
            .note(format!("fields of `{kind}`: {}", allowed.join(", ")));
        ctx.report(suggest(diagnostic, name, entry.name_span, allowed.iter().copied()));
        is_right = false;
    }
    is_right
}

/// Checks the fields of a block. `owner` is how messages call it: "embedder `e`". Reports E0202 for a field written twice,
/// E0206 for an unknown one, E0207 for a missing one, and what is wrong with the values.
pub(crate) fn check_block<'a>(
    ctx: &mut Context<'_>,
    owner: &str,
    block: &'a ast::Block,
    specs: &'static [FieldSpec],
) -> Fields<'a> {
    let mut fields = Fields::empty(specs);
    for field in &block.fields {
        let Some(spec) = find_spec(ctx, &mut fields, owner, "field", &field.name) else { continue };
        let mut entry = Entry {
            name_span: field.name.span,
            span: field.span,
            expr: None,
            block: None,
            value: None,
            declared: Vec::new(),
            fields: None,
        };
        match (&field.value, spec.accepts) {
            (ast::FieldValue::Bad, _) => fields.has_errors = true,
            (ast::FieldValue::Block(block), Accepts::Block(specs)) => {
                let inner = check_block(ctx, &format!("`{}` of {owner}", spec.name), block, specs);
                fields.has_errors |= inner.has_errors;
                entry.block = Some(block);
                entry.fields = Some(inner);
            }
            (ast::FieldValue::Block(block), Accepts::OpenBlock) => entry.block = Some(block),
            (ast::FieldValue::Block(block), _) => {
                let message = format!("field `{}` of {owner} is not a block", spec.name);
                let diagnostic = Diagnostic::new(Code::E0303, message, block.span, "block, expected a value");
                ctx.report(diagnostic.help(format!("write `{} = ...`", spec.name)));
                fields.has_errors = true;
            }
            (ast::FieldValue::Expr(expr), Accepts::Block(_) | Accepts::OpenBlock) => {
                let message = format!("field `{}` of {owner} is a block", spec.name);
                let diagnostic = Diagnostic::new(Code::E0303, message, expr.span, "value, expected a block");
                ctx.report(diagnostic.help(format!("write `{} {{ ... }}`", spec.name)));
                fields.has_errors = true;
            }
            (ast::FieldValue::Expr(expr), _) => {
                fill(ctx, owner, spec, expr, &mut entry, &mut fields.has_errors)
            }
        }
        fields.entries.insert(spec.name, entry);
    }
    let end = Span { start: block.span.end.saturating_sub(1), ..block.span };
    check_missing(ctx, &mut fields, owner, "field", end);
    fields
}

/// Checks the arguments of a call. The first `positional` entries of the table may be written without a name, in that order.
/// `owner` is how messages call it: "operator `chunk`".
pub(crate) fn check_arguments<'a>(
    ctx: &mut Context<'_>,
    owner: &str,
    callee: Span,
    args: &'a [ast::Argument],
    specs: &'static [FieldSpec],
    positional: usize,
) -> Fields<'a> {
    let mut fields = Fields::empty(specs);
    let mut position = 0;
    for argument in args {
        if is_condition(owner, argument, specs) {
            report_assignment(ctx, argument);
            fields.has_errors = true;
            fields.unknown.extend(specs.first().map(|spec| spec.name.to_owned()));
            continue;
        }
        let spec = match &argument.name {
            Some(name) => match find_spec(ctx, &mut fields, owner, "parameter", name) {
                Some(spec) => spec,
                None => continue,
            },
            None if position < positional => {
                position += 1;
                &specs[position - 1]
            }
            None => {
                report_surplus(ctx, owner, argument, specs, positional);
                fields.has_errors = true;
                continue;
            }
        };
        let mut entry = Entry {
            name_span: argument.name.as_ref().map_or(argument.value.span, |name| name.span),
            span: argument.value.span,
            expr: None,
            block: None,
            value: None,
            declared: Vec::new(),
            fields: None,
        };
        fill(ctx, owner, spec, &argument.value, &mut entry, &mut fields.has_errors);
        fields.entries.insert(spec.name, entry);
    }
    check_missing(ctx, &mut fields, owner, "parameter", callee);
    fields
}

/// Whether `filter(a = b)` is written for `filter(a == b)`.
fn is_condition(owner: &str, argument: &ast::Argument, specs: &[FieldSpec]) -> bool {
    let name = argument.name.as_ref().map(|name| name.name.as_str());
    owner == "operator `filter`"
        && name.is_some_and(|name| {
            specs.iter().all(|spec| spec.name != name && nearest(name, [spec.name]).is_empty())
        })
}

fn report_assignment(ctx: &mut Context<'_>, argument: &ast::Argument) {
    let Some(name) = &argument.name else { return };
    let written = format!("{} == {}", name.name, ctx.sources().snippet(argument.value.span));
    let message = format!("`{} = ...` names a parameter, expected a condition", name.name);
    let diagnostic = Diagnostic::new(Code::E0206, message, argument.span, "not a comparison");
    ctx.report(diagnostic.help(format!("write `{written}`")).fix(argument.span, written));
}

fn report_surplus(
    ctx: &mut Context<'_>,
    owner: &str,
    argument: &ast::Argument,
    specs: &'static [FieldSpec],
    positional: usize,
) {
    let named: Vec<String> = specs[positional..].iter().map(|spec| format!("`{}`", spec.name)).collect();
    let message = match positional {
        0 => format!("{owner} takes no argument without a name"),
        1 => format!("{owner} takes 1 argument without a name"),
        count => format!("{owner} takes {count} arguments without a name"),
    };
    let mut diagnostic = Diagnostic::new(Code::E0302, message, argument.span, "one too many");
    if !named.is_empty() {
        diagnostic = diagnostic.note(format!("named parameters: {}", named.join(", ")));
    }
    ctx.report(diagnostic);
}

fn find_spec(
    ctx: &mut Context<'_>,
    fields: &mut Fields<'_>,
    owner: &str,
    noun: &str,
    name: &ast::Ident,
) -> Option<&'static FieldSpec> {
    let Some(spec) = fields.specs.iter().find(|spec| spec.name == name.name) else {
        let message = format!("unknown {noun} `{}` of {owner}", name.name);
        let names: Vec<&str> = fields.specs.iter().map(|spec| spec.name).collect();
        let mut diagnostic = Diagnostic::new(Code::E0206, message, name.span, format!("no such {noun}"));
        if !names.is_empty() {
            diagnostic = diagnostic.note(format!("{noun}s: {}", names.join(", ")));
        }
        ctx.report(suggest(diagnostic, &name.name, name.span, names));
        fields.unknown.push(name.name.clone());
        fields.has_errors = true;
        return None;
    };
    if let Some(first) = fields.entries.get(spec.name) {
        let message = format!("{noun} `{}` of {owner} is given twice", name.name);
        let diagnostic = Diagnostic::new(Code::E0202, message, name.span, "given again here");
        ctx.report(diagnostic.label(first.name_span, "first given here"));
        fields.has_errors = true;
        return None;
    }
    Some(spec)
}

fn check_missing(ctx: &mut Context<'_>, fields: &mut Fields<'_>, owner: &str, noun: &str, span: Span) {
    for spec in fields.specs {
        if !matches!(spec.fallback, Fallback::Required) || fields.has(spec.name) {
            continue;
        }
        fields.has_errors = true;
        // A missing seed is E0404 of the owner; a name that is only misspelt has been reported.
        let is_misspelt =
            fields.unknown.iter().any(|wrong| wrong == spec.name || !nearest(wrong, [spec.name]).is_empty());
        if matches!(spec.accepts, Accepts::Seed) || is_misspelt {
            continue;
        }
        let message = format!("missing {noun} `{}` of {owner}", spec.name);
        let diagnostic = Diagnostic::new(Code::E0207, message, span, format!("`{}` is required", spec.name));
        ctx.report(diagnostic.help(format!("add `{} = ...`: {}", spec.name, spec.doc)));
    }
}

/// Reads a value by what its field accepts.
fn fill<'a>(
    ctx: &mut Context<'_>,
    owner: &str,
    spec: &'static FieldSpec,
    expr: &'a ast::Expr,
    entry: &mut Entry<'a>,
    has_errors: &mut bool,
) {
    entry.expr = Some(expr);
    entry.span = expr.span;
    let owner = format!("`{}` of {owner}", spec.name);
    match spec.accepts {
        Accepts::Raw | Accepts::Block(_) | Accepts::OpenBlock => return,
        Accepts::Declared(kinds) => {
            entry.declared.extend(read_declared(ctx, &owner, expr, kinds));
            *has_errors |= entry.declared.is_empty();
            return;
        }
        Accepts::DeclaredList(kinds) => {
            let elements = if let ast::ExprKind::List(elements) = &expr.kind {
                elements.as_slice()
            } else {
                std::slice::from_ref(expr)
            };
            for element in elements {
                match read_declared(ctx, &owner, element, kinds) {
                    Some(id) => entry.declared.push(id),
                    None => *has_errors = true,
                }
            }
            return;
        }
        Accepts::Choice(choices) => entry.value = read_choice(ctx, &owner, expr, choices).map(Value::Text),
        Accepts::Choices(choices) => entry.value = read_choices(ctx, &owner, expr, choices),
        Accepts::Bool => entry.value = constant(ctx, expr, &Type::Bool),
        Accepts::Seed => entry.value = constant(ctx, expr, &Type::U64),
        Accepts::Text => entry.value = constant(ctx, expr, &Type::Text),
        Accepts::Texts => entry.value = constant(ctx, expr, &Type::List(Box::new(Type::Text))),
        Accepts::Tok => entry.value = constant(ctx, expr, &Type::Tok(None)),
        Accepts::Share => entry.value = constant(ctx, expr, &Type::Share),
        Accepts::Duration => entry.value = constant(ctx, expr, &Type::Duration),
        Accepts::Size => entry.value = constant(ctx, expr, &Type::Size),
        Accepts::Ratio => {
            let is_range = matches!(&expr.kind, ast::ExprKind::Binary { op: ast::BinaryOp::Range, .. });
            let ty = if is_range { Type::Range(Box::new(Type::Ratio)) } else { Type::Ratio };
            entry.value = constant(ctx, expr, &ty);
        }
        Accepts::Int(min, max) => {
            let ty = if max > i64::from(u32::MAX) || min < 0 { Type::I64 } else { Type::U32 };
            entry.value =
                constant(ctx, expr, &ty).filter(|value| in_range(ctx, &owner, expr, value, min, max));
        }
        Accepts::Float(min, max) => {
            let read = constant(ctx, expr, &Type::F64);
            entry.value = read.filter(|value| match value {
                Value::Float(number) if *number >= min && *number <= max => true,
                _ => report_range(ctx, &owner, expr, &min.to_string(), &max.to_string()),
            });
        }
        Accepts::Ints(min, max) => {
            let read = constant(ctx, expr, &Type::List(Box::new(Type::I64)));
            entry.value = read.filter(|value| {
                let Value::List(values) = value else { return false };
                values.iter().all(|value| in_range(ctx, &owner, expr, value, min, max))
            });
        }
    }
    *has_errors |= entry.value.is_none();
}

fn in_range(ctx: &mut Context<'_>, owner: &str, expr: &ast::Expr, value: &Value, min: i64, max: i64) -> bool {
    match value {
        Value::Int(number) if *number >= min && *number <= max => true,
        _ => report_range(ctx, owner, expr, &min.to_string(), &max.to_string()),
    }
}

fn report_range(ctx: &mut Context<'_>, owner: &str, expr: &ast::Expr, min: &str, max: &str) -> bool {
    let message = format!("value of {owner} is outside {min}..{max}");
    ctx.report(Diagnostic::new(Code::E0502, message, expr.span, format!("expected {min} to {max}")));
    false
}

fn read_declared(
    ctx: &mut Context<'_>,
    owner: &str,
    expr: &ast::Expr,
    kinds: &[DeclKind],
) -> Option<DeclarationId> {
    match &expr.kind {
        ast::ExprKind::Path(path) => ctx.expect(path, kinds).map(|declaration| declaration.id),
        ast::ExprKind::Bad => None,
        _ => {
            let expected = kinds.iter().map(|kind| kind.with_article()).collect::<Vec<_>>().join(" or ");
            let message = format!("{owner} is not the name of {expected}");
            ctx.report(Diagnostic::new(Code::E0303, message, expr.span, format!("expected {expected}")));
            None
        }
    }
}

/// One identifier of a closed set: columns and declarations are not considered. E0205 with the set.
pub(crate) fn read_choice(
    ctx: &mut Context<'_>,
    owner: &str,
    expr: &ast::Expr,
    choices: &[&'static str],
) -> Option<String> {
    let written = match &expr.kind {
        ast::ExprKind::Path(path) if path.segments.len() == 1 => path.segments[0].name.clone(),
        ast::ExprKind::Literal(ast::Literal::Text(text)) => text.value.clone(),
        ast::ExprKind::Bad => return None,
        _ => ctx.sources().snippet(expr.span).to_owned(),
    };
    if choices.contains(&written.as_str()) {
        return Some(written);
    }
    let message = format!("`{written}` is not a choice of {owner}");
    let diagnostic = Diagnostic::new(Code::E0205, message, expr.span, "not a choice")
        .note(format!("choices: {}", choices.join(", ")));
    ctx.report(suggest(diagnostic, &written, expr.span, choices.iter().copied()));
    None
}

fn read_choices(
    ctx: &mut Context<'_>,
    owner: &str,
    expr: &ast::Expr,
    choices: &[&'static str],
) -> Option<Value> {
    let ast::ExprKind::List(elements) = &expr.kind else {
        if !matches!(expr.kind, ast::ExprKind::Bad) {
            let message = format!("{owner} is not a list");
            let diagnostic = Diagnostic::new(Code::E0303, message, expr.span, "expected a list");
            ctx.report(diagnostic.note(format!("choices: {}", choices.join(", "))));
        }
        return None;
    };
    let read: Vec<Option<Value>> =
        elements.iter().map(|element| read_choice(ctx, owner, element, choices).map(Value::Text)).collect();
    read.into_iter().collect::<Option<Vec<Value>>>().map(Value::List)
}
