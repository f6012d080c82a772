//! Typed values of one column to one Arrow array.
//!
//! The values were checked against the column's type, so the only error left is a fault of ours.

use super::datum::Datum;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray,
    LargeStringArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, DurationNanosecondType, Field, Fields, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use std::sync::Arc;

/// The array of `field` that holds `values`.
pub(crate) fn array(field: &Field, values: Vec<Datum>) -> Result<ArrayRef, ArrowError> {
    Ok(match field.data_type() {
        DataType::Boolean => Arc::new(values.iter().map(as_bool).collect::<BooleanArray>()),
        DataType::Int8 => integers::<Int8Type>(field, &values, |integer| integer as i8),
        DataType::Int16 => integers::<Int16Type>(field, &values, |integer| integer as i16),
        DataType::Int32 => integers::<Int32Type>(field, &values, |integer| integer as i32),
        DataType::Int64 => integers::<Int64Type>(field, &values, |integer| integer as i64),
        DataType::UInt8 => integers::<UInt8Type>(field, &values, |integer| integer as u8),
        DataType::UInt16 => integers::<UInt16Type>(field, &values, |integer| integer as u16),
        DataType::UInt32 => integers::<UInt32Type>(field, &values, |integer| integer as u32),
        DataType::UInt64 => integers::<UInt64Type>(field, &values, |integer| integer as u64),
        DataType::Date32 => integers::<Date32Type>(field, &values, |integer| integer as i32),
        DataType::Timestamp(..) => {
            integers::<TimestampMicrosecondType>(field, &values, |integer| integer as i64)
        }
        DataType::Duration(_) => integers::<DurationNanosecondType>(field, &values, |integer| integer as i64),
        DataType::Float16 => {
            floats::<Float16Type>(&values, <Float16Type as ArrowPrimitiveType>::Native::from_f64)
        }
        DataType::Float32 => floats::<Float32Type>(&values, |float| float as f32),
        DataType::Float64 => floats::<Float64Type>(&values, |float| float),
        DataType::Utf8 => Arc::new(values.iter().map(as_text).collect::<StringArray>()),
        DataType::LargeUtf8 => Arc::new(values.iter().map(as_text).collect::<LargeStringArray>()),
        DataType::Dictionary(..) => {
            Arc::new(values.iter().map(as_text).collect::<DictionaryArray<Int32Type>>())
        }
        DataType::Binary => Arc::new(values.iter().map(as_bytes).collect::<BinaryArray>()),
        DataType::FixedSizeBinary(length) => Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(
            values.iter().map(as_bytes),
            *length,
        )?),
        DataType::List(item) => Arc::new(list(item, values)?),
        DataType::FixedSizeList(item, length) => Arc::new(vectors(item, *length, values)?),
        DataType::Struct(fields) => Arc::new(records(fields, values)?),
        DataType::Map(entries, is_sorted) => Arc::new(maps(entries, *is_sorted, values)?),
        other => return Err(ArrowError::NotYetImplemented(format!("column of type {other}"))),
    })
}

fn as_bool(value: &Datum) -> Option<bool> {
    if let Datum::Bool(value) = value { Some(*value) } else { None }
}

fn as_text(value: &Datum) -> Option<&str> {
    if let Datum::Text(text) = value { Some(text) } else { None }
}

fn as_bytes(value: &Datum) -> Option<&[u8]> {
    if let Datum::Bytes(bytes) = value { Some(bytes) } else { None }
}

fn integers<T: ArrowPrimitiveType>(
    field: &Field,
    values: &[Datum],
    narrow: impl Fn(i128) -> T::Native,
) -> ArrayRef {
    let native = |value: &Datum| if let Datum::Int(integer) = value { Some(narrow(*integer)) } else { None };
    let array: PrimitiveArray<T> = values.iter().map(native).collect();
    // The time zone of a timestamp is part of its type.
    Arc::new(array.with_data_type(field.data_type().clone()))
}

fn floats<T: ArrowPrimitiveType>(values: &[Datum], narrow: impl Fn(f64) -> T::Native) -> ArrayRef {
    let native = |value: &Datum| if let Datum::Float(float) = value { Some(narrow(*float)) } else { None };
    Arc::new(values.iter().map(native).collect::<PrimitiveArray<T>>())
}

fn validity(values: &[Datum]) -> Option<NullBuffer> {
    let nulls: NullBuffer = values.iter().map(|value| *value != Datum::Null).collect::<Vec<_>>().into();
    (nulls.null_count() > 0).then_some(nulls)
}

fn list(item: &Arc<Field>, values: Vec<Datum>) -> Result<ListArray, ArrowError> {
    let nulls = validity(&values);
    let mut lengths = Vec::with_capacity(values.len());
    let mut items = Vec::new();
    for value in values {
        let before = items.len();
        if let Datum::List(mut elements) = value {
            items.append(&mut elements);
        }
        lengths.push(items.len() - before);
    }
    ListArray::try_new(item.clone(), OffsetBuffer::from_lengths(lengths), array(item, items)?, nulls)
}

fn vectors(item: &Arc<Field>, length: i32, values: Vec<Datum>) -> Result<FixedSizeListArray, ArrowError> {
    let nulls = validity(&values);
    let mut items = Vec::with_capacity(values.len() * length as usize);
    for value in values {
        match value {
            Datum::List(mut elements) => items.append(&mut elements),
            _ => items.extend((0..length).map(|_| Datum::Null)),
        }
    }
    FixedSizeListArray::try_new(item.clone(), length, array(item, items)?, nulls)
}

fn records(fields: &Fields, values: Vec<Datum>) -> Result<StructArray, ArrowError> {
    let nulls = validity(&values);
    let row_count = values.len();
    let mut columns: Vec<Vec<Datum>> = fields.iter().map(|_| Vec::with_capacity(row_count)).collect();
    for value in values {
        match value {
            Datum::Record(members) => {
                columns.iter_mut().zip(members).for_each(|(column, member)| column.push(member))
            }
            _ => columns.iter_mut().for_each(|column| column.push(Datum::Null)),
        }
    }
    let columns =
        fields.iter().zip(columns).map(|(field, column)| array(field, column)).collect::<Result<_, _>>()?;
    StructArray::try_new_with_length(fields.clone(), columns, nulls, row_count)
}

fn maps(entries: &Arc<Field>, is_sorted: bool, values: Vec<Datum>) -> Result<MapArray, ArrowError> {
    let nulls = validity(&values);
    let mut lengths = Vec::with_capacity(values.len());
    let (mut keys, mut mapped) = (Vec::new(), Vec::new());
    for value in values {
        let before = keys.len();
        if let Datum::Map(pairs) = value {
            for (key, value) in pairs {
                keys.push(key);
                mapped.push(value);
            }
        }
        lengths.push(keys.len() - before);
    }
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ArrowError::SchemaError("entries of a map are not a record".into()));
    };
    let columns = vec![array(&fields[0], keys)?, array(&fields[1], mapped)?];
    let pairs = StructArray::try_new(fields.clone(), columns, None)?;
    MapArray::try_new(entries.clone(), OffsetBuffer::from_lengths(lengths), pairs, nulls, is_sorted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Array;

    #[test]
    fn nulls_inside_nested_columns_stay_where_they_are() {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let vector = Field::new("v", DataType::FixedSizeList(item, 2), true);
        let pair = |left, right| Datum::List(vec![Datum::Float(left), Datum::Float(right)]);
        let built = array(&vector, vec![pair(1.0, 2.0), Datum::Null, pair(3.0, 4.0)]).unwrap();
        assert_eq!((built.len(), built.null_count()), (3, 1));

        let fields: Fields =
            vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Utf8, true)].into();
        let record = Field::new("r", DataType::Struct(fields), true);
        let rows = vec![Datum::Record(vec![Datum::Int(1), Datum::Null]), Datum::Null];
        let built = array(&record, rows).unwrap();
        assert_eq!((built.len(), built.null_count()), (2, 1));

        let item = Arc::new(Field::new("item", DataType::Utf8, false));
        let list = Field::new("l", DataType::List(item), true);
        let built =
            array(&list, vec![Datum::List(vec![]), Datum::Null, Datum::List(vec![Datum::Text("x".into())])])
                .unwrap();
        let built = built.as_any().downcast_ref::<ListArray>().unwrap();
        assert_eq!(built.value_offsets(), [0, 0, 0, 1]);
        assert!(built.is_null(1) && built.is_valid(0));
    }

    #[test]
    fn empty_columns_of_every_type_are_empty() {
        let text = Arc::new(Field::new("item", DataType::Utf8, false));
        let types =
            [DataType::Int8, DataType::Utf8, DataType::List(text.clone()), DataType::FixedSizeList(text, 3)];
        for data_type in types {
            let built = array(&Field::new("c", data_type.clone(), false), Vec::new()).unwrap();
            assert_eq!((built.len(), built.data_type()), (0, &data_type));
        }
    }
}
