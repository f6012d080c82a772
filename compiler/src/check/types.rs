//! Types: what a type expression means, and which values are accepted where.

use super::context::Context;
use crate::diagnostic::{Code, Diagnostic};
use crate::resolve::suggest::suggest;
use crate::resolve::{DeclKind, DeclarationId};
use crate::source::Span;
use crate::syntax::ast::{self, TypeKind};
use crate::types::{Column, Element, Type};

/// Aliases that may be resolved inside each other. Aliases are resolved after those that they name, so only a cycle comes near.
const ALIAS_DEPTH: usize = 128;

/// Most parts of one type, aliases counted with what they stand for: aliases of aliases grow exponentially.
const MAX_TYPE_PARTS: usize = 10_000;

/// The count of a type that holds an alias of too many parts, which has been reported.
const REPORTED: usize = usize::MAX;

/// Names of the types without parts.
const SIMPLE: &[(&str, Type)] = &[
    ("bool", Type::Bool),
    ("i8", Type::Int { signed: true, bits: 8 }),
    ("i16", Type::Int { signed: true, bits: 16 }),
    ("i32", Type::Int { signed: true, bits: 32 }),
    ("i64", Type::I64),
    ("u8", Type::Int { signed: false, bits: 8 }),
    ("u16", Type::Int { signed: false, bits: 16 }),
    ("u32", Type::U32),
    ("u64", Type::U64),
    ("f16", Type::Float { bits: 16 }),
    ("f32", Type::Float { bits: 32 }),
    ("f64", Type::F64),
    ("text", Type::Text),
    ("bytes", Type::Bytes),
    ("date", Type::Date),
    ("timestamp", Type::Timestamp),
    ("tok", Type::Tok(None)),
    ("ratio", Type::Ratio),
    ("share", Type::Share),
    ("duration", Type::Duration),
    ("size", Type::Size),
    ("span", Type::Span),
    ("message", Type::Message),
];

/// The type that a type expression means; reports and gives `Unknown` for what is not declared.
pub(crate) fn check_type(ctx: &mut Context<'_>, ty: &ast::Type) -> Type {
    counted(ctx, ty.span, |ctx| resolve(ctx, ty)).0.unwrap_or(Type::Unknown)
}

/// Runs `body` with a count of its own; E0501 and nothing if what it resolves has too many parts.
fn counted<T>(
    ctx: &mut Context<'_>,
    span: Span,
    body: impl FnOnce(&mut Context<'_>) -> T,
) -> (Option<T>, usize) {
    let outer = std::mem::take(&mut ctx.type_parts);
    let resolved = body(ctx);
    let parts = std::mem::replace(&mut ctx.type_parts, outer);
    if parts <= MAX_TYPE_PARTS {
        return (Some(resolved), parts);
    }
    if parts != REPORTED {
        let message = format!("type has more than {MAX_TYPE_PARTS} parts");
        let diagnostic = Diagnostic::new(Code::E0501, message, span, "too large");
        ctx.report(diagnostic.note("a name of a type counts as all that it stands for"));
    }
    (None, REPORTED)
}

fn resolve(ctx: &mut Context<'_>, ty: &ast::Type) -> Type {
    ctx.type_parts = ctx.type_parts.saturating_add(1);
    let inner = match &ty.kind {
        TypeKind::Stream(row) => match resolve(ctx, row) {
            Type::Record(columns) => Type::Stream(columns),
            Type::Unknown => Type::Unknown,
            other => {
                let message = format!("type mismatch: found {other}, expected a record");
                ctx.report(Diagnostic::new(Code::E0303, message, row.span, "a stream has rows of records"));
                Type::Unknown
            }
        },
        TypeKind::List(element) => Type::List(Box::new(resolve(ctx, element))),
        TypeKind::Map(key, value) => {
            let key_ty = resolve(ctx, key);
            if !matches!(key_ty, Type::Text | Type::Int { .. } | Type::Unknown) {
                let message = format!("type mismatch: found {key_ty}, expected text or an integer");
                ctx.report(Diagnostic::new(Code::E0303, message, key.span, "key of a map"));
            }
            Type::Map(Box::new(key_ty), Box::new(resolve(ctx, value)))
        }
        TypeKind::Vector { dim, dim_span, element, space } => {
            check_vector(ctx, *dim, *dim_span, element.as_ref(), space.as_ref())
        }
        TypeKind::Tokens(path) => match ctx.expect(path, &[DeclKind::Tokenizer]) {
            Some(declaration) => super::tokenizers::tokenizer(ctx, declaration.id)
                .map_or(Type::Unknown, |tokenizer| Type::Tokens(tokenizer.nominal)),
            None => Type::Unknown,
        },
        TypeKind::Enum(values) => Type::Enum(values.iter().map(|value| value.value.clone()).collect()),
        TypeKind::Record(fields) => Type::Record(resolve_record(ctx, fields)),
        TypeKind::Named(path) => check_named(ctx, path),
    };
    if ty.optional { inner.optional() } else { inner }
}

/// Columns of a record type; a name that stands twice is E0202.
pub(crate) fn check_record(ctx: &mut Context<'_>, fields: &[ast::Formal]) -> Vec<Column> {
    let Some(first) = fields.first() else { return Vec::new() };
    counted(ctx, first.name.span, |ctx| resolve_record(ctx, fields)).0.unwrap_or_default()
}

fn resolve_record(ctx: &mut Context<'_>, fields: &[ast::Formal]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::with_capacity(fields.len());
    for field in fields {
        let ty = resolve(ctx, &field.ty);
        if columns.iter().any(|column| column.name == field.name.name) {
            let message = format!("column `{}` is defined twice", field.name.name);
            ctx.report(Diagnostic::new(Code::E0202, message, field.name.span, "defined again here"));
            continue;
        }
        columns.push(Column { name: field.name.name.clone(), ty });
    }
    columns
}

fn check_vector(
    ctx: &mut Context<'_>,
    dim: u64,
    dim_span: Span,
    element: Option<&ast::Ident>,
    space: Option<&ast::Path>,
) -> Type {
    let dim = u32::try_from(dim).ok().filter(|dim| (1..=65_536).contains(dim)).unwrap_or_else(|| {
        let message = "length of a vector is outside 1..65536";
        ctx.report(Diagnostic::new(Code::E0502, message, dim_span, "expected 1 to 65536"));
        1
    });
    let element = match element.map(|element| element.name.as_str()) {
        None | Some("f32") => Element::F32,
        Some("f16") => Element::F16,
        Some("i8") => Element::I8,
        Some("bit") => Element::Bit,
        Some(other) => {
            let span = element.map_or(dim_span, |element| element.span);
            let message = format!("`{other}` is not a choice of the element of a vector");
            let diagnostic = Diagnostic::new(Code::E0205, message, span, "not a choice");
            ctx.report(diagnostic.note("choices: f32, f16, i8, bit"));
            return Type::Unknown;
        }
    };
    let Some(path) = space else { return Type::Vector { dim, element, space: None } };
    let Some(declaration) = ctx.expect(path, &[DeclKind::Embedder]) else { return Type::Unknown };
    match super::embedders::embedder(ctx, declaration.id) {
        Some(embedder) => Type::Vector { dim, element, space: Some(embedder.op.space) },
        None => Type::Unknown,
    }
}

fn check_named(ctx: &mut Context<'_>, path: &ast::Path) -> Type {
    if let [only] = path.segments.as_slice()
        && let Some((_, ty)) = SIMPLE.iter().find(|(name, _)| *name == only.name)
    {
        return ty.clone();
    }
    if ctx.lookup(path).is_none() {
        let wrong = path.text();
        let mut names = ctx.visible(&[DeclKind::Type]);
        names.extend(SIMPLE.iter().map(|(name, _)| (*name).to_owned()));
        if !ctx.is_of_lost_import(path) {
            let diagnostic =
                Diagnostic::new(Code::E0201, format!("unknown type `{wrong}`"), path.span, "not declared");
            ctx.report(suggest(diagnostic, &wrong, path.span, names.iter().map(String::as_str)));
        }
        return Type::Unknown;
    }
    let Some(declaration) = ctx.expect(path, &[DeclKind::Type]) else { return Type::Unknown };
    if !resolve_alias(ctx, declaration.id, path.span) {
        return Type::Unknown;
    }
    let Some((ty, parts)) = ctx.types.get(&declaration.id) else { return Type::Unknown };
    ctx.type_parts = ctx.type_parts.saturating_add(*parts);
    // What is too large is counted on, but not built.
    if ctx.type_parts > MAX_TYPE_PARTS { Type::Unknown } else { ty.clone() }
}

/// The type of an alias; E0403 if it holds itself, E0501 if it has too many parts.
pub(crate) fn alias(ctx: &mut Context<'_>, id: DeclarationId, span: Span) -> Type {
    resolve_alias(ctx, id, span);
    ctx.types.get(&id).map_or(Type::Unknown, |(ty, _)| ty.clone())
}

/// Resolves an alias, once; false if it is being resolved already.
fn resolve_alias(ctx: &mut Context<'_>, id: DeclarationId, span: Span) -> bool {
    if ctx.types.contains_key(&id) {
        return true;
    }
    let declaration = ctx.get(id);
    if ctx.open_types.contains(&id) || ctx.open_types.len() >= ALIAS_DEPTH {
        let message = format!("type `{}` is recursive", declaration.local);
        let diagnostic =
            Diagnostic::new(Code::E0403, message, span, format!("`{}` holds itself", declaration.local));
        ctx.report(diagnostic.label(declaration.span, "declared here"));
        return false;
    }
    let ast::ItemKind::Type { ty, .. } = &ctx.item(id).kind else { return false };
    ctx.open_types.push(id);
    let (resolved, parts) = ctx.within(id, |ctx| counted(ctx, declaration.span, |ctx| resolve(ctx, ty)));
    ctx.open_types.pop();
    ctx.types.insert(id, (resolved.unwrap_or(Type::Unknown), parts));
    true
}

/// How a value of one type gets into a place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// As it is.
    Same,
    /// By a widening conversion.
    Widen,
    /// Not at all, for the reason of this code.
    No(Code),
}

/// Whether a value of type `found` is accepted where `expected` is asked for (the implicit conversions of the language).
pub(crate) fn fit(found: &Type, expected: &Type) -> Fit {
    match (found, expected) {
        (Type::Unknown, _) | (_, Type::Unknown) => Fit::Same,
        (Type::Null, Type::Optional(_)) => Fit::Same,
        (Type::Optional(found), Type::Optional(expected)) => fit(found, expected),
        (_, Type::Optional(expected)) => fit(found, expected),
        (Type::Null, _) => Fit::No(Code::E0307),
        (Type::Optional(inner), _) => match fit(inner, expected) {
            Fit::No(code) => Fit::No(code),
            _ => Fit::No(Code::E0307),
        },
        (Type::Int { signed: from, bits: from_bits }, Type::Int { signed: to, bits: to_bits }) => {
            if from == to && from_bits == to_bits {
                Fit::Same
            } else if (from == to && from_bits < to_bits) || (!from && *to && from_bits < to_bits) {
                Fit::Widen
            } else {
                Fit::No(Code::E0303)
            }
        }
        (Type::Float { bits: from }, Type::Float { bits: to }) => match from.cmp(to) {
            std::cmp::Ordering::Equal => Fit::Same,
            std::cmp::Ordering::Less => Fit::Widen,
            std::cmp::Ordering::Greater => Fit::No(Code::E0303),
        },
        (Type::Enum(_), Type::Text) => Fit::Widen,
        (Type::Enum(found), Type::Enum(expected)) => {
            let is_same = found.len() == expected.len() && found.iter().all(|value| expected.contains(value));
            if is_same { Fit::Same } else { Fit::No(Code::E0303) }
        }
        (Type::List(found), Type::List(expected)) | (Type::Range(found), Type::Range(expected)) => {
            fit(found, expected)
        }
        (Type::Map(key, value), Type::Map(expected_key, expected_value)) => {
            worst(fit(key, expected_key), fit(value, expected_value))
        }
        (Type::Record(found), Type::Record(expected)) => fit_records(found, expected),
        (Type::Tok(Some(found)), Type::Tok(Some(expected))) if found != expected => Fit::No(Code::E0305),
        (Type::Tok(_), Type::Tok(_)) => Fit::Same,
        (Type::Tokens(found), Type::Tokens(expected)) if found != expected => Fit::No(Code::E0305),
        (Type::Vector { .. }, Type::Vector { .. }) if found != expected => Fit::No(Code::E0301),
        _ if found == expected => Fit::Same,
        _ if (is_unit(found) || is_unit(expected)) && is_measured(found) && is_measured(expected) => {
            Fit::No(Code::E0304)
        }
        _ => Fit::No(Code::E0303),
    }
}

fn fit_records(found: &[Column], expected: &[Column]) -> Fit {
    if found.len() != expected.len() {
        return Fit::No(Code::E0303);
    }
    found
        .iter()
        .zip(expected)
        .map(
            |(found, expected)| {
                if found.name == expected.name { fit(&found.ty, &expected.ty) } else { Fit::No(Code::E0303) }
            },
        )
        .fold(Fit::Same, worst)
}

fn worst(left: Fit, right: Fit) -> Fit {
    match (left, right) {
        (Fit::No(code), _) | (_, Fit::No(code)) => Fit::No(code),
        (Fit::Widen, _) | (_, Fit::Widen) => Fit::Widen,
        _ => Fit::Same,
    }
}

/// Whether values carry a unit.
pub(crate) fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tok(_) | Type::Ratio | Type::Share | Type::Duration | Type::Size)
}

/// Plain numbers, without a unit.
pub(crate) fn is_number(ty: &Type) -> bool {
    matches!(ty, Type::Int { .. } | Type::Float { .. })
}

/// Numbers with or without a unit.
pub(crate) fn is_measured(ty: &Type) -> bool {
    is_unit(ty) || is_number(ty)
}

/// The smaller type that holds values of both, if one of them does.
pub(crate) fn unify(left: &Type, right: &Type) -> Option<Type> {
    match (left, right) {
        (Type::Null, other) | (other, Type::Null) => return Some(other.clone().optional()),
        _ => {}
    }
    let is_optional = left.is_optional() || right.is_optional();
    let (left, right) = (left.required(), right.required());
    let joined = match (fit(left, right), fit(right, left)) {
        // `tok` without a tokenizer and `unknown` fit both ways; the side that knows more stands.
        (Fit::Same | Fit::Widen, _) if !matches!(right, Type::Tok(None) | Type::Unknown) => right,
        (_, Fit::Same | Fit::Widen) => left,
        _ => return None,
    };
    Some(if is_optional { joined.clone().optional() } else { joined.clone() })
}

/// Reports that a value of type `found` stands where `expected` is asked for.
pub(crate) fn report_mismatch(ctx: &mut Context<'_>, code: Code, found: &Type, expected: &Type, span: Span) {
    let label = format!("{found}, expected {expected}");
    let message = match code {
        Code::E0301 => "vectors of different spaces".to_owned(),
        Code::E0304 => "units do not match".to_owned(),
        Code::E0305 => "tokens of different tokenizers".to_owned(),
        Code::E0307 => "nullable value where non-null is expected".to_owned(),
        _ => format!("type mismatch: found {found}, expected {expected}"),
    };
    let mut diagnostic = Diagnostic::new(code, message, span, label);
    if let Some((found, expected)) = tokenizers(found, expected).filter(|_| code == Code::E0305) {
        diagnostic.primary.text = format!("tokens of `{found}`, expected tokens of `{expected}`");
    }
    let written = ctx.sources().snippet(span);
    let is_whole = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    match (code, found.required(), expected.required()) {
        (Code::E0304, Type::Int { .. }, Type::Tok(_)) if is_whole => {
            let with_unit = format!("{written}tok");
            diagnostic = diagnostic.help(format!("write `{with_unit}`")).fix(span, with_unit);
        }
        (Code::E0307, Type::Null, _) => {}
        (Code::E0307, ..) => {
            diagnostic = diagnostic
                .help("give a value for null with `coalesce(x, ...)`, or `filter(x != null)` before");
        }
        _ => {}
    }
    ctx.report(diagnostic);
}

/// The names of two tokenizers.
fn tokenizers<'t>(found: &'t Type, expected: &'t Type) -> Option<(&'t str, &'t str)> {
    let name = |ty: &'t Type| match ty.required() {
        Type::Tok(Some(tokenizer)) | Type::Tokens(tokenizer) => Some(tokenizer.name.as_str()),
        _ => None,
    };
    Some((name(found)?, name(expected)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_widen_only_into_types_that_contain_them() {
        let int = |signed, bits| Type::Int { signed, bits };
        assert_eq!(fit(&int(false, 32), &Type::I64), Fit::Widen);
        assert_eq!(fit(&int(false, 32), &int(true, 32)), Fit::No(Code::E0303));
        assert_eq!(fit(&int(true, 8), &Type::U64), Fit::No(Code::E0303));
        assert_eq!(fit(&Type::F64, &Type::Float { bits: 32 }), Fit::No(Code::E0303));
    }

    #[test]
    fn units_and_nullability_have_their_own_codes() {
        assert_eq!(fit(&Type::Ratio, &Type::Tok(None)), Fit::No(Code::E0304));
        assert_eq!(fit(&Type::Text, &Type::Tok(None)), Fit::No(Code::E0303));
        assert_eq!(fit(&Type::Text.optional(), &Type::Text), Fit::No(Code::E0307));
        assert_eq!(fit(&Type::Text, &Type::Text.optional()), Fit::Same);
        assert_eq!(fit(&Type::Unknown, &Type::Bool), Fit::Same);
    }
}
