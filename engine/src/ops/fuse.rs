//! `fuse`: several lists of hits of a row as one. Hits are the same if they agree in everything but score, rank and finder.
//!
//! Arguments: lists of hits of one type. Result: a list of that type with new scores and ranks.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, ListArray, StructArray, UInt32Array};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use promptc_compiler::op::Fusion;
use promptc_models::fusion;

use crate::arrays;
use crate::error::EngineError;
use crate::row_function::RowOperator;

const PLACE: &str = "fuse";

/// The operator with its method.
#[derive(Debug)]
pub struct FuseOperator {
    method: Fusion,
    /// The list of hits that the plan declares.
    result: DataType,
}

impl FuseOperator {
    /// `result` is the declared list of hits.
    #[must_use]
    pub fn new(method: Fusion, result: DataType) -> Self {
        Self { method, result }
    }
}

impl RowOperator for FuseOperator {
    fn compute(&self, args: &[ArrayRef]) -> Result<ArrayRef, EngineError> {
        let DataType::List(item) = &self.result else {
            return Err(EngineError::internal(PLACE, "the result is not a list"));
        };
        let lists: Result<Vec<&ListArray>, _> = args.iter().map(|arg| arrays::downcast(arg, PLACE)).collect();
        let lists = lists?;
        // All hits of all lists in one record array; `base` is where each list's values begin.
        let values: Vec<&dyn Array> = lists.iter().map(|list| list.values().as_ref()).collect();
        let bases: Vec<usize> = values
            .iter()
            .scan(0, |base, values| Some(std::mem::replace(base, *base + values.len())))
            .collect();
        let all = arrow::compute::concat(&values)?;
        let all: &StructArray = arrays::downcast(&all, PLACE)?;
        let content = all.num_columns().saturating_sub(3);
        let identities = identities(&all.columns()[..content], all.len())?;
        let scores: &Float64Array = arrays::downcast(all.column(content), PLACE)?;

        let (mut indices, mut new_scores, mut new_ranks, mut finders, mut lengths) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in 0..lists.first().map_or(0, |list| list.len()) {
            let mut first: BTreeMap<&[u8], usize> = BTreeMap::new();
            let mut by_list: Vec<Vec<(&[u8], f64)>> = Vec::new();
            let mut names: BTreeMap<&[u8], Vec<String>> = BTreeMap::new();
            for (list, base) in lists.iter().zip(&bases) {
                let offsets = list.value_offsets();
                let range = base + offsets[row] as usize..base + offsets[row + 1] as usize;
                let hits = range.filter(|_| list.is_valid(row));
                by_list.push(
                    hits.map(|idx| {
                        let identity = identities[idx].as_slice();
                        first.entry(identity).or_insert(idx);
                        let found_by =
                            arrays::row_texts(all.column(content + 2), idx, PLACE)?.unwrap_or_default();
                        names.entry(identity).or_default().extend(found_by);
                        Ok((identity, scores.value(idx)))
                    })
                    .collect::<Result<_, EngineError>>()?,
                );
            }
            let slices: Vec<&[(&[u8], f64)]> = by_list.iter().map(Vec::as_slice).collect();
            let fused = match &self.method {
                Fusion::Zscore(weights) => fusion::zscore(&slices, weights),
                Fusion::Weighted(weights) => fusion::weighted(&slices, weights),
                Fusion::Rrf(constant) => Ok(fusion::rrf(&slices, *constant)),
                Fusion::Max => Ok(fusion::max(&slices)),
                Fusion::Learned(_) => {
                    return Err(EngineError::internal(PLACE, "weights of indexes for columns"));
                }
            };
            let fused = fused.map_err(|error| EngineError::internal(PLACE, error))?;
            lengths.push(fused.len());
            for (rank, hit) in (1u32..).zip(fused) {
                indices.push(first[hit.id] as u32);
                new_scores.push(hit.score);
                new_ranks.push(rank);
                let mut found_by = names.remove(hit.id).unwrap_or_default();
                found_by.sort();
                found_by.dedup();
                finders.push(found_by);
            }
        }
        let indices = UInt32Array::from(indices);
        let taken: Result<Vec<ArrayRef>, _> = all.columns()[..content]
            .iter()
            .map(|column| arrow::compute::take(column, &indices, None))
            .collect();
        let mut columns = taken?;
        columns.push(Arc::new(Float64Array::from(new_scores)));
        columns.push(Arc::new(UInt32Array::from(new_ranks)));
        columns.push(Arc::new(arrays::text_list(&finders)));
        let records = arrays::record(item.data_type(), columns, PLACE)?;
        Ok(Arc::new(arrays::list_of(item.clone(), records, lengths.into_iter())))
    }
}

fn identities(columns: &[ArrayRef], rows: usize) -> Result<Vec<Vec<u8>>, EngineError> {
    if columns.is_empty() {
        return Ok(vec![Vec::new(); rows]);
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(columns)?;
    Ok(encoded.iter().map(|row| row.as_ref().to_vec()).collect())
}
