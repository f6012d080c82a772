//! What the functions take: columns and constants, and the types that they are read as.

use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_plan::PhysicalExpr;
use std::sync::Arc;

/// What stands in the place of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Numbers of a column.
    Numbers,
    /// Texts of a column.
    Texts,
    /// A whole number that is the same for all rows.
    Whole,
    /// A number that is the same for all rows.
    Number,
    /// A text that is the same for all rows.
    Text,
}

/// One argument.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// The types as which the arguments of a call are read.
pub(super) fn coerced(
    function: &str,
    parameters: &[Parameter],
    optional_count: usize,
    given: &[DataType],
) -> Result<Vec<DataType>> {
    let least = parameters.len() - optional_count;
    if given.len() < least || given.len() > parameters.len() {
        let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name).collect();
        let expected =
            if optional_count == 0 { least.to_string() } else { format!("{least} to {}", names.len()) };
        return plan_err!(
            "`{function}` has {} arguments, expected {expected}: {}",
            given.len(),
            names.join(", ")
        );
    }
    let read = |(parameter, ty): (&Parameter, &DataType)| {
        let plain = match ty {
            DataType::Dictionary(_, value) => value.as_ref(),
            other => other,
        };
        let is_null = plain.is_null();
        let (wanted, fits, expected) = match parameter.kind {
            Kind::Numbers | Kind::Number => (DataType::Float64, plain.is_numeric(), "a number"),
            Kind::Whole => (DataType::Int64, plain.is_integer(), "a whole number"),
            Kind::Texts | Kind::Text => (DataType::Utf8, plain.is_string(), "a text"),
        };
        if fits || is_null {
            Ok(wanted)
        } else {
            plan_err!("`{function}` has {} of type {ty}, expected {expected}", parameter.name)
        }
    };
    parameters.iter().zip(given).map(read).collect()
}

/// The value of a constant argument of an aggregate; `None` if it is not given.
pub(super) fn constant(
    function: &str,
    parameters: &[Parameter],
    idx: usize,
    exprs: &[Arc<dyn PhysicalExpr>],
    schema: &Schema,
) -> Result<Option<ScalarValue>> {
    let Some(expr) = exprs.get(idx) else { return Ok(None) };
    let name = parameters[idx].name;
    match expr.evaluate(&RecordBatch::new_empty(Arc::new(schema.clone())))? {
        ColumnarValue::Scalar(value) if value.is_null() => {
            plan_err!("`{function}` has a null as {name}, expected a constant")
        }
        ColumnarValue::Scalar(value) => Ok(Some(value)),
        ColumnarValue::Array(_) => {
            plan_err!("`{function}` has {name} = {expr}, expected a constant")
        }
    }
}

/// A failure while a query runs.
pub(super) fn failure(text: impl Into<String>) -> DataFusionError {
    DataFusionError::Execution(text.into())
}
