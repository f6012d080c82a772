//! Hashes of rows: which row is it, and what does it hold.
//!
//! A row is encoded column by column into bytes that are equal exactly when the values are, then hashed with blake3. The
//! encoding is arrow's row format for all columns but two kinds: vectors go in as their raw little-endian bytes (the row
//! format spends five bytes and a branch per number), and maps are seen as the lists of entries that they are stored as
//! (the row format refuses maps; ours have sorted keys, so equal maps are equal lists).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, LargeListArray, ListArray, StructArray, make_array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use rayon::prelude::*;

use super::RowId;

/// Rows that one task hashes at least.
const ROWS_PER_TASK: usize = 128;

/// Hashes rows over a fixed list of columns.
#[derive(Debug)]
pub(super) struct RowHasher {
    /// Digest of the column types, hashed before every row: the same bytes of another type are another row.
    types: RowId,
    /// Columns that the row format encodes.
    encoded: Vec<usize>,
    /// Vector columns: encoded as their bytes.
    raw: Vec<usize>,
    converter: Option<RowConverter>,
}

impl RowHasher {
    /// A hasher over the columns `columns` of a schema with `fields`.
    pub(super) fn new(fields: &Fields, columns: &[usize]) -> Result<Self, ArrowError> {
        let (raw, encoded): (Vec<usize>, Vec<usize>) =
            columns.iter().partition(|&&column_idx| raw_width(fields[column_idx].data_type()).is_some());
        let mut types = blake3::Hasher::new_derive_key("promptc 2026 flow row types v1");
        for &column_idx in columns {
            types.update(format!("{}\n", fields[column_idx].data_type()).as_bytes());
        }
        let sort_fields: Vec<SortField> = encoded
            .iter()
            .map(|&column_idx| SortField::new(type_without_maps(fields[column_idx].data_type())))
            .collect();
        let converter = if sort_fields.is_empty() { None } else { Some(RowConverter::new(sort_fields)?) };
        Ok(Self { types: first_half(&types.finalize()), encoded, raw, converter })
    }

    /// One identity per row of `columns`, the batch's columns in the schema's order.
    pub(super) fn hash(&self, columns: &[ArrayRef], row_count: usize) -> Result<Vec<RowId>, ArrowError> {
        let rows: Option<Rows> = match &self.converter {
            None => None,
            Some(converter) => {
                let encoded: Vec<ArrayRef> =
                    self.encoded.iter().map(|&idx| without_maps(&columns[idx])).collect::<Result<_, _>>()?;
                Some(converter.convert_columns(&encoded)?)
            }
        };
        let raw: Vec<RawColumn> = self.raw.iter().map(|&idx| RawColumn::new(&columns[idx])).collect();
        Ok((0..row_count)
            .into_par_iter()
            .with_min_len(ROWS_PER_TASK)
            .map(|row_idx| {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&self.types);
                if let Some(rows) = &rows {
                    let row = rows.row(row_idx);
                    let bytes: &[u8] = row.as_ref();
                    hasher.update(&(bytes.len() as u64).to_le_bytes());
                    hasher.update(bytes);
                }
                for column in &raw {
                    match column.row(row_idx) {
                        None => hasher.update(&[0]),
                        Some(bytes) => hasher.update(&[1]).update(bytes),
                    };
                }
                first_half(&hasher.finalize())
            })
            .collect())
    }
}

/// Identity of row `ordinal` of a stream without key.
pub(super) fn ordinal_id(ordinal: u64) -> RowId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"promptc 2026 flow ordinal v1");
    hasher.update(&ordinal.to_le_bytes());
    first_half(&hasher.finalize())
}

fn first_half(hash: &blake3::Hash) -> RowId {
    let mut id = RowId::default();
    id.copy_from_slice(&hash.as_bytes()[..16]);
    id
}

/// Bytes of one row of a vector type without nulls inside, or `None` if the type is to be encoded.
fn raw_width(data_type: &DataType) -> Option<usize> {
    let DataType::FixedSizeList(item, count) = data_type else { return None };
    if item.is_nullable() {
        return None;
    }
    Some(item.data_type().primitive_width()? * usize::try_from(*count).ok()?)
}

/// The bytes of a vector column.
struct RawColumn {
    array: ArrayRef,
    bytes: arrow::buffer::Buffer,
    start: usize,
    width: usize,
}

impl RawColumn {
    fn new(array: &ArrayRef) -> Self {
        let list: &FixedSizeListArray = array.as_fixed_size_list();
        let width = raw_width(array.data_type()).unwrap_or(0);
        let values = list.values().to_data();
        let item_width = width.checked_div(list.value_length() as usize).unwrap_or(0);
        let bytes = values.buffers().first().cloned().unwrap_or_default();
        Self { array: array.clone(), bytes, start: values.offset() * item_width, width }
    }

    /// The bytes of one row, `None` if it is null.
    fn row(&self, row_idx: usize) -> Option<&[u8]> {
        let start = self.start + row_idx * self.width;
        if self.array.is_null(row_idx) { None } else { Some(&self.bytes[start..start + self.width]) }
    }
}

/// The type with every map replaced by the list of its entries.
fn type_without_maps(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| -> FieldRef {
        Arc::new(Field::new(field.name(), type_without_maps(field.data_type()), field.is_nullable()))
    };
    match data_type {
        DataType::Map(entries, _) | DataType::List(entries) => DataType::List(inner(entries)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, count) => DataType::FixedSizeList(inner(item), *count),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}

/// The same values with every map replaced by the list of its entries; field metadata is dropped.
fn without_maps(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let target = type_without_maps(array.data_type());
    if target == *array.data_type() {
        return Ok(array.clone());
    }
    Ok(match (array.data_type(), &target) {
        (DataType::Map(..), DataType::List(item)) => {
            let map = array.as_map();
            let entries = without_maps(&(Arc::new(map.entries().clone()) as ArrayRef))?;
            Arc::new(ListArray::try_new(item.clone(), map.offsets().clone(), entries, map.nulls().cloned())?)
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = without_maps(list.values())?;
            Arc::new(ListArray::try_new(item.clone(), list.offsets().clone(), values, list.nulls().cloned())?)
        }
        (DataType::LargeList(_), DataType::LargeList(item)) => {
            let list = array.as_list::<i64>();
            let values = without_maps(list.values())?;
            Arc::new(LargeListArray::try_new(
                item.clone(),
                list.offsets().clone(),
                values,
                list.nulls().cloned(),
            )?)
        }
        (DataType::FixedSizeList(..), DataType::FixedSizeList(item, count)) => {
            let list = array.as_fixed_size_list();
            let values = without_maps(list.values())?;
            Arc::new(FixedSizeListArray::try_new(item.clone(), *count, values, list.nulls().cloned())?)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let record = array.as_struct();
            let columns: Vec<ArrayRef> =
                record.columns().iter().map(without_maps).collect::<Result<_, _>>()?;
            if columns.is_empty() {
                return Ok(array.clone());
            }
            Arc::new(StructArray::try_new(fields.clone(), columns, record.nulls().cloned())?)
        }
        (_, target) => make_array(array.to_data().into_builder().data_type(target.clone()).build()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float32Array, Int64Array, MapBuilder, StringArray, StringBuilder};
    use arrow::datatypes::Schema;

    fn hash_one(array: ArrayRef) -> Vec<RowId> {
        let schema = Schema::new(vec![Field::new("c", array.data_type().clone(), true)]);
        let row_count = array.len();
        RowHasher::new(schema.fields(), &[0]).unwrap().hash(&[array], row_count).unwrap()
    }

    #[test]
    fn equal_values_of_another_type_are_other_rows() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["7"]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        assert_ne!(hash_one(text), hash_one(number));
    }

    #[test]
    fn a_slice_hashes_like_the_same_rows_alone() {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let values =
            |from: i32, to: i32| Arc::new(Float32Array::from_iter_values((from..to).map(|n| n as f32)));
        let whole: ArrayRef = Arc::new(FixedSizeListArray::new(item.clone(), 4, values(0, 40), None));
        let part: ArrayRef = Arc::new(FixedSizeListArray::new(item, 4, values(12, 20), None));
        assert_eq!(hash_one(whole.slice(3, 2)), hash_one(part));
    }

    #[test]
    fn maps_differ_by_value_and_null() {
        let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for value in [Some("x"), Some("y"), Some("x"), None] {
            if let Some(value) = value {
                builder.keys().append_value("k");
                builder.values().append_value(value);
            }
            builder.append(value.is_some()).unwrap();
        }
        let ids = hash_one(Arc::new(builder.finish()));
        assert_eq!(ids[0], ids[2]);
        assert_ne!(ids[0], ids[1]);
        assert_ne!(ids[0], ids[3]);
    }
}
