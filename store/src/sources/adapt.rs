//! Batches of Parquet and Lance to the declared columns, and the rows in them that are bad.
//!
//! A stored column is accepted as a declared one if the language would convert it without asking (integers to wider ones,
//! floats to wider ones, enum to text) or if only Arrow's form differs (views, large offsets). Nulls in non-null columns,
//! NaN, and values over the bound make a row bad; the other rows of the batch stay.

use super::convert::type_name;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, ListArray, MapArray, StructArray,
    new_null_array,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Float16Type, Float32Type, Float64Type, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use std::sync::Arc;

/// Whether a stored column can be read as a declared one; the error says what is stored.
pub(super) fn check(stored: &Field, declared: &Field) -> Result<(), String> {
    if accepts(stored.data_type(), declared.data_type()) {
        return Ok(());
    }
    let (wanted, found) = (type_name(declared.data_type()), type_name(stored.data_type()));
    Err(format!("declared as {wanted}, the file has {found}"))
}

fn accepts(stored: &DataType, declared: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Date32, Dictionary, FixedSizeList, Float16, Float32, Float64, Int8, Int16, Int32,
        Int64, LargeBinary, LargeList, LargeUtf8, List, Map, Struct, Timestamp, UInt8, UInt16, UInt32,
        UInt64, Utf8, Utf8View,
    };
    match (stored, declared) {
        (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) => true,
        (UInt8, UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64) => true,
        (UInt16, UInt32 | UInt64 | Int32 | Int64) | (UInt32, UInt64 | Int64) => true,
        (Float16, Float32 | Float64) | (Float32, Float64) => true,
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Dictionary(..)) => true,
        (Dictionary(_, value), Utf8 | LargeUtf8 | Dictionary(..)) => {
            matches!(**value, Utf8 | LargeUtf8 | Utf8View)
        }
        (Binary | LargeBinary | BinaryView, Binary) | (Date32, Date32) => true,
        (Timestamp(_, stored), Timestamp(TimeUnit::Microsecond, _)) => stored.is_some(),
        (List(stored) | LargeList(stored), List(declared)) => {
            accepts(stored.data_type(), declared.data_type())
        }
        (FixedSizeList(stored, length), FixedSizeList(declared, wanted)) => {
            length == wanted && accepts(stored.data_type(), declared.data_type())
        }
        (Struct(stored), Struct(declared)) => declared.iter().all(|field| match stored.find(field.name()) {
            Some((_, found)) => accepts(found.data_type(), field.data_type()),
            None => field.is_nullable(),
        }),
        (Map(stored, _), Map(declared, _)) => match (stored.data_type(), declared.data_type()) {
            (Struct(stored), Struct(declared)) => stored
                .iter()
                .zip(declared)
                .all(|(stored, declared)| accepts(stored.data_type(), declared.data_type())),
            _ => false,
        },
        (stored, declared) => stored == declared,
    }
}

/// The good rows of a stored batch as the declared columns, which of its rows they are, and the bad rows with the reason.
pub(super) struct Adapted {
    pub(super) batch: RecordBatch,
    pub(super) good: Vec<usize>,
    pub(super) bad: Vec<(usize, String)>,
}

/// Projects, checks and converts one stored batch.
pub(super) fn adapt(
    batch: &RecordBatch,
    declared: &SchemaRef,
    bytes_max: u64,
) -> Result<Adapted, ArrowError> {
    let row_count = batch.num_rows();
    let mut faults: Vec<Option<String>> = vec![None; row_count];
    for field in declared.fields() {
        if let Some(column) = batch.column_by_name(field.name()) {
            find_faults(column, field, &mut faults);
        }
    }
    find_long_rows(batch, declared, bytes_max, &mut faults);
    let is_good: BooleanArray = faults.iter().map(|fault| Some(fault.is_none())).collect();
    let good: Vec<usize> = (0..row_count).filter(|row| faults[*row].is_none()).collect();
    let bad = faults.into_iter().enumerate().filter_map(|(row, fault)| Some((row, fault?))).collect();
    let kept = if good.len() == row_count { batch.clone() } else { filter_record_batch(batch, &is_good)? };
    let columns = declared
        .fields()
        .iter()
        .map(|field| match kept.column_by_name(field.name()) {
            Some(column) => convert(column, field),
            None => Ok(new_null_array(field.data_type(), kept.num_rows())),
        })
        .collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
    Ok(Adapted { batch: RecordBatch::try_new_with_options(declared.clone(), columns, &options)?, good, bad })
}

/// Notes rows with a null where none may be, or with NaN, also inside lists and records.
fn find_faults(column: &ArrayRef, field: &Field, faults: &mut [Option<String>]) {
    let mut note = |row: usize, what: &str| {
        faults[row].get_or_insert_with(|| format!("column `{}`: {what}", field.name()));
    };
    // A type that holds neither inner nulls nor floats needs no look at its rows.
    let may_nan = holds_float(field.data_type());
    for row in 0..column.len() {
        if column.is_null(row) {
            if !field.is_nullable() {
                note(row, "null in a column that is not nullable");
            }
        } else if (may_nan || column.data_type().is_nested())
            && let Some(what) = inner_fault(column, row, field)
        {
            note(row, what);
        }
    }
}

fn holds_float(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::FixedSizeList(item, _) | DataType::Map(item, _) => {
            holds_float(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| holds_float(field.data_type())),
        other => other.is_floating(),
    }
}

fn inner_fault(column: &ArrayRef, row: usize, field: &Field) -> Option<&'static str> {
    let each = |items: &ArrayRef, item: &Field| {
        // Floats in bulk: most of what is read this way are vectors.
        if item.data_type().is_floating() && items.null_count() == 0 {
            return has_nan(items).then_some("NaN is not a value");
        }
        (0..items.len()).find_map(|idx| match items.is_null(idx) {
            true => (!item.is_nullable()).then_some("null among elements that are not nullable"),
            false => inner_fault(items, idx, item),
        })
    };
    match (column.data_type(), field.data_type()) {
        (DataType::List(_), DataType::List(item)) => each(&column.as_list::<i32>().value(row), item),
        (DataType::LargeList(_), DataType::List(item)) => each(&column.as_list::<i64>().value(row), item),
        (DataType::FixedSizeList(..), DataType::FixedSizeList(item, _)) => {
            each(&column.as_fixed_size_list().value(row), item)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => fields.iter().find_map(|field| {
            let member = column.as_struct().column_by_name(field.name())?;
            match member.is_null(row) {
                true => (!field.is_nullable()).then_some("null in a field that is not nullable"),
                false => inner_fault(member, row, field),
            }
        }),
        (stored, _) if stored.is_floating() => has_nan(&column.slice(row, 1)).then_some("NaN is not a value"),
        _ => None,
    }
}

fn has_nan(floats: &ArrayRef) -> bool {
    match floats.data_type() {
        DataType::Float16 => floats.as_primitive::<Float16Type>().values().iter().any(|value| value.is_nan()),
        DataType::Float32 => floats.as_primitive::<Float32Type>().values().iter().any(|value| value.is_nan()),
        DataType::Float64 => floats.as_primitive::<Float64Type>().values().iter().any(|value| value.is_nan()),
        _ => false,
    }
}

/// Notes rows whose texts and bytes together are over the bound.
fn find_long_rows(batch: &RecordBatch, declared: &SchemaRef, bytes_max: u64, faults: &mut [Option<String>]) {
    let mut bytes = vec![0u64; batch.num_rows()];
    for field in declared.fields() {
        let Some(column) = batch.column_by_name(field.name()) else { continue };
        let mut add = |row: usize, count: usize| bytes[row] += count as u64;
        match column.data_type() {
            DataType::Utf8 => {
                column.as_string::<i32>().iter().enumerate().for_each(|(row, text)| add(row, len(text)))
            }
            DataType::LargeUtf8 => {
                column.as_string::<i64>().iter().enumerate().for_each(|(row, text)| add(row, len(text)));
            }
            DataType::Utf8View => {
                column.as_string_view().iter().enumerate().for_each(|(row, text)| add(row, len(text)))
            }
            DataType::Binary => {
                let values = column.as_binary::<i32>().iter();
                values.enumerate().for_each(|(row, value)| add(row, value.map_or(0, <[u8]>::len)));
            }
            _ => {}
        }
    }
    for (row, bytes) in bytes.into_iter().enumerate().filter(|(_, bytes)| *bytes > bytes_max) {
        faults[row].get_or_insert_with(|| super::lines::too_long(bytes, bytes_max));
    }
}

fn len(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}

/// The stored column as exactly the declared type, nullability of inner fields included. Faulty rows are gone already.
fn convert(column: &ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    let declared = field.data_type();
    if column.data_type() == declared {
        return Ok(column.clone());
    }
    Ok(match (column.data_type(), declared) {
        (DataType::LargeList(item), DataType::List(_)) => {
            let small = cast(column, &DataType::List(item.clone()))?;
            return convert(&small, field);
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = column.as_list::<i32>();
            let values = convert(list.values(), item)?;
            Arc::new(ListArray::try_new(item.clone(), list.offsets().clone(), values, list.nulls().cloned())?)
        }
        (DataType::FixedSizeList(..), DataType::FixedSizeList(item, length)) => {
            let list = column.as_fixed_size_list();
            let values = convert(list.values(), item)?;
            Arc::new(FixedSizeListArray::try_new(item.clone(), *length, values, list.nulls().cloned())?)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let record = column.as_struct();
            let columns = members(record, fields)?;
            let nulls = record.nulls().cloned();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, record.len())?)
        }
        (DataType::Map(..), DataType::Map(entries, is_sorted)) => {
            let map = column.as_map();
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(ArrowError::SchemaError("entries of a map are not a record".into()));
            };
            let columns = vec![convert(map.keys(), &fields[0])?, convert(map.values(), &fields[1])?];
            let pairs = StructArray::try_new(fields.clone(), columns, None)?;
            let nulls = map.nulls().cloned();
            Arc::new(MapArray::try_new(entries.clone(), map.offsets().clone(), pairs, nulls, *is_sorted)?)
        }
        _ => cast(column, declared)?,
    })
}

fn members(record: &StructArray, fields: &Fields) -> Result<Vec<ArrayRef>, ArrowError> {
    fields
        .iter()
        .map(|field| match record.column_by_name(field.name()) {
            Some(member) => convert(member, field),
            None => Ok(new_null_array(field.data_type(), record.len())),
        })
        .collect()
}
