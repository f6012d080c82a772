//! Expressions: flat lists of operands and operators become trees by pest's Pratt parser.
//!
//! Comparisons and ranges do not chain; the grammar accepts the chain, so that it is reported here as what it is.

use std::sync::LazyLock;

use pest::iterators::{Pair, Pairs};
use pest::pratt_parser::{Assoc, Op, PrattParser};

use super::ast::{Argument, BinaryOp, Call, Expr, ExprKind, Literal, Text, UnaryOp};
use super::grammar::Rule;
use super::items::parts;
use super::literals;
use super::parse::Builder;
use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;

/// Most elements of a list literal.
const MAX_LIST: usize = 65_536;
/// Most operators between the root of an expression and a leaf. Passes walk expressions recursively; with at most 64
/// brackets around each other this bounds their depth at a few hundred calls.
const MAX_OPERATORS: usize = 512;

/// Binding strengths, loosest first.
static PRATT: LazyLock<PrattParser<Rule>> = LazyLock::new(|| {
    PrattParser::new()
        .op(Op::infix(Rule::or_op, Assoc::Left))
        .op(Op::infix(Rule::and_op, Assoc::Left))
        .op(Op::infix(Rule::compare_op, Assoc::Left))
        .op(Op::infix(Rule::range_op, Assoc::Left))
        .op(Op::infix(Rule::add_op, Assoc::Left))
        .op(Op::infix(Rule::multiply_op, Assoc::Left))
        .op(Op::prefix(Rule::not_op) | Op::prefix(Rule::negate_op))
});

fn binary_op(text: &str) -> BinaryOp {
    match text {
        "or" => BinaryOp::Or,
        "and" => BinaryOp::And,
        "==" => BinaryOp::Eq,
        "!=" => BinaryOp::NotEq,
        "<" => BinaryOp::Less,
        "<=" => BinaryOp::LessEq,
        ">" => BinaryOp::Greater,
        ">=" => BinaryOp::GreaterEq,
        "in" => BinaryOp::In,
        ".." => BinaryOp::Range,
        "+" => BinaryOp::Add,
        "-" => BinaryOp::Subtract,
        "*" => BinaryOp::Multiply,
        _ => BinaryOp::Divide,
    }
}

fn is_comparison(op: BinaryOp) -> bool {
    (BinaryOp::Eq..=BinaryOp::In).contains(&op)
}

impl Builder<'_> {
    pub(super) fn expr(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let pairs = pair.into_inner();
        let operators = pairs.clone().filter(|pair| is_operator(pair.as_rule())).count();
        if operators == 0 {
            let mut pairs = pairs;
            return self.operand(pairs.next().expect("an expression has an operand"));
        }
        if self.operators + operators > MAX_OPERATORS {
            let message = format!("expression with more than {MAX_OPERATORS} operators");
            self.diagnostics.push(Diagnostic::new(Code::E0501, message, span, "too long"));
            return Expr { kind: ExprKind::Bad, span };
        }
        self.operators += operators;
        let expr = self.tree(pairs);
        self.operators -= operators;
        expr
    }

    fn tree(&mut self, pairs: Pairs<'_, Rule>) -> Expr {
        let (source, text) = (self.source, self.text);
        let mut chains = Vec::new();
        let this = &mut *self;
        let expr = PRATT
            .map_primary(|pair| this.operand(pair))
            .map_prefix(|pair, operand| {
                let op = if pair.as_rule() == Rule::not_op { UnaryOp::Not } else { UnaryOp::Negate };
                let span = Span::new(source, pair.as_span().start(), operand.span.end as usize);
                Expr { kind: ExprKind::Unary { op, operand: Box::new(operand) }, span }
            })
            .map_infix(|left, pair, right| {
                let op = binary_op(pair.as_str());
                let op_span = Span::new(source, pair.as_span().start(), pair.as_span().end());
                if let Some(diagnostic) = chain(text, &left, op, op_span) {
                    chains.push(diagnostic);
                }
                let span = left.span.to(right.span);
                Expr {
                    kind: ExprKind::Binary { op, op_span, left: Box::new(left), right: Box::new(right) },
                    span,
                }
            })
            .parse(pairs);
        self.diagnostics.append(&mut chains);
        expr
    }

    /// An operand without its sign.
    pub(super) fn operand(&mut self, pair: Pair<'_, Rule>) -> Expr {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::reference => self.reference(pair),
            Rule::number => ExprKind::Literal(Literal::Number(literals::number(pair.as_str()))),
            Rule::string | Rule::raw => ExprKind::Literal(Literal::Text(self.text_value(&pair))),
            Rule::constant => ExprKind::Literal(match pair.as_str() {
                "true" => Literal::Bool(true),
                "false" => Literal::Bool(false),
                _ => Literal::Null,
            }),
            Rule::list => {
                let elements: Vec<Expr> = parts(pair).map(|element| self.expr(element)).collect();
                if elements.len() > MAX_LIST {
                    self.limit(MAX_LIST + 1, MAX_LIST, "elements in one list", elements[MAX_LIST].span);
                }
                ExprKind::List(elements)
            }
            Rule::paren => ExprKind::Paren(Box::new(self.expr(parts(pair).part()))),
            _ => ExprKind::Bad,
        };
        Expr { kind, span }
    }

    fn reference(&mut self, pair: Pair<'_, Rule>) -> ExprKind {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        let path = self.path(parts.part());
        match parts.next() {
            Some(arguments) => ExprKind::Call(Call { callee: path, args: self.arguments(arguments), span }),
            None => ExprKind::Path(path),
        }
    }

    pub(super) fn call(&mut self, pair: Pair<'_, Rule>) -> Call {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        Call { callee: self.path(parts.part()), args: self.arguments(parts.part()), span }
    }

    fn arguments(&mut self, pair: Pair<'_, Rule>) -> Vec<Argument> {
        parts(pair).map(|argument| self.argument(argument)).collect()
    }

    pub(super) fn argument(&mut self, pair: Pair<'_, Rule>) -> Argument {
        let span = self.span(&pair);
        let mut parts = parts(pair);
        let first = parts.part();
        if first.as_rule() == Rule::ident {
            Argument { name: Some(self.ident(&first)), value: self.expr(parts.part()), span }
        } else {
            Argument { name: None, value: self.expr(first), span }
        }
    }

    /// The value of a `string` or `raw` pair. It is read from the original text; a string that was cut by the mask ends
    /// where the mask ends it.
    pub(super) fn text_value(&mut self, pair: &Pair<'_, Rule>) -> Text {
        let span = self.span(pair);
        let (start, end) = (span.start as usize, span.end as usize);
        if pair.as_rule() == Rule::raw {
            let missing = pair.as_span().end() - end;
            self.open_raw |= missing > 0;
            return literals::raw(self.source, self.text, start, end, missing);
        }
        literals::string(self.source, self.text, start, end)
    }
}

fn is_operator(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::or_op
            | Rule::and_op
            | Rule::compare_op
            | Rule::range_op
            | Rule::add_op
            | Rule::multiply_op
            | Rule::not_op
            | Rule::negate_op
    )
}

/// E0110 for a second comparison, E0101 for a second `..`.
fn chain(text: &str, left: &Expr, op: BinaryOp, op_span: Span) -> Option<Diagnostic> {
    let ExprKind::Binary { op: first, right: middle, .. } = &left.kind else { return None };
    let written = &text[op_span.range()];
    if *first == BinaryOp::Range && op == BinaryOp::Range {
        return Some(Diagnostic::new(
            Code::E0101,
            "expected the end of the range, found `..`",
            op_span,
            "second `..`",
        ));
    }
    if !is_comparison(*first) || !is_comparison(op) {
        return None;
    }
    let joined = format!("and {} ", &text[middle.span.range()]);
    Some(
        Diagnostic::new(
            Code::E0110,
            format!("comparisons do not chain: second operator `{written}`"),
            op_span,
            "second comparison",
        )
        .help(format!("join two comparisons: `{joined}{written} ...`"))
        .fix(Span { end: op_span.start, ..op_span }, joined),
    )
}
