//! Parts of a program that do not fit on one line: lists and arguments that wrap under their first element, long
//! chains of operators. Continuation lines carry their indentation, so that a layout is a plain string.

use super::super::ast::{Argument, BinaryOp, Call, Expr, ExprKind, Formal, Literal, Text, Type, TypeKind};
use super::Printer;
use super::align::{FORM, INNER_BREAK, MARK};
use super::flat::operator;
use crate::source::Span;

/// The width that lines aim at.
pub(super) const WIDTH: usize = 110;
/// Fewest columns that a wrapped element is given; beyond it lines get longer instead of narrower.
const LEAST_ROOM: usize = 30;

/// An element of a list in brackets.
#[derive(Clone, Copy)]
enum Element<'a> {
    Argument(&'a Argument),
    Expr(&'a Expr),
    Formal(&'a Formal),
    Text(&'a Text),
}

/// Whether a text is one line that ends before the width.
pub(super) fn fits(text: &str, column: usize) -> bool {
    !text.contains(['\n', INNER_BREAK]) && column + text.chars().count() <= WIDTH
}

/// The column after a text that begins at a column.
fn end_column(text: &str, column: usize) -> usize {
    match text.rsplit_once(['\n', INNER_BREAK]) {
        Some((_, last)) => last.chars().count(),
        None => column + text.chars().count(),
    }
}

fn new_line(column: usize) -> String {
    format!("\n{}", " ".repeat(column))
}

impl Printer<'_> {
    fn span_of(&self, element: Element<'_>) -> Span {
        match element {
            Element::Argument(argument) => argument.span,
            Element::Expr(expr) => expr.span,
            Element::Formal(formal) => formal.name.span.to(formal.ty.span),
            Element::Text(text) => text.span,
        }
    }

    fn flat_element(&self, element: Element<'_>) -> String {
        match element {
            Element::Argument(argument) => self.flat.argument(argument),
            Element::Expr(expr) => self.flat.expr(expr),
            Element::Formal(formal) => self.flat.formal(formal),
            Element::Text(text) => self.flat.string(text),
        }
    }

    fn element(&self, element: Element<'_>, column: usize) -> String {
        match element {
            Element::Argument(Argument { name: Some(name), value, .. }) => {
                format!("{} = {}", name.name, self.expr(value, column + name.name.len() + 3))
            }
            Element::Argument(argument) => self.expr(&argument.value, column),
            Element::Expr(expr) => self.expr(expr, column),
            Element::Formal(formal) => {
                format!("{}: {}", formal.name.name, self.ty(&formal.ty, column + formal.name.name.len() + 2))
            }
            Element::Text(text) => self.flat.string(text),
        }
    }

    /// An expression that begins at a column.
    pub(super) fn expr(&self, expr: &Expr, column: usize) -> String {
        let flat = self.flat.expr(expr);
        let has_comments = self.has_comments(expr.span);
        if !has_comments && fits(&flat, column) {
            return flat;
        }
        match &expr.kind {
            ExprKind::Call(call) => self.call(call, column),
            ExprKind::List(elements) => self.list(expr, elements, column),
            ExprKind::Paren(inner) => format!("({})", self.expr(inner, column + 1)),
            ExprKind::Unary { operand, .. } => {
                let sign = &flat[..flat.len() - self.flat.expr(operand).len()];
                format!("{sign}{}", self.expr(operand, column + sign.len()))
            }
            ExprKind::Binary { op, .. } if *op != BinaryOp::Range => self.chain(expr, column),
            _ => flat,
        }
    }

    /// Operands of a left-leaning tree, filling lines; an operator stands before its operand.
    fn chain(&self, expr: &Expr, column: usize) -> String {
        let mut pieces = Vec::new();
        let mut rest = expr;
        while let ExprKind::Binary { op, left, right, .. } = &rest.kind {
            if *op == BinaryOp::Range {
                break;
            }
            pieces.push((operator(*op), right.as_ref()));
            rest = left;
        }
        let mut out = self.expr(rest, column);
        let mut at = end_column(&out, column);
        for (sign, operand) in pieces.into_iter().rev() {
            let flat = format!(" {sign} {}", self.flat.expr(operand));
            if !fits(&flat, at) || self.has_comments(operand.span) {
                out.push_str(&new_line(column + 2));
                out.push_str(sign);
                out.push(' ');
                out.push_str(&self.expr(operand, column + 3 + sign.len()));
            } else {
                out.push_str(&flat);
            }
            at = end_column(&out, column);
        }
        out
    }

    /// A list: values fill lines under the first one, calls stand on lines of their own.
    fn list(&self, expr: &Expr, elements: &[Expr], column: usize) -> String {
        let nodes: Vec<Element<'_>> = elements.iter().map(Element::Expr).collect();
        let is_call = |element: &Expr| matches!(element.kind, ExprKind::Call(_));
        if elements.is_empty() || !elements.iter().all(is_call) {
            return format!("[{}]", self.wrap(&nodes, expr.span, column + 1));
        }
        let indent = self.line_indent.get() + 2;
        let body = self.lines(&nodes, expr.span, indent);
        format!("[{}{body}{}]", new_line(indent), new_line(indent - 2))
    }

    /// A call that begins at a column; its arguments wrap under the first one.
    pub(super) fn call(&self, call: &Call, column: usize) -> String {
        let flat = self.flat.call(call);
        if !self.has_comments(call.span) && fits(&flat, column) {
            return flat;
        }
        let callee = call.callee.text();
        let nodes: Vec<Element<'_>> = call.args.iter().map(Element::Argument).collect();
        let inner = column + callee.len() + 1;
        format!("{callee}({})", self.wrap(&nodes, Span { start: call.callee.span.end, ..call.span }, inner))
    }

    /// Arguments of a message.
    pub(super) fn attributes(&self, args: &[Argument], span: Span, column: usize) -> String {
        let flat = self.flat.arguments(args);
        if !self.has_comments(span) && fits(&flat, column) {
            return flat;
        }
        self.wrap(&args.iter().map(Element::Argument).collect::<Vec<_>>(), span, column)
    }

    /// Formals of a prompt.
    pub(super) fn formals(&self, formals: &[Formal], span: Span, column: usize) -> String {
        let flat = self.flat.formals(formals);
        if !self.has_comments(span) && fits(&flat, column) {
            return flat;
        }
        self.wrap(&formals.iter().map(Element::Formal).collect::<Vec<_>>(), span, column)
    }

    /// A type that begins at a column.
    pub(super) fn ty(&self, ty: &Type, column: usize) -> String {
        let flat = self.flat.ty(ty);
        if !self.has_comments(ty.span) && fits(&flat, column) {
            return flat;
        }
        let base = match &ty.kind {
            TypeKind::Stream(inner) => format!("stream<{}>", self.ty(inner, column + 7)),
            TypeKind::List(inner) => format!("list<{}>", self.ty(inner, column + 5)),
            TypeKind::Record(formals) if !formals.is_empty() => {
                let nodes: Vec<Element<'_>> = formals.iter().map(Element::Formal).collect();
                format!("{{ {} }}", self.wrap(&nodes, ty.span, column + 2))
            }
            TypeKind::Enum(values) => {
                let nodes: Vec<Element<'_>> = values.iter().map(Element::Text).collect();
                format!("enum({})", self.wrap(&nodes, ty.span, column + 5))
            }
            _ => return flat,
        };
        if ty.optional { base + "?" } else { base }
    }

    /// Elements that fill lines from a column on; one on each line if there are comments between them.
    fn wrap(&self, nodes: &[Element<'_>], span: Span, column: usize) -> String {
        let column = column.min(WIDTH - LEAST_ROOM);
        if self.has_comments(span) {
            return self.lines(nodes, span, column);
        }
        let mut out = String::new();
        let mut at = column;
        let mut line_starts = 0;
        for (idx, node) in nodes.iter().enumerate() {
            let comma = if idx + 1 < nodes.len() { "," } else { "" };
            let flat = format!("{}{comma}", self.flat_element(*node));
            if idx > 0 && fits(&flat, at + 1) {
                out.push(' ');
            } else if idx > 0 {
                out.push_str(&new_line(column));
                at = column;
                line_starts += 1;
            }
            let start = if at == column { at } else { at + 1 };
            out.push_str(&self.element(*node, start));
            out.push_str(comma);
            at = end_column(&out, column);
        }
        if line_starts + 1 == nodes.len() && nodes.len() > 1 { self.marked(nodes, out, column) } else { out }
    }

    /// Named columns that stand on one line each get marks, so that their `=` are aligned.
    fn marked(&self, nodes: &[Element<'_>], plain: String, column: usize) -> String {
        let lines: Vec<&str> = plain.split('\n').collect();
        let named = |node: &Element<'_>| match node {
            Element::Argument(Argument { name: Some(name), value, .. }) => matches!(
                value.kind,
                ExprKind::Call(_) | ExprKind::Binary { .. } | ExprKind::Literal(Literal::Text(_))
            )
            .then_some(name.name.len()),
            _ => None,
        };
        let names: Option<Vec<usize>> = nodes.iter().map(named).collect();
        let (Some(names), true) = (names, lines.len() == nodes.len()) else { return plain };
        let longest = names.iter().max().copied().unwrap_or(0);
        if names.iter().any(|len| longest - len > 12) || plain.contains([FORM, MARK]) {
            return plain;
        }
        let padded = lines.iter().zip(&names).map(|(line, len)| {
            let (name, value) = line.trim_start().split_at(*len);
            format!("{name}{}{value}", " ".repeat(longest - len))
        });
        padded.collect::<Vec<_>>().join(&new_line(column))
    }

    /// Elements on one line each, with the comments between them.
    fn lines(&self, nodes: &[Element<'_>], span: Span, column: usize) -> String {
        let mut out = String::new();
        let mut after_comment = false;
        for (idx, node) in nodes.iter().enumerate() {
            let place = self.span_of(*node);
            for comment in self.take_comments(span.start, place.start) {
                out.push_str(&comment);
                out.push_str(&new_line(column));
            }
            out.push_str(&self.element(*node, column));
            let is_last = idx + 1 == nodes.len();
            // A list of lines ends in a comma, so that adding one changes one line.
            if !is_last || matches!(node, Element::Expr(_)) {
                out.push(',');
            }
            after_comment = false;
            if let Some(comment) = self.take_trailing(place.end, span.end) {
                out.push_str("  ");
                out.push_str(&comment);
                after_comment = true;
            }
            if !is_last {
                out.push_str(&new_line(column));
            }
        }
        for comment in self.take_comments(span.start, span.end) {
            if !nodes.is_empty() {
                out.push_str(&new_line(column));
            }
            out.push_str(&comment);
            after_comment = true;
        }
        if after_comment {
            out.push_str(&new_line(column));
        }
        out
    }
}
