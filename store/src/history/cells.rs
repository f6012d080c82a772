//! Columns of a table as data: name, and how to take the cell out of a row. Type and nullability follow from the latter.
//!
//! Texts are plain Utf8 in Arrow, not dictionaries: Parquet stores them with a dictionary all the same, and SQL functions,
//! `CASE` and unions then meet one type of text. Maps and lists have the field names that the Parquet specification asks
//! for, so that the type of a file's column is the type written here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, ListArray, MapArray, StringArray,
    StructArray, TimestampMicrosecondArray, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use serde_json::Value;

/// How the cells of one column are taken out of rows of type `R`.
pub(super) enum Cells<R> {
    Text(fn(&R) -> &str),
    TextOrNull(fn(&R) -> Option<&str>),
    Float(fn(&R) -> f64),
    FloatOrNull(fn(&R) -> Option<f64>),
    SmallFloatOrNull(fn(&R) -> Option<f32>),
    Sign(fn(&R) -> i8),
    Short(fn(&R) -> u16),
    Count(fn(&R) -> u32),
    CountOrNull(fn(&R) -> Option<u32>),
    Long(fn(&R) -> u64),
    LongOrNull(fn(&R) -> Option<u64>),
    Flag(fn(&R) -> bool),
    FlagOrNull(fn(&R) -> Option<bool>),
    Time(fn(&R) -> i64),
    Texts(fn(&R) -> &[String]),
    Longs(fn(&R) -> &[u64]),
    Floats(fn(&R) -> &[f64]),
    Map(fn(&R) -> &BTreeMap<String, String>),
}

/// One column.
pub(super) struct Column<R> {
    pub(super) name: &'static str,
    pub(super) cells: Cells<R>,
}

impl<R> Column<R> {
    pub(super) fn field(&self) -> Field {
        let (data_type, is_nullable) = self.cells.data_type();
        Field::new(self.name, data_type, is_nullable)
    }
}

fn list_of(data_type: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", data_type, false)))
}

fn entry_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, false)])
}

fn entries_field() -> Field {
    Field::new("key_value", DataType::Struct(entry_fields()), false)
}

impl<R> Cells<R> {
    fn data_type(&self) -> (DataType, bool) {
        match self {
            Self::Text(_) => (DataType::Utf8, false),
            Self::TextOrNull(_) => (DataType::Utf8, true),
            Self::Float(_) => (DataType::Float64, false),
            Self::FloatOrNull(_) => (DataType::Float64, true),
            Self::SmallFloatOrNull(_) => (DataType::Float32, true),
            Self::Sign(_) => (DataType::Int8, false),
            Self::Short(_) => (DataType::UInt16, false),
            Self::Count(_) => (DataType::UInt32, false),
            Self::CountOrNull(_) => (DataType::UInt32, true),
            Self::Long(_) => (DataType::UInt64, false),
            Self::LongOrNull(_) => (DataType::UInt64, true),
            Self::Flag(_) => (DataType::Boolean, false),
            Self::FlagOrNull(_) => (DataType::Boolean, true),
            Self::Time(_) => (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
            Self::Texts(_) => (list_of(DataType::Utf8), false),
            Self::Longs(_) => (list_of(DataType::UInt64), false),
            Self::Floats(_) => (list_of(DataType::Float64), false),
            Self::Map(_) => (DataType::Map(Arc::new(entries_field()), false), false),
        }
    }

    /// The cells of `rows`.
    pub(super) fn array(&self, rows: &[R]) -> ArrayRef {
        match self {
            Self::Text(cell) => Arc::new(StringArray::from_iter_values(rows.iter().map(cell))),
            Self::TextOrNull(cell) => Arc::new(rows.iter().map(cell).collect::<StringArray>()),
            Self::Float(cell) => Arc::new(Float64Array::from_iter_values(rows.iter().map(cell))),
            Self::FloatOrNull(cell) => Arc::new(rows.iter().map(cell).collect::<Float64Array>()),
            Self::SmallFloatOrNull(cell) => Arc::new(rows.iter().map(cell).collect::<Float32Array>()),
            Self::Sign(cell) => Arc::new(Int8Array::from_iter_values(rows.iter().map(cell))),
            Self::Short(cell) => Arc::new(UInt16Array::from_iter_values(rows.iter().map(cell))),
            Self::Count(cell) => Arc::new(UInt32Array::from_iter_values(rows.iter().map(cell))),
            Self::CountOrNull(cell) => Arc::new(rows.iter().map(cell).collect::<UInt32Array>()),
            Self::Long(cell) => Arc::new(UInt64Array::from_iter_values(rows.iter().map(cell))),
            Self::LongOrNull(cell) => Arc::new(rows.iter().map(cell).collect::<UInt64Array>()),
            Self::Flag(cell) => Arc::new(rows.iter().map(|row| Some(cell(row))).collect::<BooleanArray>()),
            Self::FlagOrNull(cell) => Arc::new(rows.iter().map(cell).collect::<BooleanArray>()),
            Self::Time(cell) => {
                let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(cell));
                Arc::new(times.with_timezone("UTC"))
            }
            Self::Texts(cell) => {
                let values = StringArray::from_iter_values(rows.iter().flat_map(cell).collect::<Vec<_>>());
                lists(rows.iter().map(|row| cell(row).len()), DataType::Utf8, Arc::new(values))
            }
            Self::Longs(cell) => {
                let values =
                    UInt64Array::from_iter_values(rows.iter().flat_map(|row| cell(row).iter().copied()));
                lists(rows.iter().map(|row| cell(row).len()), DataType::UInt64, Arc::new(values))
            }
            Self::Floats(cell) => {
                let values =
                    Float64Array::from_iter_values(rows.iter().flat_map(|row| cell(row).iter().copied()));
                lists(rows.iter().map(|row| cell(row).len()), DataType::Float64, Arc::new(values))
            }
            Self::Map(cell) => {
                let lengths = OffsetBuffer::from_lengths(rows.iter().map(|row| cell(row).len()));
                let keys = StringArray::from_iter_values(
                    rows.iter().flat_map(|row| cell(row).keys()).collect::<Vec<_>>(),
                );
                let values = StringArray::from_iter_values(
                    rows.iter().flat_map(|row| cell(row).values()).collect::<Vec<_>>(),
                );
                let entries = StructArray::new(entry_fields(), vec![Arc::new(keys), Arc::new(values)], None);
                Arc::new(MapArray::new(Arc::new(entries_field()), lengths, entries, None, false))
            }
        }
    }

    /// The cell of one row as JSON; null where there is none.
    pub(super) fn json(&self, row: &R) -> Value {
        match self {
            Self::Text(cell) => cell(row).into(),
            Self::TextOrNull(cell) => cell(row).into(),
            Self::Float(cell) => cell(row).into(),
            Self::FloatOrNull(cell) => cell(row).into(),
            Self::SmallFloatOrNull(cell) => cell(row).into(),
            Self::Sign(cell) => cell(row).into(),
            Self::Short(cell) => cell(row).into(),
            Self::Count(cell) => cell(row).into(),
            Self::CountOrNull(cell) => cell(row).into(),
            Self::Long(cell) => cell(row).into(),
            Self::LongOrNull(cell) => cell(row).into(),
            Self::Flag(cell) => cell(row).into(),
            Self::FlagOrNull(cell) => cell(row).into(),
            Self::Time(cell) => cell(row).into(),
            Self::Texts(cell) => cell(row).to_vec().into(),
            Self::Longs(cell) => cell(row).to_vec().into(),
            Self::Floats(cell) => cell(row).to_vec().into(),
            Self::Map(cell) => {
                cell(row).iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect()
            }
        }
    }
}

fn lists(lengths: impl Iterator<Item = usize>, item: DataType, values: ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new("element", item, false));
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), values, None))
}
