//! Requirements of gates: expressions over one row of plain values, with three answers.
//!
//! `and`, `or`, `not` and comparisons know null; a number that is not finite counts as null, since whatever was divided by
//! zero says nothing. Everything else is computed by the engine's own functions on constants.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, StringArray};
use arrow::datatypes::DataType;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::SessionContext;
use promptc_compiler::op::{Expr, ExprKind, Value};
use promptc_compiler::syntax::ast::{BinaryOp, UnaryOp};
use promptc_compiler::types::Type;

use crate::error::EngineError;
use crate::expressions::{columns_read, lower};

/// A plain value of the result, or none.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fact {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

/// The row by column.
pub(super) type Facts = BTreeMap<String, Fact>;

impl Fact {
    /// The value of one cell.
    ///
    /// # Errors
    /// E0303 for columns that are neither number, bool nor text.
    pub(super) fn of(name: &str, column: &ArrayRef, row: usize) -> Result<Self, EngineError> {
        let cell = column.slice(row, 1);
        if cell.is_null(0) || *cell.data_type() == DataType::Null {
            return Ok(Fact::Null);
        }
        let place = "gate";
        match cell.data_type() {
            DataType::Boolean => {
                let values: &BooleanArray = crate::arrays::downcast(&cell, place)?;
                Ok(Fact::Bool(values.value(0)))
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let cell = arrow::compute::cast(&cell, &DataType::Utf8)?;
                let values: &StringArray = crate::arrays::downcast(&cell, place)?;
                Ok(Fact::Text(values.value(0).to_owned()))
            }
            ty if ty.is_numeric() => {
                let cell = arrow::compute::cast(&cell, &DataType::Float64)?;
                let values: &Float64Array = crate::arrays::downcast(&cell, place)?;
                Ok(Fact::number(values.value(0)))
            }
            other => Err(EngineError::Row {
                code: "E0303",
                message: format!(
                    "column `{name}` of the gate's result is {other}, expected a number, a bool or a text"
                ),
            }),
        }
    }

    fn number(value: f64) -> Self {
        if value.is_finite() { Fact::Number(value) } else { Fact::Null }
    }
}

impl std::fmt::Display for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fact::Null => f.write_str("null"),
            Fact::Bool(value) => write!(f, "{value}"),
            Fact::Number(value) => write!(f, "{value}"),
            Fact::Text(value) => write!(f, "\"{value}\""),
        }
    }
}

/// Whether a condition holds; `None` if that cannot be told.
///
/// # Errors
/// A column that is not in the row or of another kind than the program takes it for; faults of functions.
pub(super) async fn holds(
    session: &SessionContext,
    expr: &Expr,
    facts: &Facts,
) -> Result<Option<bool>, EngineError> {
    match Box::pin(value(session, expr, facts)).await? {
        Fact::Bool(value) => Ok(Some(value)),
        Fact::Null => Ok(None),
        other => Err(mismatch(&format!("the requirement is {other}, not true or false"))),
    }
}

fn mismatch(message: &str) -> EngineError {
    EngineError::Row { code: "E0303", message: message.to_owned() }
}

async fn value(session: &SessionContext, expr: &Expr, facts: &Facts) -> Result<Fact, EngineError> {
    match &expr.kind {
        ExprKind::Literal(value) => literal(value),
        ExprKind::Column(name) => {
            let missing = || mismatch(&format!("column `{name}` is not in the gate's result"));
            facts.get(name).cloned().ok_or_else(missing)
        }
        // Nulls and widths are the same in all numbers here.
        ExprKind::Convert(inner) => Box::pin(value(session, inner, facts)).await,
        ExprKind::Unary { op: UnaryOp::Not, operand } => {
            let inner = Box::pin(holds(session, operand, facts)).await?;
            Ok(inner.map_or(Fact::Null, |inner| Fact::Bool(!inner)))
        }
        ExprKind::Binary { op: op @ (BinaryOp::And | BinaryOp::Or), left, right } => {
            let left = Box::pin(holds(session, left, facts)).await?;
            let right = Box::pin(holds(session, right, facts)).await?;
            Ok(logic(*op == BinaryOp::And, left, right).map_or(Fact::Null, Fact::Bool))
        }
        ExprKind::Binary { op, left, right } if is_comparison(*op) => {
            let (tests_null, is_equal) =
                (is_null_literal(left) || is_null_literal(right), *op == BinaryOp::Eq);
            let left = Box::pin(value(session, left, facts)).await?;
            let right = Box::pin(value(session, right, facts)).await?;
            if tests_null {
                return Ok(Fact::Bool((left == right) == is_equal));
            }
            compare(*op, &left, &right)
        }
        _ => computed(session, expr, facts).await,
    }
}

fn literal(value: &Value) -> Result<Fact, EngineError> {
    Ok(match value {
        Value::Null => Fact::Null,
        Value::Bool(value) => Fact::Bool(*value),
        Value::Int(value) => Fact::number(*value as f64),
        Value::UInt(value) => Fact::number(*value as f64),
        Value::Float(value) => Fact::number(*value),
        Value::Text(value) => Fact::Text(value.clone()),
        Value::List(_) | Value::Record(_) | Value::Range(..) => {
            return Err(mismatch("a requirement compares plain values"));
        }
    })
}

fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp::{Eq, Greater, GreaterEq, Less, LessEq, NotEq};
    matches!(op, Eq | NotEq | Less | LessEq | Greater | GreaterEq)
}

fn is_null_literal(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Convert(inner) => is_null_literal(inner),
        kind => matches!(kind, ExprKind::Literal(Value::Null)),
    }
}

/// Kleene's `and` and `or`.
fn logic(is_and: bool, left: Option<bool>, right: Option<bool>) -> Option<bool> {
    let decides = !is_and;
    if left == Some(decides) || right == Some(decides) {
        return Some(decides);
    }
    left.zip(right).map(|_| !decides)
}

fn compare(op: BinaryOp, left: &Fact, right: &Fact) -> Result<Fact, EngineError> {
    let order = match (left, right) {
        (Fact::Null, _) | (_, Fact::Null) => return Ok(Fact::Null),
        (Fact::Number(left), Fact::Number(right)) => left.partial_cmp(right),
        (Fact::Text(left), Fact::Text(right)) => Some(left.cmp(right)),
        (Fact::Bool(left), Fact::Bool(right)) => Some(left.cmp(right)),
        _ => return Err(mismatch(&format!("{left} and {right} cannot be compared"))),
    };
    let Some(order) = order else { return Ok(Fact::Null) };
    Ok(Fact::Bool(match op {
        BinaryOp::Eq => order.is_eq(),
        BinaryOp::NotEq => order.is_ne(),
        BinaryOp::Less => order.is_lt(),
        BinaryOp::LessEq => order.is_le(),
        BinaryOp::Greater => order.is_gt(),
        _ => order.is_ge(),
    }))
}

/// Arithmetic and functions, by the engine on constants.
async fn computed(session: &SessionContext, expr: &Expr, facts: &Facts) -> Result<Fact, EngineError> {
    let constant = substituted(expr, facts)?;
    let plan = LogicalPlanBuilder::empty(true).project(vec![lower(&constant)?.alias("value")])?.build()?;
    let batches = session.execute_logical_plan(plan).await?.collect().await?;
    match batches.iter().find(|batch| batch.num_rows() > 0) {
        Some(batch) => Fact::of("value", batch.column(0), 0),
        None => Ok(Fact::Null),
    }
}

/// The expression with the row's values in place of its columns.
fn substituted(expr: &Expr, facts: &Facts) -> Result<Expr, EngineError> {
    let each =
        |exprs: &[Expr]| exprs.iter().map(|expr| substituted(expr, facts)).collect::<Result<Vec<_>, _>>();
    let boxed = |expr: &Expr| substituted(expr, facts).map(Box::new);
    let kind = match &expr.kind {
        ExprKind::Column(name) => {
            let missing = || mismatch(&format!("column `{name}` is not in the gate's result"));
            return constant(name, facts.get(name).ok_or_else(missing)?, &expr.ty);
        }
        ExprKind::Binary { op, left, right } => {
            ExprKind::Binary { op: *op, left: boxed(left)?, right: boxed(right)? }
        }
        ExprKind::Unary { op, operand } => ExprKind::Unary { op: *op, operand: boxed(operand)? },
        ExprKind::Convert(inner) => ExprKind::Convert(boxed(inner)?),
        ExprKind::Call { function, args } => ExprKind::Call { function, args: each(args)? },
        ExprKind::List(items) => ExprKind::List(each(items)?),
        other => other.clone(),
    };
    Ok(Expr { kind, ty: expr.ty.clone() })
}

/// A value as a constant of the type that the program takes the column for.
fn constant(name: &str, fact: &Fact, ty: &Type) -> Result<Expr, EngineError> {
    let value = match (fact, ty.required()) {
        (Fact::Null, _) => Value::Null,
        (Fact::Bool(value), Type::Bool) => Value::Bool(*value),
        (Fact::Text(value), Type::Text | Type::Enum(_)) => Value::Text(value.clone()),
        (Fact::Number(value), Type::Int { .. }) if value.fract() == 0.0 && value.abs() < 9e15 => {
            Value::Int(*value as i64)
        }
        (Fact::Number(value), Type::Float { .. } | Type::Ratio | Type::Share) => Value::Float(*value),
        _ => return Err(mismatch(&format!("column `{name}` is {fact}, expected {ty}"))),
    };
    Ok(Expr { kind: ExprKind::Literal(value), ty: ty.clone() })
}

/// Columns that a condition reads, in the order of their names, with their values: `n = null, ratio = 3.2`.
pub(super) fn shown(expr: &Expr, facts: &Facts) -> String {
    let value = |name: &String| facts.get(name).map_or_else(String::new, |fact| format!("{name} = {fact}"));
    columns_read(expr).iter().map(value).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn number(value: f64) -> Expr {
        Expr { kind: ExprKind::Literal(Value::Float(value)), ty: Type::F64 }
    }

    fn column(name: &str, ty: Type) -> Expr {
        Expr { kind: ExprKind::Column(name.to_owned()), ty: ty.optional() }
    }

    fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
        Expr { kind: ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) }, ty: Type::Bool }
    }

    fn facts() -> Facts {
        let all = [("x", Fact::Number(2.0)), ("gone", Fact::Null), ("word", Fact::Text("a".to_owned()))];
        all.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect()
    }

    fn decide(expr: &Expr) -> Result<Option<bool>, EngineError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(holds(&SessionContext::new(), expr, &facts()))
    }

    #[test]
    fn null_is_neither_true_nor_false() {
        let x = || column("x", Type::F64);
        let gone = || column("gone", Type::F64);
        let (yes, no) =
            (binary(BinaryOp::Greater, x(), number(1.0)), binary(BinaryOp::Less, x(), number(1.0)));
        let unknown = binary(BinaryOp::Greater, gone(), number(1.0));
        let null = Expr { kind: ExprKind::Literal(Value::Null), ty: Type::Null };
        let cases = [
            (yes.clone(), Some(true)),
            (no.clone(), Some(false)),
            (unknown.clone(), None),
            (binary(BinaryOp::And, unknown.clone(), no.clone()), Some(false)),
            (binary(BinaryOp::And, yes.clone(), unknown.clone()), None),
            (binary(BinaryOp::Or, unknown.clone(), yes), Some(true)),
            (binary(BinaryOp::Or, unknown.clone(), no), None),
            (binary(BinaryOp::Eq, gone(), null.clone()), Some(true)),
            (binary(BinaryOp::NotEq, x(), null), Some(true)),
            (
                Expr {
                    kind: ExprKind::Unary { op: UnaryOp::Not, operand: Box::new(unknown) },
                    ty: Type::Bool,
                },
                None,
            ),
        ];
        for (idx, (expr, expected)) in cases.iter().enumerate() {
            assert_eq!(decide(expr).unwrap(), *expected, "case {idx}");
        }
    }

    #[test]
    fn arithmetic_is_the_engines_own() {
        let sum = |ty: Type| Expr {
            kind: ExprKind::Binary {
                op: BinaryOp::Add,
                left: Box::new(column("x", ty.clone())),
                right: Box::new(Expr { kind: ExprKind::Literal(Value::Int(1)), ty: ty.clone() }),
            },
            ty: ty.optional(),
        };
        assert_eq!(decide(&binary(BinaryOp::Eq, sum(Type::I64), number(3.0))).unwrap(), Some(true));
    }

    #[test]
    fn what_is_not_a_number_says_nothing() {
        let values: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY, 1.0]));
        assert_eq!(Fact::of("v", &values, 0).unwrap(), Fact::Null);
        assert_eq!(Fact::of("v", &values, 1).unwrap(), Fact::Null);
        assert_eq!(Fact::of("v", &values, 2).unwrap(), Fact::Number(1.0));
    }

    #[test]
    fn other_kinds_of_values_are_named() {
        let error = decide(&binary(BinaryOp::Less, column("word", Type::Text), number(1.0))).unwrap_err();
        assert!(error.to_string().contains("\"a\""), "{error}");
        assert!(decide(&column("nope", Type::Bool)).is_err());
        assert_eq!(
            shown(&binary(BinaryOp::Less, column("x", Type::F64), column("gone", Type::F64)), &facts()),
            "gone = null, x = 2"
        );
    }
}
