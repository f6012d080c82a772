//! One value of an array as JSON, and as a cell of CSV.
//!
//! Vectors and lists are arrays, records and spans objects, maps objects with their keys in the map's order, enums text,
//! dates `YYYY-MM-DD`, timestamps RFC 3339 in UTC with six digits of a second, durations nanoseconds, bytes pairs of
//! hexadecimal digits: the forms that the sources read. A float is written with the fewest digits that give it back.

use super::SinkError;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, DurationNanosecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use std::io::Write;

/// A float that has no form in text.
pub(super) struct NotFinite(pub(super) f64);

/// Refuses columns whose type [`write_json`] (with `nested`) or [`write_cell`] does not serve.
pub(super) fn check(
    schema: &SchemaRef,
    kind: &'static str,
    path: &str,
    nested: bool,
) -> Result<(), SinkError> {
    for field in schema.fields() {
        let data_type = field.data_type();
        if !is_supported(data_type) || !nested && is_nested(data_type) {
            let (path, column) = (path.to_owned(), field.name().clone());
            let detail = format!("{kind} has no form for {}", crate::sources::type_name(data_type));
            return Err(SinkError::Column { kind, path, column, detail });
        }
    }
    Ok(())
}

fn is_nested(data_type: &DataType) -> bool {
    data_type.is_nested()
}

fn is_supported(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_supported(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().all(|field| is_supported(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                fields.iter().all(|field| is_supported(field.data_type()))
                    && !is_nested(fields[0].data_type())
            }
            _ => false,
        },
        DataType::Dictionary(_, value) => {
            matches!(**value, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        }
        DataType::Null
        | DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Date32
        | DataType::Timestamp(TimeUnit::Microsecond, _)
        | DataType::Duration(TimeUnit::Nanosecond) => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// Appends the value of `array` at `row` as JSON.
pub(super) fn write_json(out: &mut Vec<u8>, array: &dyn Array, row: usize) -> Result<(), NotFinite> {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Null => out.extend_from_slice(b"null"),
        DataType::List(_) => write_list(out, &*array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => write_list(out, &*array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => write_list(out, &*array.as_fixed_size_list().value(row))?,
        DataType::Struct(fields) => {
            let record = array.as_struct();
            let members = fields.iter().zip(record.columns());
            write_object(
                out,
                members.map(|(field, member)| (field.name().as_bytes().to_vec(), member.as_ref(), row)),
            )?;
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let mut members = Vec::with_capacity(entries.len());
            for entry in 0..entries.len() {
                let mut key = Vec::new();
                write_cell(&mut key, keys.as_ref(), entry)?;
                members.push((key, values.as_ref(), entry));
            }
            write_object(out, members.into_iter())?;
        }
        data_type if is_bare(data_type) => write_cell(out, array, row)?,
        _ => {
            let mut text = Vec::new();
            write_cell(&mut text, array, row)?;
            write_text(out, &text);
        }
    }
    Ok(())
}

/// Whether a value stands in JSON without quotes.
fn is_bare(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || matches!(data_type, DataType::Boolean | DataType::Duration(TimeUnit::Nanosecond))
}

fn write_list(out: &mut Vec<u8>, items: &dyn Array) -> Result<(), NotFinite> {
    out.push(b'[');
    for row in 0..items.len() {
        if row > 0 {
            out.push(b',');
        }
        write_json(out, items, row)?;
    }
    out.push(b']');
    Ok(())
}

fn write_object<'a>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = (Vec<u8>, &'a dyn Array, usize)>,
) -> Result<(), NotFinite> {
    out.push(b'{');
    for (idx, (name, value, row)) in members.enumerate() {
        if idx > 0 {
            out.push(b',');
        }
        write_text(out, &name);
        out.push(b':');
        write_json(out, value, row)?;
    }
    out.push(b'}');
    Ok(())
}

/// Appends a JSON text. `text` is UTF-8 because it comes out of an Arrow text or of ASCII that we wrote.
pub(super) fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut start = 0;
    for (idx, byte) in text.iter().enumerate() {
        let short: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text[start..idx]);
        if short.is_empty() {
            write_all(out, format_args!("\\u{byte:04x}"));
        } else {
            out.extend_from_slice(short);
        }
        start = idx + 1;
    }
    out.extend_from_slice(&text[start..]);
    out.push(b'"');
}

/// Appends a value that is not nested, without quotes. Null is nothing.
pub(super) fn write_cell(out: &mut Vec<u8>, array: &dyn Array, row: usize) -> Result<(), NotFinite> {
    if array.is_null(row) {
        return Ok(());
    }
    macro_rules! integer {
        ($kind:ty) => {
            write_all(out, format_args!("{}", array.as_primitive::<$kind>().value(row)))
        };
    }
    match array.data_type() {
        DataType::Boolean => write_all(out, format_args!("{}", array.as_boolean().value(row))),
        DataType::Int8 => integer!(Int8Type),
        DataType::Int16 => integer!(Int16Type),
        DataType::Int32 => integer!(Int32Type),
        DataType::Int64 => integer!(Int64Type),
        DataType::UInt8 => integer!(UInt8Type),
        DataType::UInt16 => integer!(UInt16Type),
        DataType::UInt32 => integer!(UInt32Type),
        DataType::UInt64 => integer!(UInt64Type),
        DataType::Duration(_) => integer!(DurationNanosecondType),
        DataType::Float16 => {
            write_float(out, f64::from(array.as_primitive::<Float16Type>().value(row)), true)?
        }
        DataType::Float32 => {
            write_float(out, f64::from(array.as_primitive::<Float32Type>().value(row)), true)?
        }
        DataType::Float64 => write_float(out, array.as_primitive::<Float64Type>().value(row), false)?,
        DataType::Utf8 => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => out.extend_from_slice(array.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => out.extend_from_slice(array.as_string_view().value(row).as_bytes()),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let keys = dictionary.normalized_keys();
            return write_cell(out, dictionary.values().as_ref(), keys[row]);
        }
        DataType::Binary => write_hex(out, array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => write_hex(out, array.as_binary::<i64>().value(row)),
        DataType::BinaryView => write_hex(out, array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => write_hex(out, array.as_fixed_size_binary().value(row)),
        DataType::Date32 => write_date(out, i64::from(array.as_primitive::<Date32Type>().value(row))),
        DataType::Timestamp(..) => {
            write_timestamp(out, array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        // `check` refuses all other types when the sink is opened.
        _ => {}
    }
    Ok(())
}

fn write_all(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("invariant: writing to memory does not fail");
}

/// Shortest decimal that reads back as the same float of its width. Integral floats keep a `.0`.
fn write_float(out: &mut Vec<u8>, value: f64, is_single: bool) -> Result<(), NotFinite> {
    if !value.is_finite() {
        return Err(NotFinite(value));
    }
    let written = if is_single {
        serde_json::to_writer(&mut *out, &(value as f32))
    } else {
        serde_json::to_writer(&mut *out, &value)
    };
    written.expect("invariant: writing a finite number to memory does not fail");
    Ok(())
}

fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        write_all(out, format_args!("{byte:02x}"));
    }
}

/// Year, month and day of a number of days since 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    write_all(out, format_args!("{year:04}-{month:02}-{day:02}"));
}

fn write_timestamp(out: &mut Vec<u8>, microseconds: i64) {
    const DAY: i64 = 86_400_000_000;
    write_date(out, microseconds.div_euclid(DAY));
    let rest = microseconds.rem_euclid(DAY);
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    write_all(out, format_args!("T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float32Array, Float64Array, StringArray, TimestampMicrosecondArray};

    fn json(array: &dyn Array, row: usize) -> String {
        let mut out = Vec::new();
        assert!(write_json(&mut out, array, row).is_ok());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_escaped_as_serde_reads_them() {
        let texts = ["", "a\"b\\c\n\r\t\u{0}\u{1f}\u{7f}", "日本 \u{1f600} \u{301}", "</script>"];
        let array = StringArray::from(texts.to_vec());
        for (row, text) in texts.iter().enumerate() {
            let read: String = serde_json::from_str(&json(&array, row)).unwrap();
            assert_eq!(&read, text);
        }
    }

    #[test]
    fn floats_read_back_the_same() {
        let array = Float32Array::from(vec![0.1, 1.0, -0.0, f32::MIN_POSITIVE, 16_777_217.0]);
        assert_eq!(json(&array, 0), "0.1");
        assert_eq!(json(&array, 1), "1.0");
        for row in 0..array.len() {
            let read: f32 = json(&array, row).parse().unwrap();
            assert_eq!(read.to_bits(), array.value(row).to_bits());
        }
        let mut out = Vec::new();
        for value in [f64::NAN, f64::INFINITY] {
            assert!(write_json(&mut out, &Float64Array::from(vec![value]), 0).is_err());
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        let cases = [
            (0, "\"1970-01-01T00:00:00.000000Z\""),
            (-1, "\"1969-12-31T23:59:59.999999Z\""),
            (951_782_400_000_000, "\"2000-02-29T00:00:00.000000Z\""),
            (1_700_000_000_123_456, "\"2023-11-14T22:13:20.123456Z\""),
            (-62_135_596_800_000_000, "\"0001-01-01T00:00:00.000000Z\""),
        ];
        for (microseconds, expected) in cases {
            assert_eq!(json(&TimestampMicrosecondArray::from(vec![microseconds]), 0), expected);
        }
    }
}
