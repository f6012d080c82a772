//! Canonical bytes: deterministic CBOR of anything that serialises.
//!
//! Equal values give equal bytes on every machine, so fingerprints and plans are taken of these bytes. The encoding is
//! RFC 8949 section 4.2 ("core deterministic encoding requirements"): shortest heads, definite lengths, map keys in the
//! byte order of their encodings, floats in the shortest form that keeps the value.
//!
//! Values pass through [`serde_json::Value`], so structs and maps become text-keyed maps. Keys are sorted here; the order
//! that `serde_json` keeps is not relied on. An integer and a float of equal value stay different.

use serde::Serialize;
use serde_json::{Number, Value};

/// Major types of RFC 8949 section 3.1, shifted into place.
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const MAP: u8 = 5 << 5;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const HALF: u8 = 0xf9;
const SINGLE: u8 = 0xfa;
const DOUBLE: u8 = 0xfb;

/// The canonical bytes of a value. NaN and infinities become null, as in JSON. Cost: two passes over the value.
///
/// # Panics
/// If the value does not fit the JSON data model: a map whose keys are neither texts nor numbers, or an integer of
/// more than 64 bits. No type of this project does that.
#[must_use]
pub fn canonical_bytes(value: &impl Serialize) -> Vec<u8> {
    let value = serde_json::to_value(value).expect("invariant: program data fits the JSON data model");
    let mut bytes = Vec::with_capacity(256);
    write_value(&mut bytes, &value);
    bytes
}

fn write_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => bytes.push(NULL),
        Value::Bool(false) => bytes.push(FALSE),
        Value::Bool(true) => bytes.push(TRUE),
        Value::Number(number) => write_number(bytes, number),
        Value::String(text) => write_text(bytes, text),
        Value::Array(items) => {
            write_head(bytes, ARRAY, items.len() as u64);
            items.iter().for_each(|item| write_value(bytes, item));
        }
        Value::Object(fields) => {
            let mut entries: Vec<(Vec<u8>, &Value)> =
                fields.iter().map(|(key, value)| (text_bytes(key), value)).collect();
            entries.sort_unstable_by(|left, right| left.0.cmp(&right.0));
            write_head(bytes, MAP, entries.len() as u64);
            for (key, value) in entries {
                bytes.extend_from_slice(&key);
                write_value(bytes, value);
            }
        }
    }
}

fn write_text(bytes: &mut Vec<u8>, text: &str) {
    write_head(bytes, TEXT, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn text_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 3);
    write_text(&mut bytes, text);
    bytes
}

fn write_number(bytes: &mut Vec<u8>, number: &Number) {
    if let Some(value) = number.as_u64() {
        write_head(bytes, UNSIGNED, value);
    } else if let Some(value) = number.as_i64() {
        write_head(bytes, NEGATIVE, !value as u64);
    } else {
        write_float(bytes, number.as_f64().unwrap_or(f64::NAN));
    }
}

/// The head of an item in its shortest form.
fn write_head(bytes: &mut Vec<u8>, major: u8, argument: u64) {
    match argument {
        0..=23 => bytes.push(major | argument as u8),
        24..=0xff => bytes.extend_from_slice(&[major | 24, argument as u8]),
        0x100..=0xffff => {
            bytes.push(major | 25);
            bytes.extend_from_slice(&(argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            bytes.push(major | 26);
            bytes.extend_from_slice(&(argument as u32).to_be_bytes());
        }
        _ => {
            bytes.push(major | 27);
            bytes.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

/// The shortest of half, single and double that gives the same value back; NaN is the one half NaN.
fn write_float(bytes: &mut Vec<u8>, value: f64) {
    let single = value as f32;
    if value.is_nan() {
        bytes.extend_from_slice(&[HALF, 0x7e, 0x00]);
    } else if f64::from(single).to_bits() != value.to_bits() {
        bytes.push(DOUBLE);
        bytes.extend_from_slice(&value.to_be_bytes());
    } else if let Some(half) = exact_half(single) {
        bytes.push(HALF);
        bytes.extend_from_slice(&half.to_be_bytes());
    } else {
        bytes.push(SINGLE);
        bytes.extend_from_slice(&single.to_be_bytes());
    }
}

/// The bits of the half-precision float of the same value, if there is one. IEEE 754 binary32 to binary16.
fn exact_half(value: f32) -> Option<u16> {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let exponent = (bits >> 23 & 0xff) as i32 - 127;
    let mantissa = bits & 0x7f_ffff;
    match exponent {
        -127 if mantissa == 0 => Some(sign),
        128 if mantissa == 0 => Some(sign | 0x7c00),
        -14..=15 if mantissa.trailing_zeros() >= 13 => {
            Some(sign | ((exponent + 15) as u16) << 10 | (mantissa >> 13) as u16)
        }
        // Subnormal halves: the implicit one joins the mantissa and moves right.
        -24..=-15 => {
            let full = mantissa | 0x80_0000;
            let shift = (-exponent - 1) as u32;
            (full.trailing_zeros() >= shift).then(|| sign | (full >> shift) as u16)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn hex(value: &impl Serialize) -> String {
        canonical_bytes(value).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn examples_of_rfc_8949_appendix_a() {
        let cases = [
            (json!(0), "00"),
            (json!(23), "17"),
            (json!(24), "1818"),
            (json!(100), "1864"),
            (json!(1000), "1903e8"),
            (json!(1_000_000), "1a000f4240"),
            (json!(1_000_000_000_000_u64), "1b000000e8d4a51000"),
            (json!(18_446_744_073_709_551_615_u64), "1bffffffffffffffff"),
            (json!(-1), "20"),
            (json!(-10), "29"),
            (json!(-100), "3863"),
            (json!(-1000), "3903e7"),
            (json!(i64::MIN), "3b7fffffffffffffff"),
            (json!(0.0), "f90000"),
            (json!(-0.0), "f98000"),
            (json!(1.0), "f93c00"),
            (json!(1.1), "fb3ff199999999999a"),
            (json!(1.5), "f93e00"),
            (json!(65504.0), "f97bff"),
            (json!(100_000.0), "fa47c35000"),
            (json!(3.402_823_466_385_288_6e38), "fa7f7fffff"),
            (json!(1.0e300), "fb7e37e43c8800759c"),
            (json!(5.960_464_477_539_063e-8), "f90001"),
            (json!(0.000_061_035_156_25), "f90400"),
            (json!(-4.0), "f9c400"),
            (json!(-4.1), "fbc010666666666666"),
            (json!(false), "f4"),
            (json!(true), "f5"),
            (json!(null), "f6"),
            (json!(""), "60"),
            (json!("IETF"), "6449455446"),
            (json!("\"\\"), "62225c"),
            (json!("\u{fc}"), "62c3bc"),
            (json!("\u{6c34}"), "63e6b0b4"),
            (json!([]), "80"),
            (json!([1, [2, 3], [4, 5]]), "8301820203820405"),
            (json!({}), "a0"),
            (json!({"a": 1, "b": [2, 3]}), "a26161016162820203"),
            (json!(["a", {"b": "c"}]), "826161a161626163"),
        ];
        for (value, expected) in cases {
            assert_eq!(hex(&value), expected, "{value}");
        }
        let long: Vec<u8> = (1..=25).collect();
        assert_eq!(hex(&long), "98190102030405060708090a0b0c0d0e0f101112131415161718181819");
    }

    #[test]
    fn keys_are_sorted_by_their_encodings() {
        // A shorter key has a smaller head, so `z` comes before `aa`.
        assert_eq!(hex(&json!({"aa": 1, "z": 2})), "a2617a0262616101");
    }

    proptest! {
        #[test]
        fn floats_come_back_exactly(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let mut bytes = Vec::new();
            write_float(&mut bytes, value);
            let back = match bytes[0] {
                DOUBLE => f64::from_be_bytes(bytes[1..].try_into().unwrap()),
                SINGLE => f64::from(f32::from_be_bytes(bytes[1..].try_into().unwrap())),
                _ => unreachable!("random doubles are hardly ever halves"),
            };
            prop_assert_eq!(back.to_bits(), value.to_bits());
        }

        #[test]
        fn every_half_is_found(half: u16) {
            let exponent = i32::from(half >> 10 & 0x1f);
            prop_assume!(exponent != 31);
            let fraction = f32::from(half & 0x3ff) / 1024.0;
            let size = if exponent == 0 { fraction * 2f32.powi(-14) } else { (1.0 + fraction) * 2f32.powi(exponent - 15) };
            let value = if half & 0x8000 == 0 { size } else { -size };
            prop_assert_eq!(exact_half(value), Some(half));
        }
    }
}
