//! Parts of a program on one line, without comments.

use super::super::ast::{
    Argument, BinaryOp, Block, Call, Expr, ExprKind, Field, FieldValue, Formal, Literal, Text, Type,
    TypeKind, UnaryOp,
};
use super::super::literals::unit_text;
use super::align::INNER_BREAK;

/// How an operator is written.
pub(super) fn operator(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Or => "or",
        BinaryOp::And => "and",
        BinaryOp::Eq => "==",
        BinaryOp::NotEq => "!=",
        BinaryOp::Less => "<",
        BinaryOp::LessEq => "<=",
        BinaryOp::Greater => ">",
        BinaryOp::GreaterEq => ">=",
        BinaryOp::In => "in",
        BinaryOp::Range => "..",
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
    }
}

/// Writes parts of one program; strings are copied from its text.
#[derive(Clone, Copy)]
pub(super) struct Flat<'a> {
    pub(super) text: &'a str,
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

impl Flat<'_> {
    /// A string or raw string as written, with its line breaks protected.
    pub(super) fn string(self, text: &Text) -> String {
        self.text[text.span.range()].replace("\r\n", "\n").replace('\n', INNER_BREAK.encode_utf8(&mut [0; 4]))
    }

    pub(super) fn expr(self, expr: &Expr) -> String {
        match &expr.kind {
            ExprKind::Binary { op: BinaryOp::Range, left, right, .. } => {
                // `a. .b` cannot arise: a number before `..` ends in a digit or a unit.
                format!("{}..{}", self.expr(left), self.expr(right))
            }
            ExprKind::Binary { op, left, right, .. } => {
                format!("{} {} {}", self.expr(left), operator(*op), self.expr(right))
            }
            ExprKind::Unary { op: UnaryOp::Not, operand } => format!("not {}", self.expr(operand)),
            ExprKind::Unary { op: UnaryOp::Negate, operand } => format!("-{}", self.expr(operand)),
            ExprKind::Call(call) => self.call(call),
            ExprKind::Literal(literal) => self.literal(literal, expr),
            ExprKind::List(elements) => {
                format!("[{}]", joined(elements.iter().map(|element| self.expr(element))))
            }
            ExprKind::Path(path) => path.text(),
            ExprKind::Paren(inner) => format!("({})", self.expr(inner)),
            ExprKind::Bad => self.text[expr.span.range()].to_owned(),
        }
    }

    /// Numbers keep underscores and units; an exponent loses its `+`.
    fn literal(self, literal: &Literal, expr: &Expr) -> String {
        match literal {
            Literal::Number(number) => {
                let written = &self.text[expr.span.range()];
                let unit = number.unit.map_or("", unit_text);
                let digits = written.strip_suffix(unit).unwrap_or(written);
                format!("{}{unit}", digits.replace("e+", "e"))
            }
            Literal::Text(text) => self.string(text),
            Literal::Bool(value) => value.to_string(),
            Literal::Null => "null".to_owned(),
        }
    }

    pub(super) fn argument(self, argument: &Argument) -> String {
        match &argument.name {
            Some(name) => format!("{} = {}", name.name, self.expr(&argument.value)),
            None => self.expr(&argument.value),
        }
    }

    pub(super) fn arguments(self, args: &[Argument]) -> String {
        joined(args.iter().map(|argument| self.argument(argument)))
    }

    pub(super) fn call(self, call: &Call) -> String {
        format!("{}({})", call.callee.text(), self.arguments(&call.args))
    }

    pub(super) fn formal(self, formal: &Formal) -> String {
        format!("{}: {}", formal.name.name, self.ty(&formal.ty))
    }

    pub(super) fn formals(self, formals: &[Formal]) -> String {
        joined(formals.iter().map(|formal| self.formal(formal)))
    }

    pub(super) fn ty(self, ty: &Type) -> String {
        let base = match &ty.kind {
            TypeKind::Stream(inner) => format!("stream<{}>", self.ty(inner)),
            TypeKind::List(inner) => format!("list<{}>", self.ty(inner)),
            TypeKind::Map(key, value) => format!("map<{}, {}>", self.ty(key), self.ty(value)),
            TypeKind::Vector { dim_span, element, space, .. } => {
                let element = element.as_ref().map_or(String::new(), |element| format!(", {}", element.name));
                let space = space.as_ref().map_or(String::new(), |space| format!(" @ {}", space.text()));
                format!("vector<{}{element}{space}>", &self.text[dim_span.range()])
            }
            TypeKind::Tokens(path) => format!("tokens<{}>", path.text()),
            TypeKind::Enum(values) => {
                format!("enum({})", joined(values.iter().map(|value| self.string(value))))
            }
            TypeKind::Record(formals) if formals.is_empty() => "{ }".to_owned(),
            TypeKind::Record(formals) => format!("{{ {} }}", self.formals(formals)),
            TypeKind::Named(path) => path.text(),
        };
        if ty.optional { base + "?" } else { base }
    }

    pub(super) fn field(self, field: &Field) -> String {
        match &field.value {
            FieldValue::Expr(expr) => format!("{} = {}", field.name.name, self.expr(expr)),
            FieldValue::Block(block) => format!("{} {}", field.name.name, self.block(block)),
            FieldValue::Bad => self.text[field.span.range()].to_owned(),
        }
    }

    pub(super) fn block(self, block: &Block) -> String {
        if block.fields.is_empty() {
            return "{ }".to_owned();
        }
        format!("{{ {} }}", joined(block.fields.iter().map(|field| self.field(field))))
    }
}
