//! The interval of a share as a scalar function.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::answer::struct_type;
use super::arguments::{Kind, Parameter, coerced, failure};
use crate::sql::stats::wilson;

const PARAMETERS: &[Parameter] = &[
    Parameter { name: "successes", kind: Kind::Whole },
    Parameter { name: "count", kind: Kind::Whole },
    Parameter { name: "level", kind: Kind::Number },
];

/// `wilson(successes, count, level)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Wilson(Signature);

impl Wilson {
    pub(super) fn new() -> Self {
        let names = PARAMETERS.iter().map(|parameter| parameter.name).collect();
        let signature = Signature::user_defined(Volatility::Immutable);
        Wilson(signature.with_parameter_names(names).expect("invariant: no two parameters share a name"))
    }
}

impl ScalarUDFImpl for Wilson {
    fn name(&self) -> &str {
        "wilson"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerced("wilson", PARAMETERS, 0, given)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(struct_type(&["low", "high"], &[]))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let successes = arrays[0].as_primitive::<Int64Type>();
        let counts = arrays[1].as_primitive::<Int64Type>();
        let levels = arrays[2].as_primitive::<Float64Type>();
        let mut ends = Vec::with_capacity(successes.len());
        for ((successes, count), level) in successes.iter().zip(counts).zip(levels) {
            let (Some(successes), Some(count), Some(level)) = (successes, count, level) else {
                ends.push(None);
                continue;
            };
            let (Ok(successes), Ok(count)) = (u64::try_from(successes), u64::try_from(count)) else {
                return Err(failure(format!(
                    "`wilson` has {successes} of {count}, expected counts of 0 or more"
                )));
            };
            ends.push(Some(wilson(successes, count, level).map_err(|error| failure(error.to_string()))?));
        }
        let column = |of: fn((f64, f64)) -> f64| -> ArrayRef {
            Arc::new(ends.iter().map(|ends| ends.map(of)).collect::<Float64Array>())
        };
        let DataType::Struct(fields) = self.return_type(&[])? else {
            return datafusion::common::internal_err!("`wilson` returns no struct");
        };
        let nulls: NullBuffer = ends.iter().map(Option::is_some).collect();
        let columns = vec![column(|ends| ends.0), column(|ends| ends.1)];
        let rows = StructArray::try_new_with_length(fields, columns, Some(nulls), ends.len())?;
        Ok(ColumnarValue::Array(Arc::new(rows)))
    }
}
