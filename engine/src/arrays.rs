//! Reading and building the Arrow arrays that operators share: texts, lists of texts, spans.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int64Array, ListArray, StringArray, StringBuilder, StructArray, UInt32Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use promptc_models::spans::Span;

use crate::error::EngineError;
use crate::types::span_fields;

/// The array as its own type.
///
/// # Errors
/// [`EngineError::Internal`] if it is of another type.
pub fn downcast<'a, T: 'static>(array: &'a ArrayRef, place: &str) -> Result<&'a T, EngineError> {
    array.as_any().downcast_ref::<T>().ok_or_else(|| {
        EngineError::internal(
            place,
            format!("a column of type {} where another was planned", array.data_type()),
        )
    })
}

/// The texts of a list's row; `None` for a null row. Null elements are empty texts.
#[must_use]
pub fn list_texts(list: &ListArray, row: usize) -> Option<Vec<String>> {
    if list.is_null(row) {
        return None;
    }
    let values = list.value(row);
    let texts = values.as_any().downcast_ref::<StringArray>()?;
    Some(
        (0..texts.len())
            .map(|idx| if texts.is_null(idx) { String::new() } else { texts.value(idx).to_owned() })
            .collect(),
    )
}

/// The texts of a row of a `text` or `list<text>` column; null gives `None`.
///
/// # Errors
/// [`EngineError::Internal`] for any other type.
pub fn row_texts(array: &ArrayRef, row: usize, place: &str) -> Result<Option<Vec<String>>, EngineError> {
    if array.is_null(row) {
        return Ok(None);
    }
    match array.data_type() {
        DataType::Utf8 => Ok(Some(vec![downcast::<StringArray>(array, place)?.value(row).to_owned()])),
        DataType::List(_) => Ok(list_texts(downcast::<ListArray>(array, place)?, row)),
        DataType::Null => Ok(None),
        other => Err(EngineError::internal(place, format!("texts expected, found {other}"))),
    }
}

/// The spans of one row of a `list<span>` column.
///
/// # Errors
/// [`EngineError::Internal`] if the column holds no spans.
pub fn row_spans(array: &ArrayRef, row: usize, place: &str) -> Result<Vec<Span>, EngineError> {
    if array.is_null(row) {
        return Ok(Vec::new());
    }
    let values = downcast::<ListArray>(array, place)?.value(row);
    spans_of(&values, place)
}

/// All spans of an array of span records.
///
/// # Errors
/// [`EngineError::Internal`] if the array holds no spans.
pub fn spans_of(values: &ArrayRef, place: &str) -> Result<Vec<Span>, EngineError> {
    let records = downcast::<StructArray>(values, place)?;
    let docs = downcast::<StringArray>(records.column(0), place)?;
    let starts = downcast::<UInt64Array>(records.column(1), place)?;
    let ends = downcast::<UInt64Array>(records.column(2), place)?;
    let ats = downcast::<UInt32Array>(records.column(3), place)?;
    let mut last: Option<Arc<str>> = None;
    Ok((0..records.len())
        .map(|idx| {
            let doc = match &last {
                Some(doc) if **doc == *docs.value(idx) => doc.clone(),
                _ => Arc::from(docs.value(idx)),
            };
            last = Some(doc.clone());
            Span { doc, start: starts.value(idx), end: ends.value(idx), at: ats.value(idx) }
        })
        .collect())
}

/// The spans of every element of one row of a `list<list<span>>` column.
///
/// # Errors
/// [`EngineError::Internal`] if the column holds no lists of spans.
pub fn row_span_lists(array: &ArrayRef, row: usize, place: &str) -> Result<Vec<Vec<Span>>, EngineError> {
    if array.is_null(row) {
        return Ok(Vec::new());
    }
    let lists = downcast::<ListArray>(array, place)?.value(row);
    (0..lists.len()).map(|idx| row_spans(&lists, idx, place)).collect()
}

/// A `list<span>` array, one list a row.
#[must_use]
pub fn span_list(rows: &[Vec<Span>]) -> ListArray {
    let spans = || rows.iter().flatten();
    let mut docs = StringBuilder::new();
    spans().for_each(|span| docs.append_value(&span.doc));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(docs.finish()),
        Arc::new(UInt64Array::from_iter_values(spans().map(|span| span.start))),
        Arc::new(UInt64Array::from_iter_values(spans().map(|span| span.end))),
        Arc::new(UInt32Array::from_iter_values(spans().map(|span| span.at))),
    ];
    let records = StructArray::new(span_fields(), columns, None);
    list_of(
        Arc::new(Field::new("item", DataType::Struct(span_fields()), false)),
        Arc::new(records),
        rows.iter().map(Vec::len),
    )
}

/// A list array over `values`, cut into rows of these lengths.
pub fn list_of(item: FieldRef, values: ArrayRef, lengths: impl Iterator<Item = usize>) -> ListArray {
    ListArray::new(item, OffsetBuffer::from_lengths(lengths), values, None)
}

/// A `list<text>` array without nulls.
#[must_use]
pub fn text_list(rows: &[Vec<String>]) -> ListArray {
    // `from_iter_values` wants an exact length, which a flattened iterator does not have.
    let values: StringArray = rows.iter().flatten().map(Some).collect();
    list_of(Arc::new(Field::new("item", DataType::Utf8, false)), Arc::new(values), rows.iter().map(Vec::len))
}

/// Counts of tokens.
pub fn tokens(counts: impl Iterator<Item = u64>) -> Int64Array {
    Int64Array::from_iter_values(counts.map(|count| i64::try_from(count).unwrap_or(i64::MAX)))
}

/// The record of `columns` with the field types that the plan declared; same-shape columns are re-labelled.
///
/// # Errors
/// [`EngineError::Internal`] if a column does not have its declared type.
pub fn record(declared: &DataType, columns: Vec<ArrayRef>, place: &str) -> Result<ArrayRef, EngineError> {
    let DataType::Struct(fields) = declared else {
        return Err(EngineError::internal(place, format!("{declared} is not a record")));
    };
    let columns: Result<Vec<_>, _> = fields
        .iter()
        .zip(columns)
        .map(|(field, column)| {
            if column.data_type() == field.data_type() {
                Ok(column)
            } else {
                arrow::compute::cast(&column, field.data_type())
            }
        })
        .collect();
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns?, None)?))
}
