//! Fields of records, choices, and what all functions share about nulls and declared types.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StringArray, StructArray, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, is_not_null, nullif};
use arrow::datatypes::{DataType, Field};

use super::{Body, Call};
use crate::arrays;
use crate::error::EngineError;

pub(super) fn body(name: &str) -> Option<Body> {
    Some(match name {
        "field" => field,
        "field_of_each" => field_of_each,
        "if" => choose,
        "coalesce" => coalesce,
        _ => return None,
    })
}

/// The rows in which every argument has a value.
pub(super) struct Present(Option<NullBuffer>);

impl Present {
    /// Of all arguments of the call.
    pub(super) fn of(call: &Call<'_>) -> Self {
        let nulls = call.args.iter().map(|arg| arg.logical_nulls());
        Self(nulls.fold(None, |all, next| NullBuffer::union(all.as_ref(), next.as_ref())))
    }

    pub(super) fn has(&self, row: usize) -> bool {
        self.0.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    }

    pub(super) fn nulls(&self) -> Option<NullBuffer> {
        self.0.clone()
    }

    /// The column with null in the other rows.
    pub(super) fn mask(&self, array: ArrayRef) -> Result<ArrayRef, EngineError> {
        match &self.0 {
            Some(nulls) if nulls.null_count() > 0 => {
                Ok(nullif(&array, &BooleanArray::new(!nulls.inner(), None))?)
            }
            _ => Ok(array),
        }
    }
}

/// The column in its declared type: same values, names and nullability of nested fields as declared.
pub(super) fn conform(array: ArrayRef, ty: &DataType) -> Result<ArrayRef, EngineError> {
    match array.data_type() {
        found if found == ty => Ok(array),
        DataType::Null => Ok(new_null_array(ty, array.len())),
        _ => Ok(cast(&array, ty)?),
    }
}

/// An argument as texts.
pub(super) fn texts(call: &Call<'_>, idx: usize) -> Result<StringArray, EngineError> {
    let array = conform(call.args[idx].clone(), &DataType::Utf8)?;
    Ok(arrays::downcast::<StringArray>(&array, "texts")?.clone())
}

/// An argument as whole numbers.
pub(super) fn whole(call: &Call<'_>, idx: usize) -> Result<Int64Array, EngineError> {
    let array = conform(call.args[idx].clone(), &DataType::Int64)?;
    Ok(arrays::downcast::<Int64Array>(&array, "whole numbers")?.clone())
}

/// An argument as lists.
pub(super) fn lists(call: &Call<'_>, idx: usize) -> Result<ListArray, EngineError> {
    match call.args[idx].data_type() {
        DataType::Null => {
            Ok(ListArray::new_null(Arc::new(Field::new_list_field(DataType::Null, true)), call.rows))
        }
        _ => Ok(arrays::downcast::<ListArray>(&call.args[idx], "lists")?.clone()),
    }
}

/// The constant name of a field; `None` without rows.
fn field_name(call: &Call<'_>) -> Result<Option<String>, EngineError> {
    let names = texts(call, 1)?;
    Ok((!names.is_empty()).then(|| names.value(0).to_owned()))
}

/// A column of a record; null where the record is.
fn part(records: &ArrayRef, name: &str) -> Result<ArrayRef, EngineError> {
    let records: &StructArray = arrays::downcast(records, "field")?;
    let missing = || EngineError::internal("field", format!("no field `{name}` in {}", records.data_type()));
    let column = records.column_by_name(name).ok_or_else(missing)?.clone();
    Present(records.nulls().cloned()).mask(column)
}

fn field(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let ty = call.result.data_type();
    match field_name(call)? {
        Some(name) if call.args[0].data_type() != &DataType::Null => conform(part(&call.args[0], &name)?, ty),
        _ => Ok(new_null_array(ty, call.rows)),
    }
}

fn field_of_each(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let ty = call.result.data_type();
    let (Some(name), DataType::List(item)) = (field_name(call)?, ty) else {
        return Ok(new_null_array(ty, call.rows));
    };
    let list = lists(call, 0)?;
    if list.null_count() == list.len() {
        return Ok(new_null_array(ty, call.rows));
    }
    // Records that no list refers to stand before the first offset or after the last.
    let (first, last) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
    let records = list.values().slice(first as usize, (last - first) as usize);
    let values = conform(part(&records, &name)?, item.data_type())?;
    let offsets =
        arrow::buffer::OffsetBuffer::new(list.value_offsets().iter().map(|offset| offset - first).collect());
    Ok(Arc::new(ListArray::try_new(item.clone(), offsets, values, list.nulls().cloned())?))
}

/// `if(c, a, b)`: a null condition is not true.
fn choose(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let condition = conform(call.args[0].clone(), &DataType::Boolean)?;
    let condition = condition.as_boolean();
    let is_true: BooleanArray =
        (0..call.rows).map(|row| Some(condition.is_valid(row) && condition.value(row))).collect();
    let ty = call.result.data_type();
    let (yes, no) = (conform(call.args[1].clone(), ty)?, conform(call.args[2].clone(), ty)?);
    Ok(zip(&is_true, &yes, &no)?)
}

fn coalesce(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let ty = call.result.data_type();
    let mut taken = conform(call.args[0].clone(), ty)?;
    for next in &call.args[1..] {
        if taken.null_count() == 0 {
            break;
        }
        taken = zip(&is_not_null(&taken)?, &taken, &conform(next.clone(), ty)?)?;
    }
    Ok(taken)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use arrow::datatypes::{Fields, Int32Type};

    /// Calls a function of the table.
    pub(in crate::functions) fn run(
        name: &str,
        args: Vec<ArrayRef>,
        ty: DataType,
    ) -> Result<ArrayRef, EngineError> {
        let rows = args.first().map_or(0, |arg| arg.len());
        let body = crate::functions::body(name).expect("a known function");
        let result = Arc::new(Field::new("value", ty.clone(), true));
        let array = body(&Call { args: &args, result: &result, rows })?;
        assert_eq!((array.data_type(), array.len()), (&ty, rows), "`{name}`");
        Ok(array)
    }

    pub(in crate::functions) fn text(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    pub(in crate::functions) fn int(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    pub(in crate::functions) fn ints(rows: Vec<Option<Vec<Option<i64>>>>) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(rows))
    }

    fn records() -> (StructArray, ArrayRef) {
        let fields = Fields::from(vec![
            Field::new("a", DataType::Int32, false),
            Field::new("b", DataType::Utf8, true),
        ]);
        let numbers: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![1, 2, 3, 4]));
        let nulls = Some(NullBuffer::from(vec![true, false, true, true]));
        let records =
            StructArray::new(fields, vec![numbers, text(&[Some("x"), Some("y"), None, Some("z")])], nulls);
        let item = Arc::new(Field::new("item", records.data_type().clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([1, 0, 2, 1]);
        let nulls = Some(NullBuffer::from(vec![true, false, true, true]));
        let list: ArrayRef = Arc::new(ListArray::new(item, offsets, Arc::new(records.clone()), nulls));
        (records, list)
    }

    #[test]
    fn fields_of_null_records_are_null() {
        let (records, _) = records();
        let name = text(&[Some("a"); 4]);
        let found = run("field", vec![Arc::new(records), name], DataType::Int32).unwrap();
        assert_eq!(
            found.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(),
            [Some(1), None, Some(3), Some(4)]
        );
    }

    #[test]
    fn fields_of_each_keep_the_lists() {
        let (_, list) = records();
        let ty = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
        let found = run("field_of_each", vec![list.clone(), text(&[Some("b"); 4])], ty.clone()).unwrap();
        let rows: Vec<Option<Vec<Option<String>>>> = found
            .as_list::<i32>()
            .iter()
            .map(|row| {
                row.map(|row| row.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
            })
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(rows, [Some(vec![some("x")]), None, Some(vec![None, None]), Some(vec![some("z")])]);
        let cut = run("field_of_each", vec![list.slice(2, 2), text(&[Some("b"); 2])], ty).unwrap();
        assert_eq!(cut.as_list::<i32>(), &found.as_list::<i32>().slice(2, 2));
    }

    #[test]
    fn choices() {
        let condition: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]));
        let (yes, no) = (int(&[Some(1), Some(2), Some(3)]), int(&[Some(-1), None, Some(-3)]));
        let found = run("if", vec![condition, yes, no.clone()], DataType::Int64).unwrap();
        assert_eq!(&found, &int(&[Some(1), None, Some(-3)]));
        let (records, list) = records();
        let taken = run("coalesce", vec![no, int(&[None, Some(7), Some(8)])], DataType::Int64).unwrap();
        assert_eq!(&taken, &int(&[Some(-1), Some(7), Some(-3)]));
        let spare = run("coalesce", vec![list.clone(), list.slice(0, 4)], list.data_type().clone()).unwrap();
        assert_eq!(spare.null_count(), 1);
        let null: ArrayRef = new_null_array(&DataType::Null, 4);
        let ty = records.data_type().clone();
        assert_eq!(run("coalesce", vec![null, Arc::new(records)], ty).unwrap().null_count(), 1);
    }
}
