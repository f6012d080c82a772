//! Checked arithmetic and functions of numbers.
//!
//! A result that its type does not hold, a division by zero and a value without a real result are faults of the row (E2103); NaN and
//! infinities never come out. Whole numbers are computed in 128 bits. A quotient of plain integers is cut towards zero, as in SQL; in a
//! whole unit (`tok`, `size`, `duration`) every result is rounded down.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, BooleanArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, FieldRef};

use super::records::{Present, conform};
use super::{Body, Call};
use crate::aggregates::numeric::{Number, Numbers, build, fault, is_whole};
use crate::error::EngineError;

pub(super) fn body(name: &str) -> Option<Body> {
    Some(match name {
        "add" => |call| binary(call, "+", add),
        "subtract" => |call| binary(call, "-", subtract),
        "multiply" => |call| binary(call, "*", multiply),
        "divide" => |call| binary(call, "/", divide),
        "negate" => |call| unary(call, |value| Some(negated(value))),
        "abs" => |call| unary(call, |value| Some(if is_negative(value) { negated(value) } else { value })),
        "round" => |call| unary(call, |value| on_fraction(value, f64::round)),
        "floor" => |call| unary(call, |value| on_fraction(value, f64::floor)),
        "ceil" => |call| unary(call, |value| on_fraction(value, f64::ceil)),
        "sqrt" => |call| unary(call, |value| real(value.to_float().sqrt())),
        "exp" => |call| unary(call, |value| real(value.to_float().exp())),
        "ln" => |call| unary(call, |value| real(value.to_float().ln())),
        "clamp" => clamp,
        _ => return None,
    })
}

/// The result of an operation, or why there is none.
type Outcome = Result<Number, &'static str>;

/// What the operation knows about its result.
struct Target {
    is_whole: bool,
    is_unit: bool,
}

impl Target {
    fn of(result: &FieldRef) -> Self {
        let is_unit = matches!(result.data_type(), DataType::Duration(_))
            || result.metadata().contains_key("promptc.unit");
        Self { is_whole: is_whole(result.data_type()), is_unit }
    }
}

const OUT_OF_RANGE: &str = "the result is out of range";

fn exact(value: Option<i128>) -> Outcome {
    value.map(Number::Whole).ok_or(OUT_OF_RANGE)
}

fn add(left: Number, right: Number, _: &Target) -> Outcome {
    match (left, right) {
        (Number::Whole(left), Number::Whole(right)) => exact(left.checked_add(right)),
        _ => Ok(Number::Float(left.to_float() + right.to_float())),
    }
}

fn subtract(left: Number, right: Number, _: &Target) -> Outcome {
    match (left, right) {
        (Number::Whole(left), Number::Whole(right)) => exact(left.checked_sub(right)),
        _ => Ok(Number::Float(left.to_float() - right.to_float())),
    }
}

fn multiply(left: Number, right: Number, _: &Target) -> Outcome {
    match (left, right) {
        (Number::Whole(left), Number::Whole(right)) => exact(left.checked_mul(right)),
        _ => Ok(Number::Float(left.to_float() * right.to_float())),
    }
}

fn divide(left: Number, right: Number, target: &Target) -> Outcome {
    if right.to_float() == 0.0 {
        return Err("division by zero");
    }
    match (left, right) {
        (Number::Whole(left), Number::Whole(right)) if target.is_whole => {
            let quotient = left / right;
            let is_cut_up = target.is_unit && left % right != 0 && (left < 0) != (right < 0);
            Ok(Number::Whole(if is_cut_up { quotient - 1 } else { quotient }))
        }
        _ => Ok(Number::Float(left.to_float() / right.to_float())),
    }
}

fn binary(
    call: &Call<'_>,
    symbol: &str,
    op: fn(Number, Number, &Target) -> Outcome,
) -> Result<ArrayRef, EngineError> {
    let (left, right) =
        (Numbers::of(&call.args[0], "arithmetic")?, Numbers::of(&call.args[1], "arithmetic")?);
    let (present, target) = (Present::of(call), Target::of(call.result));
    let shown = |row: usize| format!("{} {symbol} {}", left.get(row), right.get(row));
    let value = |row: usize| -> Result<Option<Number>, EngineError> {
        if !present.has(row) {
            return Ok(None);
        }
        let outcome = op(left.get(row), right.get(row), &target);
        outcome.map(Some).map_err(|reason| fault(format!("{reason}: {}", shown(row))))
    };
    let values: Result<Vec<Option<Number>>, EngineError> = (0..call.rows).map(value).collect();
    build(values?, call.result.data_type(), |row| format!("the result of {}", shown(row)))
}

fn unary(call: &Call<'_>, op: impl Fn(Number) -> Option<Number>) -> Result<ArrayRef, EngineError> {
    let (numbers, present) = (Numbers::of(&call.args[0], "arithmetic")?, Present::of(call));
    let value = |row: usize| -> Result<Option<Number>, EngineError> {
        if !present.has(row) {
            return Ok(None);
        }
        let outcome = op(numbers.get(row));
        outcome
            .map(Some)
            .ok_or_else(|| fault(format!("{} has no result that is a finite number", numbers.get(row))))
    };
    let values: Result<Vec<Option<Number>>, EngineError> = (0..call.rows).map(value).collect();
    build(values?, call.result.data_type(), |row| format!("the result for {}", numbers.get(row)))
}

fn is_negative(value: Number) -> bool {
    match value {
        Number::Whole(value) => value < 0,
        Number::Float(value) => value.is_sign_negative(),
    }
}

fn negated(value: Number) -> Number {
    match value {
        // A column holds 64 bits at most, so that 128 bits hold the opposite.
        Number::Whole(value) => Number::Whole(-value),
        Number::Float(value) => Number::Float(-value),
    }
}

fn on_fraction(value: Number, round: fn(f64) -> f64) -> Option<Number> {
    match value {
        Number::Whole(_) => Some(value),
        Number::Float(value) => Some(Number::Float(round(value))),
    }
}

fn real(value: f64) -> Option<Number> {
    value.is_finite().then_some(Number::Float(value))
}

fn order(left: Number, right: Number) -> Ordering {
    match (left, right) {
        (Number::Whole(left), Number::Whole(right)) => left.cmp(&right),
        _ => left.to_float().total_cmp(&right.to_float()),
    }
}

fn clamp(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let numbers: Result<Vec<Numbers>, EngineError> =
        call.args.iter().map(|arg| Numbers::of(arg, "clamp")).collect();
    let (numbers, present) = (numbers?, Present::of(call));
    let value = |row: usize| -> Result<Option<Number>, EngineError> {
        if !present.has(row) {
            return Ok(None);
        }
        let (value, least, most) = (numbers[0].get(row), numbers[1].get(row), numbers[2].get(row));
        if order(least, most) == Ordering::Greater {
            return Err(fault(format!("the lower bound {least} is above the upper bound {most}")));
        }
        let raised = if order(value, least) == Ordering::Less { least } else { value };
        Ok(Some(if order(raised, most) == Ordering::Greater { most } else { raised }))
    };
    let values: Result<Vec<Option<Number>>, EngineError> = (0..call.rows).map(value).collect();
    build(values?, call.result.data_type(), |row| format!("{}, held between bounds,", numbers[0].get(row)))
}

/// `min(a, b, ..)` and `max(a, b, ..)` of numbers, texts or times of one row; null if one is null.
pub(super) fn extreme(call: &Call<'_>, better: Ordering) -> Result<ArrayRef, EngineError> {
    let ty = call.result.data_type();
    let mut best = conform(call.args[0].clone(), ty)?;
    for next in &call.args[1..] {
        let next = conform(next.clone(), ty)?;
        let compare = make_comparator(&next, &best, SortOptions::default())?;
        let is_better: BooleanArray = (0..call.rows).map(|row| Some(compare(row, row) == better)).collect();
        best = zip(&is_better, &next, &best)?;
    }
    Present::of(call).mask(best)
}

#[cfg(test)]
mod tests {
    use super::super::records::tests::{int, run, text};
    use super::*;
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, DurationNanosecondArray, Float32Array, Float64Array, UInt64Array};
    use arrow::datatypes::{Field, Float64Type, Int64Type, TimeUnit};

    const NANOSECONDS: DataType = DataType::Duration(TimeUnit::Nanosecond);

    fn float(values: &[f64]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    fn one(name: &str, args: &[ArrayRef], ty: DataType) -> Result<ArrayRef, EngineError> {
        run(name, args.to_vec(), ty)
    }

    fn fails(name: &str, args: &[ArrayRef], ty: DataType, words: &str) {
        let error = one(name, args, ty).unwrap_err();
        assert_eq!(error.code(), "E2103", "{name}");
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn whole_arithmetic_is_checked() {
        let wide = |value: i64| int(&[Some(value)]);
        assert_eq!(
            &one("add", &[int(&[Some(2), None]), int(&[Some(3), Some(1)])], DataType::Int64).unwrap(),
            &int(&[Some(5), None])
        );
        assert_eq!(&one("divide", &[wide(-7), wide(2)], DataType::Int64).unwrap(), &wide(-3));
        fails("add", &[wide(i64::MAX), wide(1)], DataType::Int64, "9223372036854775807 + 1");
        fails("multiply", &[wide(i64::MIN), wide(-1)], DataType::Int64, "*");
        fails("divide", &[wide(i64::MIN), wide(-1)], DataType::Int64, "outside");
        fails("divide", &[wide(1), wide(0)], DataType::Int64, "division by zero: 1 / 0");
        fails("negate", &[wide(i64::MIN)], DataType::Int64, "outside");
        fails("abs", &[wide(i64::MIN)], DataType::Int64, "outside");
        let small: ArrayRef = Arc::new(UInt64Array::from(vec![1]));
        let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
        fails("subtract", &[small.clone(), large.clone()], DataType::UInt64, "1 - 18446744073709551615");
        fails("multiply", &[large.clone(), large], DataType::UInt64, "out of range");
        // A fault in a null row is none.
        let null = int(&[None]);
        assert_eq!(&one("divide", &[null.clone(), wide(0)], DataType::Int64).unwrap(), &null);
    }

    #[test]
    fn floats_stay_finite() {
        assert_eq!(
            &one("divide", &[float(&[1.0]), float(&[4.0])], DataType::Float64).unwrap(),
            &float(&[0.25])
        );
        fails("divide", &[float(&[0.0]), float(&[0.0])], DataType::Float64, "division by zero");
        fails("multiply", &[float(&[1e200]), float(&[1e200])], DataType::Float64, "not a finite number");
        fails("sqrt", &[float(&[-1.0])], DataType::Float64, "-1");
        fails("ln", &[float(&[0.0])], DataType::Float64, "0");
        fails("exp", &[float(&[1000.0])], DataType::Float64, "1000");
        let narrow: ArrayRef = Arc::new(Float32Array::from(vec![3e38]));
        fails("add", &[narrow.clone(), narrow], DataType::Float32, "not a finite number");
        assert_eq!(&one("sqrt", &[int(&[Some(9)])], DataType::Float64).unwrap(), &float(&[3.0]));
    }

    #[test]
    fn units() {
        let sizes = |value: u64| -> ArrayRef { Arc::new(UInt64Array::from(vec![value])) };
        let ratio = one("divide", &[sizes(3), sizes(2)], DataType::Float64).unwrap();
        assert_eq!(&ratio, &float(&[1.5]));
        let took: ArrayRef = Arc::new(DurationNanosecondArray::from(vec![5]));
        let scaled = one("multiply", &[float(&[0.5]), took.clone()], NANOSECONDS).unwrap();
        assert_eq!(scaled.as_primitive::<arrow::datatypes::DurationNanosecondType>().value(0), 2);
        assert_eq!(&one("divide", &[took.clone(), took.clone()], DataType::Float64).unwrap(), &float(&[1.0]));
        fails("divide", &[took.clone(), float(&[0.0])], NANOSECONDS, "division by zero");
        // `tok` is told from a plain integer by its metadata.
        let metadata = HashMap::from([("promptc.unit".to_owned(), "tok".to_owned())]);
        let result = Arc::new(Field::new("value", DataType::Int64, false).with_metadata(metadata));
        let divided = |left: i64, right: ArrayRef| {
            let args = [int(&[Some(left)]), right];
            let array = body("divide").unwrap()(&Call { args: &args, result: &result, rows: 1 }).unwrap();
            array.as_primitive::<Int64Type>().value(0)
        };
        assert_eq!(
            (divided(-7, int(&[Some(2)])), divided(7, float(&[2.0])), divided(6, int(&[Some(-3)]))),
            (-4, 3, -2)
        );
    }

    #[test]
    fn rounding_and_bounds() {
        let values = float(&[0.5, -0.5, 1.5, -2.5, 2.4]);
        let rounded = |name: &str| {
            one(name, std::slice::from_ref(&values), DataType::Float64)
                .unwrap()
                .as_primitive::<Float64Type>()
                .values()
                .to_vec()
        };
        assert_eq!(rounded("round"), [1.0, -1.0, 2.0, -3.0, 2.0]);
        assert_eq!(rounded("floor"), [0.0, -1.0, 1.0, -3.0, 2.0]);
        assert_eq!(rounded("ceil"), [1.0, 0.0, 2.0, -2.0, 3.0]);
        assert_eq!(rounded("abs"), [0.5, 0.5, 1.5, 2.5, 2.4]);
        let bounds = |least: i64, most: i64| {
            [int(&[Some(-4), Some(2), None]), int(&[Some(least); 3]), int(&[Some(most); 3])]
        };
        assert_eq!(&one("clamp", &bounds(-1, 1), DataType::Int64).unwrap(), &int(&[Some(-1), Some(1), None]));
        fails("clamp", &bounds(2, 1), DataType::Int64, "lower bound 2");
        let pair = [int(&[Some(1), None, Some(3)]), int(&[Some(2), Some(2), Some(2)])];
        assert_eq!(&one("min", &pair, DataType::Int64).unwrap(), &int(&[Some(1), None, Some(2)]));
        assert_eq!(&one("max", &pair, DataType::Int64).unwrap(), &int(&[Some(2), None, Some(3)]));
        let words = [text(&[Some("b")]), text(&[Some("a")]), text(&[Some("Z")])];
        assert_eq!(&one("min", &words, DataType::Utf8).unwrap(), &text(&[Some("Z")]));
    }
}
