//! Row-wise operators as DataFusion functions with a row cache.
//!
//! An operator implements [`RowOperator`]: arrays in, one array out, each row by itself. [`RowFunction`] makes a DataFusion
//! function of it:
//!
//! ```text
//! batch --encode--> row keys --get_many--> hits ------------------------.
//!                                   '-----> misses --compute (rayon)--> new values --put_many
//!                                                                       '---> array in row order
//! ```
//!
//! The key of a row is blake3 over the operator's parameters and the bytes of the columns that it reads, so a
//! changed document recomputes its own rows and nothing else. Values are Arrow's row encoding of the result.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow::array::{Array, ArrayRef, FixedSizeListArray, Float32Array, UInt32Array};
use arrow::datatypes::{DataType, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use rayon::prelude::*;

use crate::arrays;
use crate::context::RunContext;
use crate::error::EngineError;

/// Rows that one task computes at a time; small, so that a stop is seen soon and work spreads evenly.
const ROWS_PER_TASK: usize = 16;

/// Context string of row keys; a change of the stored form of results must change it.
pub const ROW_KEY_CONTEXT: &str = "promptc 2026 row v3";

/// Keys that one task looks up.
const KEYS_PER_LOOKUP: usize = 256;

/// The cached values of rows in the order of their keys, looked up in parallel: reading and checking a value costs more than
/// finding it.
pub(crate) fn cached_rows(ctx: &RunContext, keys: &[[u8; 32]]) -> Vec<Option<Vec<u8>>> {
    let rows = ctx.store.rows();
    keys.par_chunks(KEYS_PER_LOOKUP).flat_map_iter(|keys| rows.get_many(keys)).collect()
}

/// An operator that computes each row from that row alone.
pub trait RowOperator: std::fmt::Debug + Send + Sync {
    /// Called once before rows are computed, on one thread, for what all of them need.
    ///
    /// # Errors
    /// A fault of what is prepared.
    fn prepare(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Computes as many rows as the arguments have. The result has the field's type given to [`RowFunction::new`].
    ///
    /// # Errors
    /// A fault of the operator. Faults of single rows are part of the result.
    fn compute(&self, args: &[ArrayRef]) -> Result<ArrayRef, EngineError>;
}

/// Counts of one operator in one run.
#[derive(Debug, Default)]
pub struct NodeStats {
    /// Rows taken from the cache.
    pub reused: AtomicU64,
    /// Rows computed, or read by a source.
    pub computed: AtomicU64,
    /// Bad rows that a source dropped on request.
    pub skipped: AtomicU64,
    /// Time spent in the operator, all threads' wall time, in nanoseconds.
    pub elapsed_ns: AtomicU64,
    /// Time of every row in nanoseconds, in row order, if the run takes it ([`RunContext::times_rows`]).
    pub row_ns: Mutex<Vec<u64>>,
}

/// A [`RowOperator`] as a DataFusion function.
#[derive(Debug)]
pub struct RowFunction {
    name: String,
    signature: Signature,
    return_field: FieldRef,
    params: [u8; 32],
    operator: Arc<dyn RowOperator>,
    ctx: Arc<RunContext>,
    stats: Arc<NodeStats>,
}

impl RowFunction {
    /// `params` is the fingerprint of everything besides the row that decides the result: the operator with its
    /// parameters and version, and the artifacts that it reads. `name` must be unique in the plan.
    #[must_use]
    pub fn new(
        ctx: Arc<RunContext>,
        name: String,
        arg_count: usize,
        return_field: FieldRef,
        params: [u8; 32],
        operator: Arc<dyn RowOperator>,
        stats: Arc<NodeStats>,
    ) -> Self {
        let signature = Signature::any(arg_count, Volatility::Volatile);
        Self { name, signature, return_field, params, operator, ctx, stats }
    }

    fn evaluate(&self, args: &[ArrayRef]) -> Result<ArrayRef, EngineError> {
        let started = Instant::now();
        let keys = self.row_keys(args)?;
        let cached = cached_rows(&self.ctx, &keys);
        // Keys and look-ups are made for the whole batch; each row bears its share.
        let shared_ns = nanoseconds(started) / keys.len().max(1) as u64;
        let misses: Vec<u32> =
            (0u32..).zip(&cached).filter(|(_, value)| value.is_none()).map(|(row, _)| row).collect();
        if !misses.is_empty() {
            self.operator.prepare()?;
        }
        let computed = if self.ctx.times_rows {
            let (computed, computed_ns) = self.compute_timed(args, &misses)?;
            let mut row_ns = vec![shared_ns; keys.len()];
            misses.iter().zip(computed_ns).for_each(|(row, ns)| row_ns[*row as usize] += ns);
            self.stats.row_ns.lock().unwrap_or_else(PoisonError::into_inner).extend(row_ns);
            computed
        } else {
            self.compute(args, &misses)?
        };
        self.stats.reused.fetch_add((keys.len() - misses.len()) as u64, Ordering::Relaxed);
        self.stats.computed.fetch_add(misses.len() as u64, Ordering::Relaxed);

        let codec = Codec::of(self.return_field.data_type())?;
        let values = codec.encode(&computed)?;
        let entries: Vec<_> =
            misses.iter().map(|row| keys[*row as usize]).zip(values.iter().cloned()).collect();
        self.ctx.store.rows().put_many(&entries)?;
        if misses.len() == keys.len() {
            return Ok(computed);
        }
        let mut next_new = values.iter();
        let all: Vec<&[u8]> = cached
            .iter()
            .map(|value| match value {
                Some(bytes) => bytes.as_slice(),
                None => next_new.next().map_or(&[][..], Vec::as_slice),
            })
            .collect();
        codec.decode(&all)
    }

    fn row_keys(&self, args: &[ArrayRef]) -> Result<Vec<[u8; 32]>, EngineError> {
        let fields = args.iter().map(|array| SortField::new(array.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(args)?;
        let mut base = blake3::Hasher::new_derive_key(ROW_KEY_CONTEXT);
        base.update(&self.params);
        let rows: Vec<_> = rows.iter().collect();
        Ok(rows
            .par_iter()
            .with_min_len(64)
            .map(|row| *base.clone().update(row.as_ref()).finalize().as_bytes())
            .collect())
    }

    /// Computes the rows named by `misses`, in parallel, in their order.
    fn compute(&self, args: &[ArrayRef], misses: &[u32]) -> Result<ArrayRef, EngineError> {
        if misses.is_empty() {
            return Ok(arrow::array::new_empty_array(self.return_field.data_type()));
        }
        let parts: Result<Vec<ArrayRef>, EngineError> = misses
            .par_chunks(ROWS_PER_TASK)
            .map(|rows| {
                self.ctx.check_interrupt()?;
                let rows = UInt32Array::from(rows.to_vec());
                let taken: Result<Vec<_>, _> =
                    args.iter().map(|array| arrow::compute::take(array, &rows, None)).collect();
                self.operator.compute(&taken?)
            })
            .collect();
        let parts = parts?;
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(arrow::compute::concat(&parts)?)
    }
}

impl RowFunction {
    /// As `compute`, one row at a time, with the time of each in nanoseconds.
    fn compute_timed(&self, args: &[ArrayRef], misses: &[u32]) -> Result<(ArrayRef, Vec<u64>), EngineError> {
        if misses.is_empty() {
            return Ok((arrow::array::new_empty_array(self.return_field.data_type()), Vec::new()));
        }
        let parts: Result<Vec<(ArrayRef, u64)>, EngineError> = misses
            .par_iter()
            .map(|row| {
                self.ctx.check_interrupt()?;
                let started = Instant::now();
                let one: Vec<ArrayRef> = args.iter().map(|array| array.slice(*row as usize, 1)).collect();
                let result = self.operator.compute(&one)?;
                Ok((result, nanoseconds(started)))
            })
            .collect();
        let (parts, row_ns): (Vec<ArrayRef>, Vec<u64>) = parts?.into_iter().unzip();
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok((arrow::compute::concat(&parts)?, row_ns))
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The stored form of results.
enum Codec {
    /// Arrow's row encoding, for any type.
    Rows(RowConverter),
    /// Numbers as they are in memory, little-endian: the row encoding of a vector costs more than making the vector. An empty
    /// value is null.
    Vectors(FieldRef, i32),
}

impl Codec {
    fn of(data_type: &DataType) -> Result<Self, EngineError> {
        match data_type {
            DataType::FixedSizeList(item, len) if *item.data_type() == DataType::Float32 => {
                Ok(Self::Vectors(item.clone(), *len))
            }
            other => Ok(Self::Rows(RowConverter::new(vec![SortField::new(other.clone())])?)),
        }
    }

    fn encode(&self, array: &ArrayRef) -> Result<Vec<Vec<u8>>, EngineError> {
        match self {
            Self::Rows(converter) => {
                let rows = converter.convert_columns(std::slice::from_ref(array))?;
                Ok(rows.iter().map(|row| row.as_ref().to_vec()).collect())
            }
            Self::Vectors(_, len) => {
                let list: &FixedSizeListArray = arrays::downcast(array, "row cache")?;
                let values: &Float32Array = arrays::downcast(list.values(), "row cache")?;
                let len = usize::try_from(*len).unwrap_or(0);
                let offset = list.offset() * len;
                let row = |row: usize| -> Vec<u8> {
                    if list.is_null(row) {
                        return Vec::new();
                    }
                    let numbers = &values.values()[offset + row * len..offset + (row + 1) * len];
                    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
                };
                Ok((0..list.len()).map(row).collect())
            }
        }
    }

    fn decode(&self, values: &[&[u8]]) -> Result<ArrayRef, EngineError> {
        match self {
            Self::Rows(converter) => {
                let parser = converter.parser();
                let mut arrays = converter.convert_rows(values.iter().map(|bytes| parser.parse(bytes)))?;
                Ok(arrays.swap_remove(0))
            }
            Self::Vectors(item, len) => {
                let width = usize::try_from(*len).unwrap_or(0);
                let mut numbers = Vec::with_capacity(values.len() * width);
                for bytes in values {
                    let (chunks, rest) = bytes.as_chunks::<4>();
                    if !bytes.is_empty() && (chunks.len() != width || !rest.is_empty()) {
                        let found = format!("a stored vector of {} bytes for {width} numbers", bytes.len());
                        return Err(EngineError::internal("row cache", found));
                    }
                    numbers.extend(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)));
                    numbers.resize(numbers.len() + width - chunks.len(), 0.0);
                }
                let has_nulls = values.iter().any(|bytes| bytes.is_empty());
                let nulls = has_nulls.then(|| values.iter().map(|bytes| !bytes.is_empty()).collect());
                let numbers = Arc::new(Float32Array::from(numbers));
                Ok(Arc::new(FixedSizeListArray::try_new(item.clone(), *len, numbers, nulls)?))
            }
        }
    }
}

impl ScalarUDFImpl for RowFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.return_field.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        Ok(self.return_field.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let started = Instant::now();
        let arrays: Result<Vec<ArrayRef>, DataFusionError> =
            args.args.iter().map(|value| value.to_array(args.number_rows)).collect();
        let result = self.evaluate(&arrays?).map_err(EngineError::into_datafusion)?;
        self.stats.elapsed_ns.fetch_add(nanoseconds(started), Ordering::Relaxed);
        Ok(ColumnarValue::Array(result))
    }
}

impl PartialEq for RowFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.params == other.params
    }
}

impl Eq for RowFunction {}

impl Hash for RowFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.params.hash(state);
    }
}
