//! The answers as values of SQL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, ListArray, StructArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use crate::sql::stats::{ChangePoint, Interval, MannWhitney, PairedTest, TheilSen};

/// A struct of numbers, the last `counts` of them whole.
pub(super) fn struct_type(numbers: &[&str], counts: &[&str]) -> DataType {
    let numbers = numbers.iter().map(|name| Field::new(*name, DataType::Float64, true));
    let counts = counts.iter().map(|name| Field::new(*name, DataType::UInt32, true));
    DataType::Struct(numbers.chain(counts).collect())
}

pub(super) fn paired_test_type() -> DataType {
    struct_type(&["rel", "p", "ci_low", "ci_high"], &["pair_count", "needed_pairs", "dropped_count"])
}

pub(super) fn bootstrap_type() -> DataType {
    struct_type(&["low", "mid", "high"], &["dropped_count"])
}

pub(super) fn mann_whitney_type() -> DataType {
    struct_type(&["u", "z", "p", "rel"], &["dropped_count"])
}

pub(super) fn theil_sen_type() -> DataType {
    struct_type(&["slope", "low", "high", "p"], &["dropped_count"])
}

pub(super) fn change_points_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Struct(change_point_fields()), true)))
}

/// The columns of a change point.
pub(super) fn change_point_fields() -> Fields {
    let numbers =
        ["rel", "p", "mean_before", "mean_after"].map(|name| Field::new(name, DataType::Float64, true));
    [Field::new("seq", DataType::UInt32, true)].into_iter().chain(numbers).collect()
}

pub(super) fn paired_test(test: PairedTest) -> Result<ScalarValue> {
    let numbers = [test.rel, test.p, test.ci_low, test.ci_high];
    one_struct(&paired_test_type(), &numbers, &[test.pair_count, test.needed_pairs, test.dropped_count])
}

pub(super) fn bootstrap(interval: Interval, dropped_count: u32) -> Result<ScalarValue> {
    one_struct(&bootstrap_type(), &[interval.low, interval.mid, interval.high], &[dropped_count])
}

pub(super) fn mann_whitney(test: MannWhitney) -> Result<ScalarValue> {
    one_struct(&mann_whitney_type(), &[test.u, test.z, test.p, test.rel], &[test.dropped_count])
}

pub(super) fn theil_sen(line: TheilSen) -> Result<ScalarValue> {
    one_struct(&theil_sen_type(), &[line.slope, line.low, line.high, line.p], &[line.dropped_count])
}

pub(super) fn change_points(points: &[ChangePoint]) -> Result<ScalarValue> {
    let numbers = |of: fn(&ChangePoint) -> f64| -> ArrayRef {
        Arc::new(points.iter().map(|point| number(of(point))).collect::<Float64Array>())
    };
    let seqs: ArrayRef = Arc::new(points.iter().map(|point| Some(point.seq)).collect::<UInt32Array>());
    let columns = vec![
        seqs,
        numbers(|point| point.rel),
        numbers(|point| point.p),
        numbers(|point| point.mean_before),
        numbers(|point| point.mean_after),
    ];
    let fields = change_point_fields();
    let rows = StructArray::try_new_with_length(fields.clone(), columns, None, points.len())?;
    let item = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
    let list = ListArray::try_new(item, OffsetBuffer::from_lengths([rows.len()]), Arc::new(rows), None)?;
    Ok(ScalarValue::List(Arc::new(list)))
}

/// SQL orders a number that is none above all others, where it would pass for a huge one: it is null.
fn number(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
}

fn one_struct(ty: &DataType, numbers: &[f64], counts: &[u32]) -> Result<ScalarValue> {
    let DataType::Struct(fields) = ty else {
        return datafusion::common::internal_err!("{ty} is no struct");
    };
    let numbers =
        numbers.iter().map(|value| -> ArrayRef { Arc::new(Float64Array::from(vec![number(*value)])) });
    let counts = counts.iter().map(|count| -> ArrayRef { Arc::new(UInt32Array::from(vec![*count])) });
    let rows = StructArray::try_new(fields.clone(), numbers.chain(counts).collect(), None)?;
    Ok(ScalarValue::Struct(Arc::new(rows)))
}
