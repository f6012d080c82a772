//! Values of JSON and cells of CSV to typed values.
//!
//! | Declared | JSON | CSV cell |
//! |---|---|---|
//! | integers, `size`, `tok` | number without fraction, in range | decimal digits |
//! | floats, `ratio`, `share` | number, finite in the declared width | as in Rust, finite |
//! | `text`, `enum` | text | the cell |
//! | `date`, `timestamp` | text: RFC 3339 | same |
//! | `duration` | nanoseconds | same |
//! | `bytes`, `vector<n, bit>` | text: pairs of hexadecimal digits | same |
//! | lists, vectors, records, `map` | array; array of the right length; object; object | not accepted |
//!
//! Nothing is coerced: a number is not a text, `1.0` is not an integer, a missing field is a null.

use super::datum::Datum;
use crate::schema::ENUM_VALUES;
use arrow::compute::kernels::cast_utils::{Parser, string_to_timestamp_nanos};
use arrow::datatypes::{DataType, Date32Type, Field, TimeUnit};
use serde_json::{Map, Value};

/// Longest piece of a wrong value that a message shows.
const SHOWN_CHARS: usize = 40;

/// Whether [`from_json`] serves the type.
pub(crate) fn is_supported(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::FixedSizeList(item, _) => is_supported(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_supported(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                let key = fields[0].data_type();
                (key.is_integer() || *key == DataType::Utf8) && is_supported(fields[1].data_type())
            }
            _ => false,
        },
        other => is_cell(other),
    }
}

/// Whether [`from_cell`] serves the type.
pub(crate) fn is_cell(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(key, value) => **key == DataType::Int32 && **value == DataType::Utf8,
        DataType::Boolean
        | DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Binary
        | DataType::FixedSizeBinary(_)
        | DataType::Date32
        | DataType::Timestamp(TimeUnit::Microsecond, _)
        | DataType::Duration(TimeUnit::Nanosecond) => true,
        other => other.is_integer(),
    }
}

/// One value of each field of an object, in the order of `fields`. The error is a message that names the column.
pub(crate) fn record<'a>(
    mut object: Map<String, Value>,
    fields: impl Iterator<Item = &'a Field>,
) -> Result<Vec<Datum>, String> {
    fields
        .map(|field| match object.get_mut(field.name()) {
            Some(value) => from_json(value.take(), field).map_err(|detail| in_column(field, &detail)),
            None if field.is_nullable() => Ok(Datum::Null),
            None => Err(format!("column `{}` is missing", field.name())),
        })
        .collect()
}

/// A message about the column `field`; nested messages become a path.
fn in_column(field: &Field, detail: &str) -> String {
    match detail.strip_prefix("column `") {
        Some(inner) => format!("column `{}.{inner}", field.name()),
        None => format!("column `{}`: {detail}", field.name()),
    }
}

/// A value of JSON as the type of `field`. The error says what was expected and found.
pub(crate) fn from_json(value: Value, field: &Field) -> Result<Datum, String> {
    if value.is_null() {
        return if field.is_nullable() {
            Ok(Datum::Null)
        } else {
            Err("null in a column that is not nullable".into())
        };
    }
    match (field.data_type(), value) {
        (DataType::Boolean, Value::Bool(value)) => Ok(Datum::Bool(value)),
        (data_type, Value::Number(number)) if is_integer_like(data_type) => {
            let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
            let integer = integer.ok_or_else(|| mismatch(data_type, &number.to_string()))?;
            in_range(integer, data_type)
        }
        (data_type, Value::Number(number)) if data_type.is_floating() => {
            let float = number.as_f64().ok_or_else(|| mismatch(data_type, &number.to_string()))?;
            finite(float, data_type)
        }
        (data_type, Value::String(text)) if !is_integer_like(data_type) && !data_type.is_floating() => {
            from_text(text, field)
        }
        (DataType::List(item), Value::Array(values)) => list(values, item),
        (DataType::FixedSizeList(item, length), Value::Array(values)) => {
            if values.len() != *length as usize {
                return Err(format!("expected {length} elements, found {}", values.len()));
            }
            list(values, item)
        }
        (DataType::Struct(fields), Value::Object(object)) => {
            record(object, fields.iter().map(AsRef::as_ref)).map(Datum::Record)
        }
        (DataType::Map(entries, _), Value::Object(object)) => map(object, entries),
        (data_type, value) => Err(mismatch(data_type, &value.to_string())),
    }
}

/// A cell of CSV as the type of `field`. The caller has decided that the cell is not null.
pub(crate) fn from_cell(text: String, field: &Field) -> Result<Datum, String> {
    let data_type = field.data_type();
    match data_type {
        DataType::Boolean => match text.as_str() {
            "true" => Ok(Datum::Bool(true)),
            "false" => Ok(Datum::Bool(false)),
            _ => Err(mismatch(data_type, &text)),
        },
        _ if is_integer_like(data_type) => match text.parse::<i128>() {
            Ok(integer) => in_range(integer, data_type),
            Err(_) => Err(mismatch(data_type, &text)),
        },
        _ if data_type.is_floating() => match text.parse::<f64>() {
            Ok(float) => finite(float, data_type),
            Err(_) => Err(mismatch(data_type, &text)),
        },
        _ => from_text(text, field),
    }
}

fn is_integer_like(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Duration(TimeUnit::Nanosecond))
}

fn in_range(integer: i128, data_type: &DataType) -> Result<Datum, String> {
    let (low, high) = match data_type {
        DataType::Int8 => (i128::from(i8::MIN), i128::from(i8::MAX)),
        DataType::Int16 => (i128::from(i16::MIN), i128::from(i16::MAX)),
        DataType::Int32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        DataType::UInt8 => (0, i128::from(u8::MAX)),
        DataType::UInt16 => (0, i128::from(u16::MAX)),
        DataType::UInt32 => (0, i128::from(u32::MAX)),
        DataType::UInt64 => (0, i128::from(u64::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    if (low..=high).contains(&integer) {
        Ok(Datum::Int(integer))
    } else {
        Err(format!("{integer} is outside the range of {}", type_name(data_type)))
    }
}

fn finite(float: f64, data_type: &DataType) -> Result<Datum, String> {
    let largest = match data_type {
        DataType::Float16 => 65_504.0,
        DataType::Float32 => f64::from(f32::MAX),
        _ => f64::MAX,
    };
    if float.is_nan() {
        Err("NaN is not a value".into())
    } else if float.abs() > largest {
        Err(format!("{float} is outside the range of {}", type_name(data_type)))
    } else {
        Ok(Datum::Float(float))
    }
}

fn from_text(text: String, field: &Field) -> Result<Datum, String> {
    let data_type = field.data_type();
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => Ok(Datum::Text(text)),
        DataType::Dictionary(..) => enum_value(text, field),
        DataType::Binary => hex(&text).map(Datum::Bytes).ok_or_else(|| mismatch(data_type, &text)),
        DataType::FixedSizeBinary(length) => match hex(&text) {
            Some(bytes) if bytes.len() == *length as usize => Ok(Datum::Bytes(bytes)),
            Some(bytes) => Err(format!("expected {length} bytes, found {}", bytes.len())),
            None => Err(mismatch(data_type, &text)),
        },
        DataType::Date32 => {
            let days = Date32Type::parse(&text).ok_or_else(|| mismatch(data_type, &text))?;
            Ok(Datum::Int(i128::from(days)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => match string_to_timestamp_nanos(&text) {
            Ok(nanoseconds) => Ok(Datum::Int(i128::from(nanoseconds.div_euclid(1_000)))),
            Err(_) => Err(mismatch(data_type, &text)),
        },
        _ => Err(mismatch(data_type, &Value::String(text).to_string())),
    }
}

fn enum_value(text: String, field: &Field) -> Result<Datum, String> {
    let allowed =
        field.metadata().get(ENUM_VALUES).and_then(|list| serde_json::from_str::<Vec<String>>(list).ok());
    match allowed {
        Some(allowed) if !allowed.contains(&text) => {
            Err(format!("expected one of {}, found {}", allowed.join(", "), shorten(&text)))
        }
        _ => Ok(Datum::Text(text)),
    }
}

fn list(values: Vec<Value>, item: &Field) -> Result<Datum, String> {
    let convert = |(idx, value)| from_json(value, item).map_err(|detail| format!("element {idx}: {detail}"));
    values.into_iter().enumerate().map(convert).collect::<Result<_, _>>().map(Datum::List)
}

fn map(object: Map<String, Value>, entries: &Field) -> Result<Datum, String> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(mismatch(entries.data_type(), "object"));
    };
    let (key_field, value_field) = (&fields[0], &fields[1]);
    let mut pairs = Vec::with_capacity(object.len());
    for (name, value) in object {
        let value = from_json(value, value_field)
            .map_err(|detail| format!("entry `{}`: {detail}", shorten(&name)))?;
        pairs.push((from_cell(name, key_field)?, value));
    }
    pairs.sort_by(|left, right| compare_keys(&left.0, &right.0));
    // `1` and `01` are one integer.
    if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("two entries with the key {:?}", pair[0].0));
    }
    Ok(Datum::Map(pairs))
}

fn compare_keys(left: &Datum, right: &Datum) -> std::cmp::Ordering {
    match (left, right) {
        (Datum::Int(left), Datum::Int(right)) => left.cmp(right),
        (Datum::Text(left), Datum::Text(right)) => left.cmp(right),
        _ => std::cmp::Ordering::Equal,
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

fn mismatch(data_type: &DataType, found: &str) -> String {
    format!("expected {}, found {}", type_name(data_type), shorten(found))
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The type's name in the language.
pub(crate) fn type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "bool",
        DataType::Int8 => "i8",
        DataType::Int16 => "i16",
        DataType::Int32 => "i32",
        DataType::Int64 => "i64",
        DataType::UInt8 => "u8",
        DataType::UInt16 => "u16",
        DataType::UInt32 => "u32",
        DataType::UInt64 => "u64",
        DataType::Float16 => "f16",
        DataType::Float32 => "f32",
        DataType::Float64 => "f64",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes as hexadecimal digits",
        DataType::Date32 => "date as YYYY-MM-DD",
        DataType::Timestamp(..) => "timestamp as RFC 3339",
        DataType::Duration(_) => "duration in nanoseconds",
        DataType::Dictionary(..) => "enum",
        DataType::List(item) => return format!("list<{}>", type_name(item.data_type())),
        DataType::FixedSizeList(item, length) => {
            return format!("vector<{length}, {}>", type_name(item.data_type()));
        }
        DataType::FixedSizeBinary(length) => return format!("vector<{}, bit>", i64::from(*length) * 8),
        DataType::Struct(_) => "record",
        DataType::Map(..) => "map",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn json(text: &str, data_type: DataType) -> Result<Datum, String> {
        from_json(serde_json::from_str(text).unwrap(), &Field::new("c", data_type, false))
    }

    #[test]
    fn values_of_the_right_type_are_taken() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        let vector = DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, false)), 2);
        let text = || Datum::Text("x".into());
        let cases = [
            ("true", DataType::Boolean, Datum::Bool(true)),
            ("-128", DataType::Int8, Datum::Int(-128)),
            ("18446744073709551615", DataType::UInt64, Datum::Int(i128::from(u64::MAX))),
            ("2", DataType::Float64, Datum::Float(2.0)),
            ("0.5", DataType::Float16, Datum::Float(0.5)),
            ("\"x\"", DataType::Utf8, text()),
            ("\"00fF\"", DataType::Binary, Datum::Bytes(vec![0, 255])),
            ("\"1970-01-02\"", DataType::Date32, Datum::Int(1)),
            (
                "\"1970-01-01T00:00:01.000002Z\"",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                Datum::Int(1_000_002),
            ),
            ("7", DataType::Duration(TimeUnit::Nanosecond), Datum::Int(7)),
            ("[1, null]", list, Datum::List(vec![Datum::Int(1), Datum::Null])),
            ("[1, 2.5]", vector, Datum::List(vec![Datum::Float(1.0), Datum::Float(2.5)])),
        ];
        for (given, data_type, expected) in cases {
            assert!(is_supported(&data_type));
            assert_eq!(json(given, data_type.clone()), Ok(expected), "{given} as {data_type}");
        }
    }

    #[test]
    fn values_of_another_type_are_refused() {
        let vector = DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, false)), 2);
        let cases = [
            ("1.0", DataType::Int64, "expected i64, found 1.0"),
            ("300", DataType::UInt8, "300 is outside the range of u8"),
            ("-1", DataType::UInt64, "-1 is outside the range of u64"),
            ("\"1\"", DataType::Int64, "expected i64, found \"1\""),
            ("1", DataType::Utf8, "expected text, found 1"),
            ("1e39", DataType::Float32, "is outside the range of f32"),
            ("null", DataType::Utf8, "null in a column that is not nullable"),
            ("[1]", vector.clone(), "expected 2 elements, found 1"),
            ("[1, \"a\"]", vector, "element 1: expected f32, found \"a\""),
            ("\"abc\"", DataType::Binary, "expected bytes"),
            ("\"2024-13-01\"", DataType::Date32, "expected date"),
            ("{}", DataType::Boolean, "expected bool, found {}"),
        ];
        for (given, data_type, expected) in cases {
            let message = json(given, data_type).unwrap_err();
            assert!(message.contains(expected), "{given}: {message}");
        }
    }

    #[test]
    fn nested_columns_are_named_by_their_path() {
        let inner = DataType::Struct(vec![Field::new("b", DataType::Int32, false)].into());
        let fields = [Field::new("a", inner, false)];
        let object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        let message = record(object(r#"{"a": {"b": "x"}}"#), fields.iter()).unwrap_err();
        assert_eq!(message, "column `a.b`: expected i32, found \"x\"");
        let message = record(object(r#"{"a": {}}"#), fields.iter()).unwrap_err();
        assert_eq!(message, "column `a.b` is missing");
    }

    #[test]
    fn map_keys_are_sorted_by_their_type() {
        let map_of = |key| {
            let fields = vec![Field::new("keys", key, false), Field::new("values", DataType::Utf8, true)];
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields.into()), false)), true)
        };
        let keys = |datum| match datum {
            Datum::Map(pairs) => pairs.into_iter().map(|pair| pair.0).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        let found = keys(json(r#"{"10": null, "9": "x"}"#, map_of(DataType::Int64)).unwrap());
        assert_eq!(found, [Datum::Int(9), Datum::Int(10)]);
        let found = keys(json(r#"{"9": null, "10": "x"}"#, map_of(DataType::Utf8)).unwrap());
        assert_eq!(found, [Datum::Text("10".into()), Datum::Text("9".into())]);
        assert!(json(r#"{"1": "x", "01": "y"}"#, map_of(DataType::Int64)).is_err());
    }

    #[test]
    fn enum_values_are_checked_where_the_field_lists_them() {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let listed = [(ENUM_VALUES.to_owned(), r#"["low","high"]"#.to_owned())].into();
        let field = Field::new("c", dictionary, false).with_metadata(listed);
        assert!(from_cell("low".into(), &field).is_ok());
        assert!(from_cell("middle".into(), &field).unwrap_err().contains("low, high"));
    }
}
