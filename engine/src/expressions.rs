//! Typed expressions of the language as DataFusion expressions.
//!
//! Comparisons and logic are DataFusion's own. Everything whose meaning the language fixes more tightly (checked
//! arithmetic, character counts, exact quantiles) is a function of ours, see `functions.rs` and `aggregates.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{Case, InList, ScalarFunction, WindowFunction};
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, Operator, ScalarUDF, WindowFrame, WindowFunctionDefinition,
};
use promptc_compiler::op;
use promptc_compiler::op::{ExprKind, Value};
use promptc_compiler::syntax::ast::{BinaryOp, UnaryOp};
use promptc_compiler::types::Type;

use crate::aggregates;
use crate::error::EngineError;
use crate::functions::ValueFunction;
use crate::types;

/// A column by its exact name; nothing is parsed or folded.
#[must_use]
pub fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// The DataFusion form of an expression without aggregates (windows are allowed).
///
/// # Errors
/// [`EngineError::Internal`] if the compiler let something through that has no form.
pub fn lower(expr: &op::Expr) -> Result<Expr, EngineError> {
    let field = Arc::new(types::field("value", &expr.ty));
    Ok(match &expr.kind {
        ExprKind::Literal(value) => Expr::Literal(scalar(value, &expr.ty)?, None),
        ExprKind::Column(name) => column(name),
        ExprKind::Field { base, name } => call("field", vec![lower(base)?, text_literal(name)], field)?,
        ExprKind::FieldOfEach { base, name } => {
            call("field_of_each", vec![lower(base)?, text_literal(name)], field)?
        }
        // Branches that are not taken must not be computed: they may divide by zero.
        ExprKind::Call { function: "if", args } if args.len() == 3 => {
            let then = cast(lower(&args[1])?, field.data_type().clone());
            let otherwise = cast(lower(&args[2])?, field.data_type().clone());
            let branch = (Box::new(lower(&args[0])?), Box::new(then));
            Expr::Case(Case::new(None, vec![branch], Some(Box::new(otherwise))))
        }
        ExprKind::Call { function, args } => {
            let args: Result<Vec<_>, _> = args.iter().map(lower).collect();
            call(function, args?, field)?
        }
        ExprKind::List(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(lower).collect();
            call("make_list", items?, field)?
        }
        ExprKind::Convert(base) => cast(lower(base)?, field.data_type().clone()),
        ExprKind::Unary { op: UnaryOp::Not, operand } => Expr::Not(Box::new(lower(operand)?)),
        ExprKind::Unary { op: UnaryOp::Negate, operand } => call("negate", vec![lower(operand)?], field)?,
        ExprKind::Binary { op, left, right } => binary(*op, left, right, field)?,
        ExprKind::Aggregate { function, args, over } => window(function, args, over.as_deref(), field)?,
    })
}

fn binary(op: BinaryOp, left: &op::Expr, right: &op::Expr, field: FieldRef) -> Result<Expr, EngineError> {
    let operator = match op {
        BinaryOp::Or => Operator::Or,
        BinaryOp::And => Operator::And,
        BinaryOp::Eq | BinaryOp::NotEq if is_null(left) || is_null(right) => {
            let tested = lower(if is_null(left) { right } else { left })?;
            return Ok(if op == BinaryOp::Eq { tested.is_null() } else { tested.is_not_null() });
        }
        BinaryOp::Eq => Operator::Eq,
        BinaryOp::NotEq => Operator::NotEq,
        BinaryOp::Less => Operator::Lt,
        BinaryOp::LessEq => Operator::LtEq,
        BinaryOp::Greater => Operator::Gt,
        BinaryOp::GreaterEq => Operator::GtEq,
        BinaryOp::In => return membership(left, right, field),
        BinaryOp::Range => return Err(EngineError::internal("expressions", "a range is not a column")),
        BinaryOp::Add => return call("add", vec![lower(left)?, lower(right)?], field),
        BinaryOp::Subtract => return call("subtract", vec![lower(left)?, lower(right)?], field),
        BinaryOp::Multiply => return call("multiply", vec![lower(left)?, lower(right)?], field),
        BinaryOp::Divide => return call("divide", vec![lower(left)?, lower(right)?], field),
    };
    let (left, right) = same_type(left, right)?;
    Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right))))
}

/// `a in [..]` with constants is an IN list, with a list column a search in it.
fn membership(left: &op::Expr, right: &op::Expr, field: FieldRef) -> Result<Expr, EngineError> {
    if let ExprKind::List(items) = &right.kind {
        let list: Result<Vec<_>, _> = items.iter().map(lower).collect();
        return Ok(Expr::InList(InList::new(Box::new(lower(left)?), list?, false)));
    }
    call("list_contains", vec![lower(right)?, lower(left)?], field)
}

/// Both sides in the type of the wider one; the checker has made sure that one holds the other.
fn same_type(left: &op::Expr, right: &op::Expr) -> Result<(Expr, Expr), EngineError> {
    let (left_type, right_type) = (types::data_type(&left.ty), types::data_type(&right.ty));
    let (left, right) = (lower(left)?, lower(right)?);
    if left_type == right_type || left_type == DataType::Null || right_type == DataType::Null {
        return Ok((left, right));
    }
    let width = |ty: &DataType| (ty.is_floating(), ty.primitive_width().unwrap_or(0));
    if width(&left_type) >= width(&right_type) {
        Ok((left, cast(right, left_type)))
    } else {
        Ok((cast(left, right_type), right))
    }
}

/// Nested values are built with their exact fields; casting them would only relabel them.
fn cast(expr: Expr, to: DataType) -> Expr {
    if to.is_nested() || to == DataType::Null {
        return expr;
    }
    Expr::Cast(Cast::new(Box::new(expr), to))
}

fn is_null(expr: &op::Expr) -> bool {
    matches!(expr.kind, ExprKind::Literal(Value::Null))
}

fn text_literal(text: &str) -> Expr {
    Expr::Literal(ScalarValue::Utf8(Some(text.to_owned())), None)
}

fn call(function: &str, args: Vec<Expr>, field: FieldRef) -> Result<Expr, EngineError> {
    let function = ValueFunction::new(function, args.len(), field)?;
    let udf = Arc::new(ScalarUDF::new_from_impl(function));
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(udf, args)))
}

fn window(
    function: &str,
    args: &[op::Expr],
    over: Option<&str>,
    field: FieldRef,
) -> Result<Expr, EngineError> {
    let Some(over) = over else {
        return Err(EngineError::internal(
            "expressions",
            format!("aggregate `{function}` in a row-wise place"),
        ));
    };
    let definition = WindowFunctionDefinition::AggregateUDF(aggregates::aggregate(function, field)?);
    let mut window = WindowFunction::new(definition, aggregate_args(args)?);
    window.params.partition_by = vec![column(over)];
    window.params.window_frame = WindowFrame::new(None);
    Ok(Expr::WindowFunction(Box::new(window)))
}

/// DataFusion knows no aggregate without arguments: `count()` counts a constant.
fn aggregate_args(args: &[op::Expr]) -> Result<Vec<Expr>, EngineError> {
    if args.is_empty() {
        return Ok(vec![Expr::Literal(ScalarValue::Int64(Some(1)), None)]);
    }
    args.iter().map(lower).collect()
}

/// Names of all columns that an expression reads, those inside aggregates included.
#[must_use]
pub fn columns_read(expr: &op::Expr) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        match &expr.kind {
            ExprKind::Column(name) => drop(found.insert(name.clone())),
            ExprKind::Literal(_) => {}
            ExprKind::Field { base, .. } | ExprKind::FieldOfEach { base, .. } | ExprKind::Convert(base) => {
                open.push(base);
            }
            ExprKind::Unary { operand, .. } => open.push(operand),
            ExprKind::Binary { left, right, .. } => open.extend([left.as_ref(), right.as_ref()]),
            ExprKind::Call { args, .. } | ExprKind::List(args) => open.extend(args),
            ExprKind::Aggregate { args, over, .. } => {
                open.extend(args);
                found.extend(over.clone());
            }
        }
    }
    found
}

/// An expression with aggregates, taken apart: `sum(a) / sum(b)` is the aggregates and what is done with their results.
#[derive(Debug, Default)]
pub struct Aggregated {
    /// (name, aggregate call).
    pub aggregates: Vec<(String, Expr)>,
}

impl Aggregated {
    /// Moves the aggregates of `expr` into the list and gives the expression over their results.
    ///
    /// # Errors
    /// [`EngineError::Internal`] as in [`lower`].
    pub fn split(&mut self, expr: &op::Expr) -> Result<Expr, EngineError> {
        let outer = self.replace(expr)?;
        lower(&outer)
    }

    fn replace(&mut self, expr: &op::Expr) -> Result<op::Expr, EngineError> {
        let mut again = |inner: &op::Expr| self.replace(inner).map(Box::new);
        let kind = match &expr.kind {
            ExprKind::Aggregate { function, args, over: None } => {
                let field = Arc::new(types::field("value", &expr.ty));
                let name = format!("~a{}", self.aggregates.len());
                let call = aggregates::aggregate(function, field)?.call(aggregate_args(args)?);
                self.aggregates.push((name.clone(), call));
                ExprKind::Column(name)
            }
            ExprKind::Field { base, name } => ExprKind::Field { base: again(base)?, name: name.clone() },
            ExprKind::FieldOfEach { base, name } => {
                ExprKind::FieldOfEach { base: again(base)?, name: name.clone() }
            }
            ExprKind::Convert(base) => ExprKind::Convert(again(base)?),
            ExprKind::Unary { op, operand } => ExprKind::Unary { op: *op, operand: again(operand)? },
            ExprKind::Binary { op, left, right } => {
                ExprKind::Binary { op: *op, left: again(left)?, right: again(right)? }
            }
            ExprKind::Call { function, args } => {
                let args: Result<Vec<_>, _> = args.iter().map(|arg| self.replace(arg)).collect();
                ExprKind::Call { function, args: args? }
            }
            ExprKind::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.replace(item)).collect();
                ExprKind::List(items?)
            }
            other => other.clone(),
        };
        Ok(op::Expr { kind, ty: expr.ty.clone() })
    }
}

/// A constant in Arrow's form of its type.
///
/// # Errors
/// [`EngineError::Internal`] if the value is not of the type.
pub fn scalar(value: &Value, ty: &Type) -> Result<ScalarValue, EngineError> {
    let data_type = types::data_type(ty);
    let wrong = || EngineError::internal("expressions", format!("{value:?} is not a constant of type {ty}"));
    let raw = match value {
        Value::Null => return ScalarValue::try_from(&data_type).map_err(|_| wrong()),
        Value::Bool(value) => ScalarValue::Boolean(Some(*value)),
        Value::Int(value) => ScalarValue::Int64(Some(*value)),
        Value::UInt(value) => ScalarValue::UInt64(Some(*value)),
        Value::Float(value) => ScalarValue::Float64(Some(*value)),
        Value::Text(value) => ScalarValue::Utf8(Some(value.clone())),
        Value::List(items) => return list_scalar(items, ty, &wrong),
        Value::Record(cells) => return record_scalar(cells, ty, &wrong),
        Value::Range(..) => return Err(wrong()),
    };
    if raw.data_type() == data_type { Ok(raw) } else { raw.cast_to(&data_type).map_err(|_| wrong()) }
}

fn list_scalar(
    items: &[Value],
    ty: &Type,
    wrong: &dyn Fn() -> EngineError,
) -> Result<ScalarValue, EngineError> {
    if let Type::Map(key, inner) = ty.required() {
        return map_scalar(items, key, inner, wrong);
    }
    let Type::List(item_type) = ty.required() else { return Err(wrong()) };
    let items: Result<Vec<_>, _> = items.iter().map(|item| scalar(item, item_type)).collect();
    let items = items?;
    let field = Arc::new(types::field("item", item_type));
    let values = if items.is_empty() {
        arrow::array::new_empty_array(field.data_type())
    } else {
        ScalarValue::iter_to_array(items).map_err(|_| wrong())?
    };
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([values.len()]);
    let list = arrow::array::ListArray::try_new(field, offsets, values, None)?;
    Ok(ScalarValue::List(Arc::new(list)))
}

/// A map written in a test is a list of records with two fields.
fn map_scalar(
    items: &[Value],
    key: &Type,
    inner: &Type,
    wrong: &dyn Fn() -> EngineError,
) -> Result<ScalarValue, EngineError> {
    let pair = |item: &Value, idx: usize| match item {
        Value::Record(cells) if cells.len() == 2 => Some(cells[idx].1.clone()),
        _ => None,
    };
    let side = |idx: usize, ty: &Type| -> Result<arrow::array::ArrayRef, EngineError> {
        let cells: Option<Vec<_>> = items.iter().map(|item| pair(item, idx)).collect();
        let scalars: Result<Vec<_>, _> =
            cells.ok_or_else(wrong)?.iter().map(|cell| scalar(cell, ty)).collect();
        let scalars = scalars?;
        if scalars.is_empty() {
            return Ok(arrow::array::new_empty_array(&types::data_type(ty)));
        }
        ScalarValue::iter_to_array(scalars).map_err(|_| wrong())
    };
    let DataType::Map(entries, sorted) =
        types::data_type(&Type::Map(Box::new(key.clone()), Box::new(inner.clone())))
    else {
        return Err(wrong());
    };
    let DataType::Struct(fields) = entries.data_type() else { return Err(wrong()) };
    let columns = vec![side(0, key)?, side(1, inner)?];
    let records = arrow::array::StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([items.len()]);
    let map = arrow::array::MapArray::try_new(entries.clone(), offsets, records, None, sorted)?;
    Ok(ScalarValue::Map(Arc::new(map)))
}

fn record_scalar(
    cells: &[(String, Value)],
    ty: &Type,
    wrong: &dyn Fn() -> EngineError,
) -> Result<ScalarValue, EngineError> {
    let DataType::Struct(fields) = types::data_type(ty) else { return Err(wrong()) };
    let column_types: Vec<Type> = match ty.required() {
        Type::Record(columns) => columns.iter().map(|column| column.ty.clone()).collect(),
        Type::Message => vec![Type::Text, Type::Text],
        Type::Span => vec![Type::Text, Type::U64, Type::U64, Type::U32],
        _ => return Err(wrong()),
    };
    let columns: Result<Vec<_>, EngineError> = fields
        .iter()
        .zip(&column_types)
        .map(|(field, ty): (&Arc<Field>, &Type)| {
            let cell =
                cells.iter().find(|(name, _)| name == field.name()).map_or(&Value::Null, |(_, value)| value);
            scalar(cell, ty)?.to_array().map_err(EngineError::from)
        })
        .collect();
    let record = arrow::array::StructArray::try_new(fields, columns?, None)?;
    Ok(ScalarValue::Struct(Arc::new(record)))
}
