//! Functions of lists. Places count from 0; `len` and `slice` also take texts, `min` and `max` also values of one row.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StringArray, UInt64Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, FieldRef};
use arrow::row::{RowConverter, Rows, SortField};

use super::records::{Present, conform, lists, texts, whole};
use super::{Body, Call, numbers, text};
use crate::aggregates::numeric::{Number, build, is_whole};
use crate::aggregates::statistics::{Found, Values, Wanted};
use crate::error::EngineError;

pub(super) fn body(name: &str) -> Option<Body> {
    Some(match name {
        "len" => len,
        "slice" => slice,
        "first" => |call| element(call, |_, len| if len > 0 { Some(0) } else { None }),
        "last" => |call| element(call, |_, len| len.checked_sub(1)),
        "nth" => nth,
        "flatten" => flatten,
        "distinct" => distinct,
        "sort" => sort,
        "reverse" => |call| reorder(call, |range, into| into.extend(range.rev().map(|idx| idx as u64))),
        "any" => |call| bools(call, true),
        "all" => |call| bools(call, false),
        "list_contains" => list_contains,
        "make_list" => make_list,
        "min" => |call| {
            if call.args.len() > 1 { numbers::extreme(call, Ordering::Less) } else { statistic(call, "min") }
        },
        "max" => |call| {
            if call.args.len() > 1 {
                numbers::extreme(call, Ordering::Greater)
            } else {
                statistic(call, "max")
            }
        },
        "sum" => |call| statistic(call, "sum"),
        "mean" => |call| statistic(call, "mean"),
        "median" => |call| statistic(call, "median"),
        "stddev" => |call| statistic(call, "stddev"),
        "mad" => |call| statistic(call, "mad"),
        "quantile" => |call| statistic(call, "quantile"),
        "p50" => |call| statistic(call, "p50"),
        "p90" => |call| statistic(call, "p90"),
        "p95" => |call| statistic(call, "p95"),
        "p99" => |call| statistic(call, "p99"),
        _ => return None,
    })
}

/// Where the elements of a row stand among all; empty for a null row.
pub(super) fn range(list: &ListArray, row: usize) -> Range<usize> {
    if list.is_null(row) {
        return 0..0;
    }
    list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize
}

fn item(call: &Call<'_>) -> Result<FieldRef, EngineError> {
    match call.result.data_type() {
        DataType::List(item) => Ok(item.clone()),
        other => Err(EngineError::internal("lists", format!("a list into {other}"))),
    }
}

/// A list column of elements of `values`, `lengths[row]` a row.
fn list_of(
    call: &Call<'_>,
    values: &ArrayRef,
    places: Vec<u64>,
    lengths: Vec<usize>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EngineError> {
    let item = item(call)?;
    let taken = conform(take(values, &UInt64Array::from(places), None)?, item.data_type())?;
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), taken, nulls)?))
}

/// Lists whose elements are chosen by `pick` from the range of each row.
fn reorder(
    call: &Call<'_>,
    mut pick: impl FnMut(Range<usize>, &mut Vec<u64>),
) -> Result<ArrayRef, EngineError> {
    let (list, present) = (lists(call, 0)?, Present::of(call));
    let (mut places, mut lengths) = (Vec::new(), Vec::with_capacity(call.rows));
    for row in 0..call.rows {
        let before = places.len();
        if present.has(row) {
            pick(range(&list, row), &mut places);
        }
        lengths.push(places.len() - before);
    }
    list_of(call, list.values(), places, lengths, present.nulls())
}

fn is_list(call: &Call<'_>) -> bool {
    matches!(call.args[0].data_type(), DataType::List(_))
}

fn len(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    if !is_list(call) {
        return text::character_count(call);
    }
    let list = lists(call, 0)?;
    let counts = (0..call.rows).map(|row| list.is_valid(row).then(|| i64::from(list.value_length(row))));
    Ok(Arc::new(counts.collect::<Int64Array>()))
}

/// Places outside of the text or list are moved to its ends.
fn slice(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let (from, to, present) = (whole(call, 1)?, whole(call, 2)?, Present::of(call));
    let place =
        |places: &Int64Array, row: usize| usize::try_from(places.value(row).max(0)).unwrap_or(usize::MAX);
    if !is_list(call) {
        let text = texts(call, 0)?;
        let cut = |row: usize| text::characters(text.value(row), place(&from, row), place(&to, row));
        return Ok(Arc::new(
            (0..call.rows).map(|row| present.has(row).then(|| cut(row))).collect::<StringArray>(),
        ));
    }
    let list = lists(call, 0)?;
    let (mut places, mut lengths) = (Vec::new(), Vec::with_capacity(call.rows));
    for row in 0..call.rows {
        let before = places.len();
        if present.has(row) {
            let range = range(&list, row);
            let end = range.start + place(&to, row).min(range.len());
            let start = range.start + place(&from, row).min(range.len());
            places.extend((start..end).map(|idx| idx as u64));
        }
        lengths.push(places.len() - before);
    }
    list_of(call, list.values(), places, lengths, present.nulls())
}

/// One element a row: `pick` gives its place from the row and the length of the list.
fn element(call: &Call<'_>, pick: impl Fn(usize, usize) -> Option<usize>) -> Result<ArrayRef, EngineError> {
    let (list, present) = (lists(call, 0)?, Present::of(call));
    let place = |row: usize| {
        let range = range(&list, row);
        let place = pick(row, range.len()).filter(|place| present.has(row) && *place < range.len())?;
        Some((range.start + place) as u64)
    };
    let places: UInt64Array = (0..call.rows).map(place).collect();
    conform(take(list.values(), &places, None)?, call.result.data_type())
}

/// Null for a place that the list does not have.
fn nth(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let wanted = whole(call, 1)?;
    element(call, |row, _| if wanted.is_valid(row) { usize::try_from(wanted.value(row)).ok() } else { None })
}

fn flatten(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let outer = lists(call, 0)?;
    let Some(inner) = outer.values().as_list_opt::<i32>() else {
        return Ok(new_null_array(call.result.data_type(), call.rows));
    };
    let (mut places, mut lengths) = (Vec::new(), Vec::with_capacity(call.rows));
    for row in 0..call.rows {
        let before = places.len();
        places.extend(range(&outer, row).flat_map(|idx| range(inner, idx)).map(|idx| idx as u64));
        lengths.push(places.len() - before);
    }
    list_of(call, inner.values(), places, lengths, outer.nulls().cloned())
}

/// Elements as bytes that are equal and ordered as the elements are, nulls last.
pub(super) fn encoded(values: &ArrayRef) -> Result<Rows, EngineError> {
    let options = arrow::compute::SortOptions { descending: false, nulls_first: false };
    let converter =
        RowConverter::new(vec![SortField::new_with_options(values.data_type().clone(), options)])?;
    Ok(converter.convert_columns(std::slice::from_ref(values))?)
}

fn distinct(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let rows = encoded(lists(call, 0)?.values())?;
    reorder(call, |range, into| {
        let mut seen = BTreeSet::new();
        into.extend(range.filter(|idx| seen.insert(rows.row(*idx))).map(|idx| idx as u64));
    })
}

/// Elements in order, nulls last; equal elements keep theirs.
fn sort(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let rows = encoded(lists(call, 0)?.values())?;
    reorder(call, |range, into| {
        let mut places: Vec<usize> = range.collect();
        places.sort_by(|left, right| rows.row(*left).cmp(&rows.row(*right)));
        into.extend(places.into_iter().map(|idx| idx as u64));
    })
}

/// The sought value if an element has it, else the other one: `true` makes `any` of it, `false` makes `all`. Nulls are skipped.
fn bools(call: &Call<'_>, sought: bool) -> Result<ArrayRef, EngineError> {
    let list = lists(call, 0)?;
    let values = conform(list.values().clone(), &DataType::Boolean)?;
    let values = values.as_boolean();
    let has = |row: usize| range(&list, row).any(|idx| values.is_valid(idx) && values.value(idx) == sought);
    let found = (0..call.rows).map(|row| list.is_valid(row).then(|| has(row) == sought));
    Ok(Arc::new(found.collect::<BooleanArray>()))
}

fn list_contains(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let (list, present) = (lists(call, 0)?, Present::of(call));
    if list.values().data_type() == &DataType::Null {
        let found = (0..call.rows).map(|row| present.has(row).then_some(false));
        return Ok(Arc::new(found.collect::<BooleanArray>()));
    }
    let elements = encoded(list.values())?;
    let wanted = encoded(&conform(call.args[1].clone(), list.values().data_type())?)?;
    let has = |row: usize| range(&list, row).any(|idx| elements.row(idx) == wanted.row(row));
    Ok(Arc::new((0..call.rows).map(|row| present.has(row).then(|| has(row))).collect::<BooleanArray>()))
}

fn make_list(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let item = item(call)?;
    let columns: Result<Vec<ArrayRef>, EngineError> =
        call.args.iter().map(|column| conform(column.clone(), item.data_type())).collect();
    let columns = columns?;
    let places: Vec<(usize, usize)> =
        (0..call.rows).flat_map(|row| (0..columns.len()).map(move |column| (column, row))).collect();
    let values = match columns.as_slice() {
        [] => arrow::array::new_empty_array(item.data_type()),
        columns => interleave(&columns.iter().map(AsRef::as_ref).collect::<Vec<_>>(), &places)?,
    };
    let lengths = std::iter::repeat_n(columns.len(), call.rows);
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, None)?))
}

/// An aggregate of the elements of each list: null without elements, but 0 for a sum.
fn statistic(call: &Call<'_>, function: &str) -> Result<ArrayRef, EngineError> {
    let (list, present) = (lists(call, 0)?, Present::of(call));
    let ty = call.result.data_type();
    if list.values().data_type() == &DataType::Null && function != "sum" {
        return Ok(new_null_array(ty, call.rows));
    }
    let shares =
        if function == "quantile" { Some(conform(call.args[1].clone(), &DataType::Float64)?) } else { None };
    let values = Values::new(list.values())?;
    let mut wanted = Wanted { function: function.to_owned(), share: None, is_whole: is_whole(ty) };
    let mut numbers: Vec<Option<Number>> = Vec::with_capacity(call.rows);
    let mut places: Vec<Option<u64>> = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        wanted.share =
            shares.as_ref().map(|shares| shares.as_primitive::<arrow::datatypes::Float64Type>().value(row));
        let found = if present.has(row) { values.find(&wanted, range(&list, row))? } else { Found::Nothing };
        let number = match found {
            Found::Computed(number) => Some(number),
            Found::Nothing if function == "sum" && present.has(row) => Some(Number::Whole(0)),
            _ => None,
        };
        numbers.push(number);
        places.push(if let Found::At(idx) = found { Some(idx as u64) } else { None });
    }
    if matches!(function, "min" | "max" | "quantile" | "p50" | "p90" | "p95" | "p99") {
        return conform(take(list.values(), &UInt64Array::from(places), None)?, ty);
    }
    let shown = numbers.clone();
    build(numbers, ty, |row| match shown[row] {
        Some(number) => format!("{number}, of {} elements,", range(&list, row).len()),
        None => "null".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::records::tests::{int, ints, run, text};
    use super::*;
    use arrow::array::Float64Array;
    use arrow::datatypes::{Field, Int64Type};

    fn list_type() -> DataType {
        DataType::List(Arc::new(Field::new("item", DataType::Int64, true)))
    }

    fn some(values: &[i64]) -> Option<Vec<Option<i64>>> {
        Some(values.iter().map(|value| Some(*value)).collect())
    }

    fn sample() -> ArrayRef {
        ints(vec![some(&[3, 1, 3]), None, some(&[]), Some(vec![None, Some(2)])])
    }

    #[test]
    fn elements() {
        assert_eq!(
            &run("len", vec![sample()], DataType::Int64).unwrap(),
            &int(&[Some(3), None, Some(0), Some(2)])
        );
        assert_eq!(
            &run("len", vec![text(&[Some("äb"), None])], DataType::Int64).unwrap(),
            &int(&[Some(2), None])
        );
        assert_eq!(
            &run("first", vec![sample()], DataType::Int64).unwrap(),
            &int(&[Some(3), None, None, None])
        );
        assert_eq!(
            &run("last", vec![sample()], DataType::Int64).unwrap(),
            &int(&[Some(3), None, None, Some(2)])
        );
        let places = int(&[Some(1), Some(0), Some(0), Some(-1)]);
        assert_eq!(
            &run("nth", vec![sample(), places], DataType::Int64).unwrap(),
            &int(&[Some(1), None, None, None])
        );
        let wanted = int(&[Some(1), Some(1), Some(1), Some(2)]);
        let found = run("list_contains", vec![sample(), wanted], DataType::Boolean).unwrap();
        let expected: ArrayRef =
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]));
        assert_eq!(&found, &expected);
    }

    #[test]
    fn new_orders() {
        let of = |name: &str| run(name, vec![sample()], list_type()).unwrap();
        assert_eq!(&of("sort"), &ints(vec![some(&[1, 3, 3]), None, some(&[]), Some(vec![Some(2), None])]));
        assert_eq!(&of("distinct"), &ints(vec![some(&[3, 1]), None, some(&[]), Some(vec![None, Some(2)])]));
        assert_eq!(&of("reverse"), &ints(vec![some(&[3, 1, 3]), None, some(&[]), Some(vec![Some(2), None])]));
        // The same over a part of an array.
        assert_eq!(&run("sort", vec![sample().slice(3, 1)], list_type()).unwrap(), &of("sort").slice(3, 1));
    }

    #[test]
    fn slices_stay_inside() {
        let places = |from: i64, to: i64| [int(&[Some(from); 4]), int(&[Some(to); 4])];
        let cut = |from: i64, to: i64| {
            let [from, to] = places(from, to);
            run("slice", vec![sample(), from, to], list_type()).unwrap()
        };
        assert_eq!(&cut(1, 9), &ints(vec![some(&[1, 3]), None, some(&[]), some(&[2])]));
        assert_eq!(&cut(-3, 1), &ints(vec![some(&[3]), None, some(&[]), Some(vec![None])]));
        assert_eq!(&cut(2, 1), &ints(vec![some(&[]), None, some(&[]), some(&[])]));
        let one = |from: i64, to: i64| {
            let args = vec![text(&[Some("aäöz")]), int(&[Some(from)]), int(&[Some(to)])];
            run("slice", args, DataType::Utf8).unwrap()
        };
        assert_eq!(&one(1, 3), &text(&[Some("äö")]));
        assert_eq!(&one(-1, 99), &text(&[Some("aäöz")]));
        assert_eq!(&one(3, 1), &text(&[Some("")]));
    }

    #[test]
    fn lists_of_lists_and_new_lists() {
        let made =
            run("make_list", vec![int(&[Some(1), None]), int(&[Some(2), Some(3)])], list_type()).unwrap();
        assert_eq!(&made, &ints(vec![some(&[1, 2]), Some(vec![None, Some(3)])]));
        let item = Arc::new(Field::new("item", list_type(), true));
        let nested: ArrayRef = Arc::new(crate::arrays::list_of(item, sample(), [3, 1].into_iter()));
        let flat = run("flatten", vec![nested], list_type()).unwrap();
        assert_eq!(&flat, &ints(vec![some(&[3, 1, 3]), Some(vec![None, Some(2)])]));
    }

    #[test]
    fn aggregates_of_elements() {
        let whole = |name: &str| run(name, vec![sample()], DataType::Int64).unwrap();
        assert_eq!(&whole("sum"), &int(&[Some(7), None, Some(0), Some(2)]));
        assert_eq!(&whole("min"), &int(&[Some(1), None, None, Some(2)]));
        assert_eq!(&whole("max"), &int(&[Some(3), None, None, Some(2)]));
        assert_eq!(&whole("p50"), &int(&[Some(3), None, None, Some(2)]));
        let share: ArrayRef = Arc::new(Float64Array::from(vec![0.1; 4]));
        let low = run("quantile", vec![sample(), share], DataType::Int64).unwrap();
        assert_eq!(low.as_primitive::<Int64Type>().value(0), 1);
        let mean = run("mean", vec![sample()], DataType::Float64).unwrap();
        let expected: ArrayRef = Arc::new(Float64Array::from(vec![Some(7.0 / 3.0), None, None, Some(2.0)]));
        assert_eq!(&mean, &expected);
        let most = ints(vec![some(&[i64::MAX, 1])]);
        assert_eq!(run("sum", vec![most], DataType::Int64).unwrap_err().code(), "E2103");
    }

    #[test]
    fn any_and_all_skip_nulls() {
        let item = Arc::new(Field::new("item", DataType::Boolean, true));
        let values: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), None]));
        let list: ArrayRef = Arc::new(crate::arrays::list_of(item, values, [2, 2, 0].into_iter()));
        let of = |name: &str| run(name, vec![list.clone()], DataType::Boolean).unwrap();
        let expect = |values: [bool; 3]| -> ArrayRef { Arc::new(BooleanArray::from(values.to_vec())) };
        assert_eq!(&of("any"), &expect([true, false, false]));
        assert_eq!(&of("all"), &expect([true, false, true]));
    }
}
