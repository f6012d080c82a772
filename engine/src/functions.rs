//! The functions of expressions as DataFusion functions.
//!
//! [`ValueFunction`] wraps one function of the language: arrays in, one array of the declared type out. The bodies stand in
//! `functions/`, one file per group of the language reference; [`body`] is their table. Besides them here are the functions that only
//! the planner uses: split parts, sampling, rendered keys, row reports.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, ListArray, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::arrays;
use crate::context::{BadRow, RunContext};
use crate::error::EngineError;

mod lists;
mod numbers;
mod quality;
mod records;
mod text;

/// One call on a batch.
pub struct Call<'a> {
    /// Arguments, all of `rows` rows.
    pub args: &'a [ArrayRef],
    /// The declared result.
    pub result: &'a FieldRef,
    /// Number of rows.
    pub rows: usize,
}

/// Computes a batch.
pub type Body = fn(&Call<'_>) -> Result<ArrayRef, EngineError>;

/// The body of a function of the language or of the planner.
#[must_use]
pub fn body(name: &str) -> Option<Body> {
    text::body(name)
        .or_else(|| lists::body(name))
        .or_else(|| numbers::body(name))
        .or_else(|| quality::body(name))
        .or_else(|| records::body(name))
        .or(match name {
            "list_indices" => Some(list_indices_body as Body),
            "unit_hash" => Some(unit_hash_body as Body),
            "split_part" => Some(split_part_body as Body),
            "render_key" => Some(render_key_body as Body),
            _ => None,
        })
}

/// A function of the language in a DataFusion plan.
#[derive(Debug)]
pub struct ValueFunction {
    name: String,
    function: String,
    signature: Signature,
    result: FieldRef,
    body: Body,
}

impl ValueFunction {
    /// # Errors
    /// [`EngineError::Unavailable`] for functions that need a model.
    pub fn new(function: &str, arg_count: usize, result: FieldRef) -> Result<Self, EngineError> {
        let body = body(function).ok_or_else(|| EngineError::Unavailable {
            area: "runtime".into(),
            what: format!("function `{function}`"),
        })?;
        let signature = match arg_count {
            0 => Signature::nullary(Volatility::Immutable),
            count => Signature::any(count, Volatility::Immutable),
        };
        // The result's type is part of the name, since DataFusion tells functions apart by name.
        let name = format!("promptc_{function}_{}", result.data_type());
        Ok(Self { name, function: function.to_owned(), signature, result, body })
    }
}

impl ScalarUDFImpl for ValueFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = args.number_rows;
        let arrays: Result<Vec<ArrayRef>, DataFusionError> =
            args.args.iter().map(|arg| arg.to_array(rows)).collect();
        let call = Call { args: &arrays?, result: &self.result, rows };
        (self.body)(&call).map(ColumnarValue::Array).map_err(|error| {
            let error = match error {
                EngineError::Row { code, message } => {
                    EngineError::Row { code, message: format!("`{}`: {message}", self.function) }
                }
                other => other,
            };
            error.into_datafusion()
        })
    }
}

impl PartialEq for ValueFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for ValueFunction {}
impl Hash for ValueFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

fn call(function: &str, args: Vec<Expr>, result: Field) -> Result<Expr, EngineError> {
    let udf = ScalarUDF::new_from_impl(ValueFunction::new(function, args.len(), Arc::new(result))?);
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(udf), args)))
}

/// Positions from 0 of the elements of a list, as a list.
///
/// # Errors
/// Never for a known function; the table lookup is shared.
pub fn list_indices(list: Expr) -> Result<Expr, EngineError> {
    let item = Arc::new(Field::new("item", DataType::UInt32, false));
    call("list_indices", vec![list], Field::new("indices", DataType::List(item), true))
}

/// A number in `[0, 1)` from the key of a row and a seed: rows are drawn by it, so adding rows moves no other row.
///
/// # Errors
/// As [`list_indices`].
pub fn unit_hash(key: Vec<Expr>, seed: u64) -> Result<Expr, EngineError> {
    let mut args = vec![Expr::Literal(ScalarValue::UInt64(Some(seed)), None)];
    args.extend(key);
    call("unit_hash", args, Field::new("point", DataType::Float64, false))
}

/// Whether the row's point `u64_le(blake3(seed ++ value)[..8]) / 2^64` lies in `[from, to)`.
///
/// # Errors
/// As [`list_indices`].
pub fn split_part(value: Expr, seed: u64, from: f64, to: f64) -> Result<Expr, EngineError> {
    let bound = |value| Expr::Literal(ScalarValue::Float64(Some(value)), None);
    let seed = Expr::Literal(ScalarValue::UInt64(Some(seed)), None);
    call(
        "split_part",
        vec![seed, bound(from), bound(to), value],
        Field::new("is_in", DataType::Boolean, false),
    )
}

/// The key of a row as text: its values joined by `/`.
///
/// # Errors
/// As [`list_indices`].
pub fn render_key(key: Vec<Expr>) -> Result<Expr, EngineError> {
    if key.is_empty() {
        return Ok(Expr::Literal(ScalarValue::Utf8(Some(String::new())), None));
    }
    call("render_key", key, Field::new("key", DataType::Utf8, false))
}

fn list_indices_body(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let list: &ListArray = arrays::downcast(&call.args[0], "list_indices")?;
    let lengths: Vec<usize> = (0..list.len())
        .map(|row| if list.is_null(row) { 0 } else { list.value_length(row) as usize })
        .collect();
    let values = lengths.iter().flat_map(|len| 0..*len as u32);
    let item = Arc::new(Field::new("item", DataType::UInt32, false));
    Ok(Arc::new(arrays::list_of(item, Arc::new(UInt32Array::from_iter_values(values)), lengths.into_iter())))
}

/// The points of rows by the encoding of their values.
fn points(seed: &ArrayRef, values: &[ArrayRef], rows: usize) -> Result<Vec<f64>, EngineError> {
    let seed: &arrow::array::UInt64Array = arrays::downcast(seed, "unit_hash")?;
    if values.is_empty() {
        return Ok(vec![0.0; rows]);
    }
    let fields = values.iter().map(|array| SortField::new(array.data_type().clone())).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(values)?;
    let point = |(row, value): (usize, arrow::row::Row<'_>)| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.value(row).to_le_bytes()).update(value.as_ref());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        // 53 bits are all that a double holds below 1.
        (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
    };
    Ok(encoded.iter().enumerate().map(point).collect())
}

fn unit_hash_body(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    Ok(Arc::new(Float64Array::from(points(&call.args[0], &call.args[1..], call.rows)?)))
}

fn split_part_body(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let from: &Float64Array = arrays::downcast(&call.args[1], "split_part")?;
    let to: &Float64Array = arrays::downcast(&call.args[2], "split_part")?;
    let points = points(&call.args[0], &call.args[3..], call.rows)?;
    let inside = points
        .iter()
        .enumerate()
        .map(|(row, point)| Some(from.value(row) <= *point && *point < to.value(row)));
    Ok(Arc::new(inside.collect::<BooleanArray>()))
}

fn render_key_body(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let keys = rendered_keys(call.args, call.rows)?;
    Ok(Arc::new(StringArray::from_iter_values(keys.iter().map(|(_, text)| text))))
}

/// For each row the bytes that sort as its key does, and the key as text. Rows without key columns are numbered.
///
/// # Errors
/// [`EngineError::Internal`] for a key type without an order.
pub fn rendered_keys(columns: &[ArrayRef], rows: usize) -> Result<Vec<(Vec<u8>, String)>, EngineError> {
    if columns.is_empty() {
        return Ok((0..rows).map(|row| ((row as u64).to_be_bytes().to_vec(), row.to_string())).collect());
    }
    let fields = columns.iter().map(|array| SortField::new(array.data_type().clone())).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(columns)?;
    let options = arrow::util::display::FormatOptions::default();
    let formatters: Result<Vec<_>, _> = columns
        .iter()
        .map(|column| arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options))
        .collect();
    let formatters = formatters?;
    let text = |row: usize| {
        formatters.iter().map(|values| values.value(row).to_string()).collect::<Vec<_>>().join("/")
    };
    Ok(encoded.iter().enumerate().map(|(row, key)| (key.as_ref().to_vec(), text(row))).collect())
}

/// True for rows without an error; the others are put into the quarantine under `code` with their key.
#[must_use]
pub fn report(ctx: Arc<RunContext>, code: &'static str, operator: String, error: Expr, key: Expr) -> Expr {
    let function = ReportFunction { ctx, code, operator, signature: Signature::any(2, Volatility::Volatile) };
    let udf = Arc::new(ScalarUDF::new_from_impl(function));
    Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![error, key]))
}

#[derive(Debug)]
struct ReportFunction {
    ctx: Arc<RunContext>,
    code: &'static str,
    operator: String,
    signature: Signature,
}

impl ScalarUDFImpl for ReportFunction {
    fn name(&self) -> &str {
        "promptc_report"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let errors = args.args[0].to_array(args.number_rows)?;
        let keys = args.args[1].to_array(args.number_rows)?;
        let errors: &StringArray =
            arrays::downcast(&errors, "report").map_err(EngineError::into_datafusion)?;
        let keys: &StringArray = arrays::downcast(&keys, "report").map_err(EngineError::into_datafusion)?;
        for row in (0..errors.len()).filter(|row| errors.is_valid(*row)) {
            self.ctx.quarantine.push(BadRow {
                source: self.operator.clone(),
                file: String::new(),
                line: None,
                offset: 0,
                code: self.code.to_owned(),
                message: format!("row {}: {}", keys.value(row), errors.value(row)),
                head: keys.value(row).to_owned(),
            });
        }
        let kept: BooleanArray = (0..errors.len()).map(|row| Some(errors.is_null(row))).collect();
        Ok(ColumnarValue::Array(Arc::new(kept)))
    }
}

impl PartialEq for ReportFunction {
    fn eq(&self, other: &Self) -> bool {
        self.operator == other.operator && self.code == other.code
    }
}
impl Eq for ReportFunction {}
impl Hash for ReportFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operator.hash(state);
    }
}
