//! Aggregates of the language as DataFusion aggregates.
//!
//! One accumulator keeps the values of a group in their order and asks [`statistics`] at the end, so that quantiles are exact and sums
//! of doubles depend on nothing but the order of the rows. The same functions serve groups and windows over whole partitions.
//!
//! # Decisions
//! Values are kept, not folded: pairwise sums, medians and quantiles need them, and a count of rows is all that `count` keeps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, filter, is_not_null};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, Volatility,
};

use self::statistics::{Found, Values, Wanted};
use crate::error::EngineError;

pub(crate) mod numeric;
pub(crate) mod statistics;

const FUNCTIONS: &[&str] = &[
    "count", "sum", "mean", "median", "min", "max", "stddev", "mad", "quantile", "p50", "p90", "p95", "p99",
    "first", "collect",
];

/// The aggregate `function` with the declared result. It takes one argument, `quantile` two; DataFusion knows no aggregate without
/// arguments, so that `count()` is the count of a constant.
///
/// # Errors
/// [`EngineError::Internal`] for a name that is no aggregate.
pub fn aggregate(function: &str, result: FieldRef) -> Result<Arc<AggregateUDF>, EngineError> {
    if !FUNCTIONS.contains(&function) {
        return Err(EngineError::internal("aggregates", format!("no aggregate `{function}`")));
    }
    // DataFusion rewrites aggregates with the names of its own.
    let name = format!("promptc_{function}");
    let signature = Signature::variadic_any(Volatility::Immutable);
    Ok(Arc::new(AggregateUDF::new_from_impl(Aggregate {
        name,
        function: function.to_owned(),
        signature,
        result,
    })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Aggregate {
    name: String,
    function: String,
    signature: Signature,
    result: FieldRef,
}

impl Aggregate {
    /// What a group without values has: 0 for counts and sums, an empty list, null; `None` where null is not declared.
    fn of_nothing(&self) -> Result<Option<ScalarValue>, EngineError> {
        let ty = self.result.data_type();
        let value = match self.function.as_str() {
            "count" => ScalarValue::Int64(Some(0)),
            "collect" => one_list(&self.result, new_empty_array(&item_of(ty)?))?,
            _ if self.result.is_nullable() => ScalarValue::try_from(ty)?,
            "sum" => ScalarValue::new_zero(ty)?,
            _ => return Ok(None),
        };
        Ok(Some(value))
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result.data_type().clone())
    }

    fn return_field(&self, _: &[FieldRef]) -> DataFusionResult<FieldRef> {
        Ok(self.result.clone())
    }

    fn is_nullable(&self) -> bool {
        self.result.is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> DataFusionResult<ScalarValue> {
        let value = self.of_nothing().map_err(EngineError::into_datafusion)?;
        value.map_or_else(|| ScalarValue::try_from(data_type), Ok)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let ty = match self.function.as_str() {
            "count" => DataType::Int64,
            _ => DataType::List(state_item(args.input_fields[0].data_type())),
        };
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "values"), ty, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        if self.function == "count" {
            return Ok(Box::new(Count(0)));
        }
        let share = match (self.function.as_str(), args.exprs.get(1)) {
            ("quantile", Some(share)) => {
                match share.evaluate(&RecordBatch::new_empty(Arc::new(args.schema.clone())))? {
                    ColumnarValue::Scalar(ScalarValue::Float64(share)) => share,
                    _ => None,
                }
            }
            _ => None,
        };
        let of_nothing = self.of_nothing().map_err(EngineError::into_datafusion)?;
        let is_whole = numeric::is_whole(self.result.data_type());
        Ok(Box::new(Kept {
            wanted: Wanted { function: self.function.clone(), share, is_whole },
            result: self.result.clone(),
            value_type: args.expr_fields[0].data_type().clone(),
            of_nothing,
            batches: Vec::new(),
            batch_bytes: 0,
        }))
    }
}

/// Counts rows whose argument is not null.
#[derive(Debug)]
struct Count(i64);

impl Accumulator for Count {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.0 += (values[0].len() - values[0].logical_null_count()) as i64;
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.0)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(Some(self.0))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        self.0 += states[0].as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        Ok(())
    }
}

/// Keeps the values of a group in the order of the rows.
#[derive(Debug)]
struct Kept {
    wanted: Wanted,
    result: FieldRef,
    value_type: DataType,
    of_nothing: Option<ScalarValue>,
    /// Values that are not null; no batch is empty.
    batches: Vec<ArrayRef>,
    /// Bytes of the batches, counted as they come: DataFusion asks for the size after each of them.
    batch_bytes: usize,
}

impl Kept {
    fn push(&mut self, values: &ArrayRef) -> Result<(), EngineError> {
        if self.wanted.function == "first" && !self.batches.is_empty() {
            return Ok(());
        }
        let values = if values.logical_null_count() == 0 {
            values.clone()
        } else {
            filter(values, &is_not_null(values)?)?
        };
        if !values.is_empty() {
            let values = if self.wanted.function == "first" { values.slice(0, 1) } else { values };
            self.batch_bytes += values.to_data().get_slice_memory_size()?;
            self.batches.push(values);
        }
        Ok(())
    }

    fn values(&self) -> Result<ArrayRef, EngineError> {
        match self.batches.as_slice() {
            [] => Ok(new_empty_array(&self.value_type)),
            [one] => Ok(one.clone()),
            many => Ok(concat(&many.iter().map(AsRef::as_ref).collect::<Vec<_>>())?),
        }
    }

    fn finish(&self) -> Result<ScalarValue, EngineError> {
        let array = self.values()?;
        if self.wanted.function == "collect" {
            return one_list(&self.result, array);
        }
        let function = &self.wanted.function;
        let array = match Values::new(&array)?.find(&self.wanted, 0..array.len())? {
            Found::At(row) => array.slice(row, 1),
            Found::Computed(number) => {
                let describe = |_: usize| format!("{number}, `{function}` of {} values,", array.len());
                numeric::build(vec![Some(number)], self.result.data_type(), describe)?
            }
            Found::Nothing => {
                let missing =
                    || numeric::fault(format!("`{function}` of {} values has no result", array.len()));
                return self.of_nothing.clone().ok_or_else(missing);
            }
        };
        let value = ScalarValue::try_from_array(&array, 0)?;
        let ty = self.result.data_type();
        Ok(if value.data_type() == *ty { value } else { value.cast_to(ty)? })
    }
}

impl Accumulator for Kept {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.push(&values[0]).map_err(EngineError::into_datafusion)
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.finish().map_err(EngineError::into_datafusion)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.batch_bytes + self.batches.capacity() * size_of::<ArrayRef>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let item = state_item(&self.value_type);
        let values = self.values().map_err(EngineError::into_datafusion)?;
        let list = ListArray::try_new(item, OffsetBuffer::from_lengths([values.len()]), values, None)?;
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            self.push(&values).map_err(EngineError::into_datafusion)?;
        }
        Ok(())
    }
}

fn state_item(value: &DataType) -> FieldRef {
    Arc::new(Field::new_list_field(value.clone(), true))
}

fn item_of(list: &DataType) -> Result<DataType, EngineError> {
    match list {
        DataType::List(item) => Ok(item.data_type().clone()),
        other => Err(EngineError::internal("aggregates", format!("`collect` into {other}"))),
    }
}

/// A list value with the declared item field.
fn one_list(result: &FieldRef, values: ArrayRef) -> Result<ScalarValue, EngineError> {
    let DataType::List(item) = result.data_type() else {
        return Err(EngineError::internal("aggregates", format!("`collect` into {}", result.data_type())));
    };
    let values = if values.data_type() == item.data_type() {
        values
    } else {
        arrow::compute::cast(&values, item.data_type())?
    };
    let list = ListArray::try_new(item.clone(), OffsetBuffer::from_lengths([values.len()]), values, None)?;
    Ok(ScalarValue::List(Arc::new(list)))
}

#[cfg(test)]
mod tests {
    use super::*;

    use arrow::array::{DurationNanosecondArray, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{Schema, TimeUnit};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::logical_expr::expr::WindowFunction;
    use datafusion::logical_expr::{Expr, WindowFrame, WindowFunctionDefinition, col, lit};
    use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};

    fn field(ty: DataType, nullable: bool) -> FieldRef {
        Arc::new(Field::new("value", ty, nullable))
    }

    fn call(function: &str, ty: DataType, args: Vec<Expr>) -> Expr {
        aggregate(function, field(ty, true)).unwrap().call(args).alias(function)
    }

    /// Rows of two groups, in partitions of one row so that partial states are merged.
    fn table(partitions: usize) -> DataFrame {
        let nanoseconds = DataType::Duration(TimeUnit::Nanosecond);
        let schema = Arc::new(Schema::new(vec![
            Field::new("part", DataType::Utf8, false),
            Field::new("x", DataType::Int64, true),
            Field::new("y", DataType::Float64, false),
            Field::new("took", nanoseconds, false),
        ]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["a", "b", "a", "a"])),
            Arc::new(Int64Array::from(vec![Some(4), Some(7), None, Some(1)])),
            Arc::new(Float64Array::from(vec![0.5, 1.0, 1.5, 4.0])),
            Arc::new(DurationNanosecondArray::from(vec![3, 5, 1, 4])),
        ];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let rows = (0..4).map(|row| vec![batch.slice(row, 1)]).collect();
        let parts = if partitions == 1 { vec![vec![batch]] } else { rows };
        let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
        let provider = datafusion::datasource::MemTable::try_new(schema, parts).unwrap();
        ctx.read_table(Arc::new(provider)).unwrap()
    }

    fn run(frame: DataFrame) -> Result<String, EngineError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let batches = runtime.block_on(frame.collect())?;
        Ok(pretty_format_batches(&batches).unwrap().to_string())
    }

    fn grouped(partitions: usize) -> String {
        let nanoseconds = DataType::Duration(TimeUnit::Nanosecond);
        let calls = vec![
            call("count", DataType::Int64, vec![col("x")]),
            call("sum", DataType::Int64, vec![col("x")]),
            call("mean", nanoseconds.clone(), vec![col("took")]),
            call("p50", nanoseconds, vec![col("took")]),
            call("quantile", DataType::Float64, vec![col("y"), lit(0.99)]),
            call("stddev", DataType::Float64, vec![col("y")]),
            call("min", DataType::Utf8, vec![col("part")]),
        ];
        let frame = table(partitions).aggregate(vec![col("part")], calls).unwrap();
        run(frame.sort(vec![col("part").sort(true, false)]).unwrap()).unwrap()
    }

    #[test]
    fn groups_by_hand_and_by_merged_states() {
        let text = grouped(1);
        let cells: Vec<Vec<&str>> =
            text.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
        assert_eq!(
            cells[3][1..8],
            ["a", "2", "5", "PT0.000000002S", "PT0.000000003S", "4.0", "1.8027756377319946"],
            "{text}"
        );
        assert_eq!(cells[4][1..8], ["b", "1", "7", "PT0.000000005S", "PT0.000000005S", "1.0", ""], "{text}");
        assert_eq!(text, grouped(4));
    }

    #[test]
    fn lists_keep_the_order_of_rows() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, false)));
        let calls =
            vec![call("collect", list, vec![col("x")]), call("first", DataType::Float64, vec![col("y")])];
        let text = run(table(1).aggregate(vec![], calls).unwrap()).unwrap();
        assert!(text.contains("| [4, 7, 1] | 0.5"), "{text}");
    }

    #[test]
    fn windows_repeat_the_value_of_the_group() {
        let definition =
            WindowFunctionDefinition::AggregateUDF(aggregate("sum", field(DataType::Int64, true)).unwrap());
        let mut window = WindowFunction::new(definition, vec![col("x")]);
        window.params.partition_by = vec![col("part")];
        window.params.window_frame = WindowFrame::new(None);
        let frame = table(1).window(vec![Expr::WindowFunction(Box::new(window)).alias("total")]).unwrap();
        let text = run(frame.select(vec![col("part"), col("total")]).unwrap()).unwrap();
        assert_eq!(text.matches("| a    | 5").count(), 3, "{text}");
        assert_eq!(text.matches("| b    | 7").count(), 1, "{text}");
    }

    #[test]
    fn nothing_has_a_count_and_a_sum_but_no_mean() {
        let none = || table(1).filter(lit(false).and(col("y").gt(lit(9.0)))).unwrap();
        let sum =
            aggregate("sum", field(DataType::Float64, false)).unwrap().call(vec![col("y")]).alias("sum");
        let count =
            aggregate("count", field(DataType::Int64, false)).unwrap().call(vec![lit(1i64)]).alias("count");
        let text = run(none().aggregate(vec![], vec![sum, count]).unwrap()).unwrap();
        assert!(text.contains("| 0.0 | 0 "), "{text}");
        let mean = aggregate("mean", field(DataType::Float64, false)).unwrap().call(vec![col("y")]);
        assert_eq!(run(none().aggregate(vec![], vec![mean]).unwrap()).unwrap_err().code(), "E2103");
        assert!(aggregate("average", field(DataType::Float64, false)).is_err());
    }

    #[test]
    fn sums_are_checked() {
        let most = call("sum", DataType::Int64, vec![lit(i64::MAX)]);
        assert_eq!(run(table(1).aggregate(vec![], vec![most]).unwrap()).unwrap_err().code(), "E2103");
    }
}
