//! Numbers of columns without loss: whole numbers in 128 bits, the others as doubles.
//!
//! Every sum, product or quotient of the engine passes through [`build`], the one place where a result is put into its declared type. A
//! value that the type does not hold, an infinity and NaN are faults of the row (E2103). A fraction that is put into a whole type is
//! rounded down, as the language says of `tok * share`.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float16Type, Float64Type, Int64Type, UInt64Type};

use crate::error::EngineError;

/// A fault of arithmetic in one row.
pub(crate) fn fault(message: impl Into<String>) -> EngineError {
    EngineError::Row { code: "E2103", message: message.into() }
}

/// One number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// Of an integer, `tok`, `size` or `duration` column.
    Whole(i128),
    /// Of any other column of numbers.
    Float(f64),
}

impl Number {
    /// The nearest double.
    pub(crate) fn to_float(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(formatter),
            Self::Float(value) => value.fmt(formatter),
        }
    }
}

/// The numbers of a column; what stands in null rows has no meaning.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Numbers {
    /// Integers and what is stored as such; bools are 0 and 1.
    Whole(Vec<i128>),
    /// Floats.
    Float(Vec<f64>),
}

impl Numbers {
    /// Whether a column of this type has numbers.
    pub(crate) fn has(ty: &DataType) -> bool {
        ty.is_integer()
            || ty.is_floating()
            || matches!(ty, DataType::Duration(_) | DataType::Boolean | DataType::Null)
    }

    /// # Errors
    /// [`EngineError::Internal`] if the column has no numbers.
    pub(crate) fn of(array: &ArrayRef, place: &str) -> Result<Self, EngineError> {
        Ok(match array.data_type() {
            DataType::Null => Self::Whole(vec![0; array.len()]),
            DataType::Boolean => Self::Whole(array.as_boolean().values().iter().map(i128::from).collect()),
            DataType::UInt64 => Self::Whole(
                array.as_primitive::<UInt64Type>().values().iter().map(|value| i128::from(*value)).collect(),
            ),
            ty if ty.is_integer() || matches!(ty, DataType::Duration(_)) => {
                let values = cast(array, &DataType::Int64)?;
                Self::Whole(
                    values
                        .as_primitive::<Int64Type>()
                        .values()
                        .iter()
                        .map(|value| i128::from(*value))
                        .collect(),
                )
            }
            ty if ty.is_floating() => {
                let values = cast(array, &DataType::Float64)?;
                Self::Float(values.as_primitive::<Float64Type>().values().to_vec())
            }
            other => return Err(EngineError::internal(place, format!("numbers expected, found {other}"))),
        })
    }

    /// The number of a row.
    pub(crate) fn get(&self, row: usize) -> Number {
        match self {
            Self::Whole(values) => Number::Whole(values[row]),
            Self::Float(values) => Number::Float(values[row]),
        }
    }
}

/// Least and greatest value of a whole type.
fn bounds(ty: &DataType) -> Option<(i128, i128)> {
    macro_rules! of {
        ($ty:ty) => {
            Some((i128::from(<$ty>::MIN), i128::from(<$ty>::MAX)))
        };
    }
    match ty {
        DataType::Int8 => of!(i8),
        DataType::Int16 => of!(i16),
        DataType::Int32 => of!(i32),
        DataType::Int64 | DataType::Duration(_) => of!(i64),
        DataType::UInt8 => of!(u8),
        DataType::UInt16 => of!(u16),
        DataType::UInt32 => of!(u32),
        DataType::UInt64 => of!(u64),
        _ => None,
    }
}

/// Whether a type holds whole numbers.
pub(crate) fn is_whole(ty: &DataType) -> bool {
    bounds(ty).is_some()
}

/// The double that a float type stores for a value; `None` if that is not finite.
fn stored(value: f64, ty: &DataType) -> Option<f64> {
    type Half = <Float16Type as ArrowPrimitiveType>::Native;
    let held = match ty {
        DataType::Float16 => Half::from_f64(value).to_f64(),
        DataType::Float32 => f64::from(value as f32),
        _ => value,
    };
    held.is_finite().then_some(held)
}

/// A column of type `ty` from numbers. `describe` names the operation and its values for a row whose result does not fit.
///
/// # Errors
/// E2103 if a value is outside `ty`; [`EngineError::Internal`] if `ty` holds no numbers.
pub(crate) fn build(
    values: Vec<Option<Number>>,
    ty: &DataType,
    describe: impl Fn(usize) -> String,
) -> Result<ArrayRef, EngineError> {
    let array: ArrayRef = if let Some((least, most)) = bounds(ty) {
        let whole = |(row, value): (usize, Option<Number>)| -> Result<Option<i128>, EngineError> {
            let Some(value) = value else { return Ok(None) };
            let whole = match value {
                Number::Whole(value) => Some(value),
                Number::Float(value) if value.is_finite() => Some(value.floor() as i128),
                Number::Float(_) => None,
            };
            let whole = whole.filter(|value| (least..=most).contains(value));
            whole.map(Some).ok_or_else(|| fault(format!("{} is outside of {least} to {most}", describe(row))))
        };
        let values: Result<Vec<Option<i128>>, EngineError> =
            values.into_iter().enumerate().map(whole).collect();
        // Within the bounds every value fits its 64 bits.
        match ty {
            DataType::UInt64 => Arc::new(
                values?.into_iter().map(|value| value.map(|value| value as u64)).collect::<UInt64Array>(),
            ),
            _ => Arc::new(
                values?.into_iter().map(|value| value.map(|value| value as i64)).collect::<Int64Array>(),
            ),
        }
    } else if ty.is_floating() {
        let float = |(row, value): (usize, Option<Number>)| -> Result<Option<f64>, EngineError> {
            let Some(value) = value else { return Ok(None) };
            let held = stored(value.to_float(), ty);
            held.map(Some).ok_or_else(|| fault(format!("{} is not a finite number", describe(row))))
        };
        let values: Result<Float64Array, EngineError> = values.into_iter().enumerate().map(float).collect();
        Arc::new(values?)
    } else {
        return Err(EngineError::internal("arithmetic", format!("{ty} holds no numbers")));
    };
    Ok(if array.data_type() == ty { array } else { cast(&array, ty)? })
}

/// Numbers that are summed one after the other before halves are added: the error grows with the logarithm of the count above this.
const SUM_RUN: usize = 8;

/// Sum of doubles by pairs (Higham 1993, section 2): the order is that of the values alone.
pub(crate) fn pairwise_sum(values: &[f64]) -> f64 {
    if values.len() <= SUM_RUN {
        return values.iter().fold(0.0, |sum, value| sum + value);
    }
    let (left, right) = values.split_at(values.len() / 2);
    pairwise_sum(left) + pairwise_sum(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DurationNanosecondArray, Float32Array, Int8Array};
    use arrow::datatypes::TimeUnit;

    #[test]
    fn columns_give_their_numbers() {
        let of = |array: ArrayRef| Numbers::of(&array, "test").unwrap();
        assert_eq!(
            of(Arc::new(UInt64Array::from(vec![u64::MAX]))),
            Numbers::Whole(vec![i128::from(u64::MAX)])
        );
        assert_eq!(of(Arc::new(Int8Array::from(vec![-128]))), Numbers::Whole(vec![-128]));
        assert_eq!(of(Arc::new(DurationNanosecondArray::from(vec![7]))), Numbers::Whole(vec![7]));
        assert_eq!(of(Arc::new(Float32Array::from(vec![0.5]))), Numbers::Float(vec![0.5]));
    }

    #[test]
    fn results_fit_their_type_or_are_faults() {
        let nanoseconds = DataType::Duration(TimeUnit::Nanosecond);
        let one = |value: Number, ty: &DataType| build(vec![Some(value), None], ty, |_| "x".into());
        assert_eq!(one(Number::Whole(-5), &nanoseconds).unwrap().data_type(), &nanoseconds);
        assert_eq!(
            one(Number::Float(-0.5), &DataType::Int16)
                .unwrap()
                .as_primitive::<arrow::datatypes::Int16Type>()
                .value(0),
            -1
        );
        assert_eq!(one(Number::Whole(128), &DataType::Int8).unwrap_err().code(), "E2103");
        assert_eq!(one(Number::Whole(-1), &DataType::UInt64).unwrap_err().code(), "E2103");
        assert_eq!(one(Number::Float(1e300), &DataType::Float32).unwrap_err().code(), "E2103");
        assert_eq!(one(Number::Float(70000.0), &DataType::Float16).unwrap_err().code(), "E2103");
        assert_eq!(one(Number::Float(f64::NAN), &DataType::Float64).unwrap_err().code(), "E2103");
        assert_eq!(one(Number::Float(f64::INFINITY), &DataType::Int64).unwrap_err().code(), "E2103");
    }

    #[test]
    fn pairs_lose_less_than_a_run() {
        let values = vec![0.1; 1_000_000];
        let run: f64 = values.iter().sum();
        assert!((pairwise_sum(&values) - 100_000.0).abs() < 1e-9);
        assert!((run - 100_000.0).abs() > 1e-7);
        assert_eq!(pairwise_sum(&[]), 0.0);
    }
}
