//! Constants: what number literals mean in a place, and the values of expressions without columns.

use super::context::Context;
use super::expressions::{literal, unknown};
use super::types::{is_number, report_mismatch};
use crate::diagnostic::{Code, Diagnostic};
use crate::op::{self, Value};
use crate::source::Span;
use crate::syntax::ast::{BinaryOp, UnaryOp, Unit};
use crate::types::Type;

/// A decimal number `mantissa * 10^exponent`, exact.
struct Decimal {
    mantissa: i128,
    exponent: i32,
}

/// Largest magnitude of an exponent that is read exactly; beyond it only floats are possible.
const EXPONENT: i32 = 400;

impl Decimal {
    fn parse(digits: &str) -> Option<Decimal> {
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (digits, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fraction = fraction.trim_end_matches('0');
        let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
        (exponent.abs() <= EXPONENT).then_some(Decimal { mantissa, exponent })
    }

    /// The number times `scale` if that is a whole number.
    fn whole(&self, scale: i128) -> Option<i128> {
        let mut value = self.mantissa.checked_mul(scale)?;
        for _ in 0..self.exponent.max(0) {
            value = value.checked_mul(10)?;
        }
        for _ in 0..(-self.exponent).max(0) {
            if value % 10 != 0 {
                return None;
            }
            value /= 10;
        }
        Some(value)
    }
}

/// The type of a literal with this unit, and what one of the unit is in the type's base unit.
fn unit_type(unit: Unit) -> (Type, i128) {
    match unit {
        Unit::Tok => (Type::Tok(None), 1),
        Unit::Ratio => (Type::Ratio, 1),
        Unit::Percent => (Type::Share, 1),
        Unit::Nanoseconds => (Type::Duration, 1),
        Unit::Microseconds => (Type::Duration, 1_000),
        Unit::Milliseconds => (Type::Duration, 1_000_000),
        Unit::Seconds => (Type::Duration, 1_000_000_000),
        Unit::Minutes => (Type::Duration, 60_000_000_000),
        Unit::Hours => (Type::Duration, 3_600_000_000_000),
        Unit::Bytes => (Type::Size, 1),
        Unit::KiB => (Type::Size, 1 << 10),
        Unit::MiB => (Type::Size, 1 << 20),
        Unit::GiB => (Type::Size, 1 << 30),
    }
}

/// A number literal: with a unit, of the unit's type; without, of the expected plain type that holds it, else `i64` or `f64`.
pub(crate) fn number(
    ctx: &mut Context<'_>,
    digits: &str,
    unit: Option<Unit>,
    expected: Option<&Type>,
    span: Span,
) -> op::Expr {
    let float = digits.parse::<f64>().unwrap_or(f64::NAN);
    let decimal = Decimal::parse(digits);
    if let Some(unit) = unit {
        let (ty, scale) = unit_type(unit);
        return match unit {
            Unit::Ratio => literal(Value::Float(float), ty),
            Unit::Percent => literal(Value::Float(float / 100.0), ty),
            _ => match decimal
                .and_then(|decimal| decimal.whole(scale))
                .and_then(|value| i64::try_from(value).ok())
            {
                Some(value) => literal(Value::Int(value), ty),
                None => {
                    let message =
                        format!("`{}` is not a whole number of its base unit", ctx.sources().snippet(span));
                    ctx.report(Diagnostic::new(
                        Code::E0303,
                        message,
                        span,
                        format!("{ty} counts whole units"),
                    ));
                    unknown()
                }
            },
        };
    }
    match expected.map(Type::required) {
        Some(ty @ Type::Int { signed, bits }) => match decimal.and_then(|decimal| decimal.whole(1)) {
            Some(value) if holds(*signed, *bits, value) => literal(int_value(value), ty.clone()),
            Some(_) => {
                let message = format!("number `{digits}` does not fit {ty}");
                ctx.report(Diagnostic::new(Code::E0502, message, span, format!("outside the range of {ty}")));
                unknown()
            }
            None => {
                report_mismatch(ctx, Code::E0303, &Type::F64, ty, span);
                unknown()
            }
        },
        Some(ty @ Type::Float { .. }) => literal(Value::Float(float), ty.clone()),
        _ => {
            let is_plain = !digits.contains(['.', 'e', 'E']);
            match decimal.and_then(|decimal| decimal.whole(1)).filter(|_| is_plain) {
                Some(value) if holds(true, 64, value) => literal(int_value(value), Type::I64),
                Some(value) if holds(false, 64, value) => literal(int_value(value), Type::U64),
                _ => literal(Value::Float(float), Type::F64),
            }
        }
    }
}

fn holds(signed: bool, bits: u8, value: i128) -> bool {
    let (min, max) =
        if signed { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) };
    (min..=max).contains(&value)
}

fn int_value(value: i128) -> Value {
    match i64::try_from(value) {
        Ok(value) => Value::Int(value),
        Err(_) => Value::UInt(u64::try_from(value).unwrap_or(u64::MAX)),
    }
}

/// The value of an expression without columns; otherwise a few words about what is not constant in it.
pub(crate) fn fold(expr: &op::Expr) -> Result<Value, String> {
    match &expr.kind {
        op::ExprKind::Literal(value) => Ok(value.clone()),
        op::ExprKind::Convert(inner) => Ok(convert(fold(inner)?, &expr.ty)),
        op::ExprKind::List(elements) => elements.iter().map(fold).collect::<Result<_, _>>().map(Value::List),
        op::ExprKind::Unary { op, operand } => match (op, fold(operand)?) {
            (_, Value::Null) => Ok(Value::Null),
            (UnaryOp::Not, Value::Bool(value)) => Ok(Value::Bool(!value)),
            (UnaryOp::Negate, Value::Int(value)) => value.checked_neg().map(Value::Int).ok_or_else(overflow),
            (UnaryOp::Negate, Value::Float(value)) => Ok(Value::Float(-value)),
            _ => Err("not a constant operand".to_owned()),
        },
        op::ExprKind::Binary { op: BinaryOp::Range, left, right } => {
            Ok(Value::Range(Box::new(fold(left)?), Box::new(fold(right)?)))
        }
        op::ExprKind::Binary { op, left, right } => fold_binary(*op, left, right, &expr.ty),
        op::ExprKind::Call { function: "concat", args } => {
            let parts: Vec<Value> = args.iter().map(fold).collect::<Result<_, _>>()?;
            Ok(Value::Text(parts.iter().map(super::context::text_of).collect()))
        }
        op::ExprKind::Call { function, .. } => Err(format!("`{function}` is computed for rows")),
        op::ExprKind::Aggregate { function, .. } => Err(format!("`{function}` is computed over rows")),
        op::ExprKind::Column(name) => Err(format!("column `{name}` differs from row to row")),
        op::ExprKind::Field { name, .. } | op::ExprKind::FieldOfEach { name, .. } => {
            Err(format!("field `{name}` differs from row to row"))
        }
    }
}

fn overflow() -> String {
    "outside the range of its type".to_owned()
}

fn convert(value: Value, ty: &Type) -> Value {
    match (value, ty.required()) {
        (Value::Int(value), Type::Float { .. }) => Value::Float(value as f64),
        (value, _) => value,
    }
}

fn as_float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::UInt(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

fn fold_binary(op: BinaryOp, left: &op::Expr, right: &op::Expr, ty: &Type) -> Result<Value, String> {
    let (left_value, right_value) = (fold(left)?, fold(right)?);
    if let (Value::Bool(left), Value::Bool(right)) = (&left_value, &right_value) {
        return match op {
            BinaryOp::And => Ok(Value::Bool(*left && *right)),
            BinaryOp::Or => Ok(Value::Bool(*left || *right)),
            BinaryOp::Eq => Ok(Value::Bool(left == right)),
            BinaryOp::NotEq => Ok(Value::Bool(left != right)),
            _ => Err("not a constant operand".to_owned()),
        };
    }
    if let (Value::Int(left), Value::Int(right)) = (&left_value, &right_value)
        && super::units::is_arithmetic(op)
        && (is_number(ty) || !matches!(ty, Type::Ratio))
    {
        return fold_ints(op, *left, *right);
    }
    if let (Value::Text(left), Value::Text(right)) = (&left_value, &right_value) {
        return compare(op, left.cmp(right));
    }
    let (Some(left), Some(right)) = (as_float(&left_value), as_float(&right_value)) else {
        return Err("not a constant operand".to_owned());
    };
    let number = match op {
        BinaryOp::Add => left + right,
        BinaryOp::Subtract => left - right,
        BinaryOp::Multiply => left * right,
        BinaryOp::Divide if right == 0.0 => return Err("divides by zero".to_owned()),
        BinaryOp::Divide => left / right,
        _ => return left.partial_cmp(&right).map_or_else(|| Err(overflow()), |order| compare(op, order)),
    };
    match ty.required() {
        Type::Ratio | Type::Share | Type::Float { .. } => Ok(Value::Float(number)),
        // Whole units are rounded down, as the language reference has it for `tok / ratio` and `tok * share`.
        _ if number.abs() < 9.0e18 => Ok(Value::Int(number.floor() as i64)),
        _ => Err(overflow()),
    }
}

fn fold_ints(op: BinaryOp, left: i64, right: i64) -> Result<Value, String> {
    let value = match op {
        BinaryOp::Add => left.checked_add(right),
        BinaryOp::Subtract => left.checked_sub(right),
        BinaryOp::Multiply => left.checked_mul(right),
        _ if right == 0 => return Err("divides by zero".to_owned()),
        _ => left.checked_div(right),
    };
    value.map(Value::Int).ok_or_else(overflow)
}

fn compare(op: BinaryOp, order: std::cmp::Ordering) -> Result<Value, String> {
    let holds = match op {
        BinaryOp::Eq => order.is_eq(),
        BinaryOp::NotEq => order.is_ne(),
        BinaryOp::Less => order.is_lt(),
        BinaryOp::LessEq => order.is_le(),
        BinaryOp::Greater => order.is_gt(),
        BinaryOp::GreaterEq => order.is_ge(),
        _ => return Err("not a constant operand".to_owned()),
    };
    Ok(Value::Bool(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let whole = |digits: &str, scale| Decimal::parse(digits).and_then(|decimal| decimal.whole(scale));
        assert_eq!(whole("0.5", 1 << 10), Some(512));
        assert_eq!(whole("1.5", 1), None);
        assert_eq!(whole("1e3", 1), Some(1000));
        assert_eq!(whole("-2", 1), Some(-2));
        assert_eq!(whole("1e-400", 1), None);
        assert!(whole("1e9999", 1).is_none());
    }
}
