//! Rows of an answer, cell by cell, whatever types the planner chose.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef, TimeUnit};
use promptc_engine::error::EngineError;

/// The rows of one answer.
pub(super) struct Rows {
    names: Vec<String>,
    batches: Vec<Vec<Cells>>,
    counts: Vec<usize>,
}

/// A column of one batch.
enum Cells {
    Text(StringArray),
    Number(Float64Array),
    /// Whole numbers, and times in microseconds.
    Whole(Int64Array),
    Flag(BooleanArray),
    Numbers(ArrayRef),
}

/// One row.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    rows: &'a Rows,
    batch: usize,
    idx: usize,
}

impl Rows {
    /// Reads an answer.
    ///
    /// # Errors
    /// A column whose values no cell can hold.
    pub(super) fn new(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Self, EngineError> {
        let columns = |batch: &RecordBatch| batch.columns().iter().map(cells).collect();
        let read: Result<Vec<Vec<Cells>>, EngineError> = batches.iter().map(columns).collect();
        Ok(Self {
            names: schema.fields().iter().map(|field| field.name().clone()).collect(),
            batches: read?,
            counts: batches.iter().map(RecordBatch::num_rows).collect(),
        })
    }

    /// The rows in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        let batches = self.counts.iter().enumerate();
        batches.flat_map(move |(batch, count)| (0..*count).map(move |idx| Row { rows: self, batch, idx }))
    }

    /// Names of the columns.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

fn cells(column: &ArrayRef) -> Result<Cells, EngineError> {
    let list_of_numbers = || DataType::new_list(DataType::Float64, true);
    Ok(match column.data_type() {
        DataType::Boolean => Cells::Flag(column.as_boolean().clone()),
        DataType::List(_) | DataType::LargeList(_) => Cells::Numbers(cast(column, &list_of_numbers())?),
        DataType::Timestamp(_, zone) => {
            let micros = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            Cells::Whole(cast(&micros, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        }
        found if found.is_integer() => {
            Cells::Whole(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        }
        found if found.is_numeric() => {
            Cells::Number(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        }
        _ => Cells::Text(cast(column, &DataType::Utf8)?.as_string::<i32>().clone()),
    })
}

impl Row<'_> {
    fn cells(&self, name: &str) -> &Cells {
        let place = self.rows.names.iter().position(|column| column == name);
        &self.rows.batches[self.batch]
            [place.expect("invariant: the query has the column that it is read for")]
    }

    /// A cell as text, as a person would write it.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.cells(name) {
            Cells::Text(column) => column.is_valid(self.idx).then(|| column.value(self.idx).to_owned()),
            Cells::Flag(column) => column
                .is_valid(self.idx)
                .then(|| if column.value(self.idx) { "yes" } else { "no" }.to_owned()),
            Cells::Whole(column) => column.is_valid(self.idx).then(|| column.value(self.idx).to_string()),
            Cells::Number(column) => column.is_valid(self.idx).then(|| column.value(self.idx).to_string()),
            Cells::Numbers(column) => arrow::util::display::array_value_to_string(column, self.idx)
                .ok()
                .filter(|text| !text.is_empty()),
        }
    }

    /// A text that must be there; empty without.
    pub(super) fn word(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    /// A number that is finite.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        let number = match self.cells(name) {
            Cells::Number(column) => column.is_valid(self.idx).then(|| column.value(self.idx)),
            Cells::Whole(column) => column.is_valid(self.idx).then(|| column.value(self.idx) as f64),
            _ => None,
        };
        number.filter(|number| number.is_finite())
    }

    /// A whole number, or a time in microseconds.
    pub(super) fn whole(&self, name: &str) -> Option<i64> {
        match self.cells(name) {
            Cells::Whole(column) => column.is_valid(self.idx).then(|| column.value(self.idx)),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub(super) fn count(&self, name: &str) -> u64 {
        self.whole(name).and_then(|whole| u64::try_from(whole).ok()).unwrap_or(0)
    }

    /// Whether a cell says true.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.cells(name), Cells::Flag(column) if column.is_valid(self.idx) && column.value(self.idx))
    }

    /// The numbers of a list.
    pub(super) fn numbers(&self, name: &str) -> Vec<f64> {
        match self.cells(name) {
            Cells::Numbers(column) if column.is_valid(self.idx) => column
                .as_list::<i32>()
                .value(self.idx)
                .as_primitive::<Float64Type>()
                .iter()
                .flatten()
                .collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ListArray, TimestampSecondArray, UInt16Array};

    use super::*;

    #[test]
    fn cells_of_every_kind_are_read() {
        let lists =
            ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(1.0), Some(2.5)]), None]);
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("name", Arc::new(StringArray::from(vec![Some("a"), None])) as ArrayRef, true),
            ("value", Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(2.0)])), true),
            ("small", Arc::new(UInt16Array::from(vec![7, 8])), true),
            ("at", Arc::new(TimestampSecondArray::from(vec![3, 4])), true),
            ("is_it", Arc::new(BooleanArray::from(vec![Some(true), None])), true),
            ("values", Arc::new(lists), true),
        ])
        .expect("a batch");
        let rows = Rows::new(&batch.schema(), &[batch.slice(0, 1), batch.slice(1, 1)]).expect("rows");
        let all: Vec<Row<'_>> = rows.iter().collect();
        assert_eq!((all.len(), rows.names().len()), (2, 6));
        assert_eq!((all[0].text("name"), all[1].text("name")), (Some("a".to_owned()), None));
        assert_eq!((all[0].number("value"), all[1].number("value")), (None, Some(2.0)));
        assert_eq!(
            (all[1].count("small"), all[1].number("small"), all[1].word("small")),
            (8, Some(8.0), "8".to_owned())
        );
        assert_eq!(all[0].whole("at"), Some(3_000_000));
        assert_eq!((all[0].flag("is_it"), all[1].flag("is_it")), (true, false));
        assert_eq!((all[0].numbers("values"), all[1].numbers("values")), (vec![1.0, 2.5], vec![]));
    }
}
