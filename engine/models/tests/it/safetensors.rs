//! What a file of tensors must not do, and that each of these is refused by its name.

use half::{bf16, f16};
use promptc_models::safetensors::{Dtype, HEADER_BYTES_MAX, Safetensors, SafetensorsError, TENSORS_MAX};

/// A file with this header and data.
pub(crate) fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A tensor `x` with these fields.
fn entry(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
}

#[track_caller]
fn assert_refused(bytes: &[u8], wanted: &str) {
    let error = Safetensors::parse(bytes).expect_err(wanted);
    assert!(error.to_string().contains(wanted), "{error}, not {wanted}");
}

#[test]
fn numbers_of_all_float_types_are_exact() {
    let values = [1.0_f32, -0.375, 0.0, 1.0e-3, 65504.0];
    let header = r#"{"__metadata__":{"format":"pt"},"c":{"dtype":"BF16","shape":[5],"data_offsets":[30,40]},
        "a":{"dtype":"F32","shape":[5,1],"data_offsets":[0,20]},"b":{"dtype":"F16","shape":[1,5],"data_offsets":[20,30]},
        "empty":{"dtype":"I64","shape":[0,3],"data_offsets":[40,40]},"one":{"dtype":"U8","shape":[],"data_offsets":[40,41]}}"#;
    let mut data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    data.extend(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()));
    data.extend(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()));
    data.push(7);
    let bytes = file(header, &data);
    let found = Safetensors::parse(&bytes).unwrap();
    assert_eq!(found.floats("a", &[5, 1]).unwrap(), values);
    assert_eq!(found.floats("b", &[1, 5]).unwrap(), values.map(|value| f16::from_f32(value).to_f32()));
    assert_eq!(found.floats("c", &[5]).unwrap(), values.map(|value| bf16::from_f32(value).to_f32()));
    assert_eq!(found.metadata()["format"], "pt");
    let tensors: Vec<_> = found.tensors().map(|(name, tensor)| (name, tensor.dtype)).collect();
    assert_eq!(tensors.len(), 5);
    assert_eq!(tensors[4], ("one", Dtype::U8));
    assert_eq!(found.bytes_of(found.tensors().nth(4).unwrap().1), [7]);
    let is = |result: Result<_, SafetensorsError>, wanted: &str| {
        assert!(result.map(|_: Vec<f32>| ()).unwrap_err().to_string().contains(wanted), "{wanted}");
    };
    is(found.floats("one", &[]), "`one` has type U8");
    is(found.floats("a", &[5]), "`a` has shape [5, 1], expected [5]");
    is(found.floats("d", &[5]), "`d` is missing");
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for (dtype, bits) in
        [("F32", f32::NAN.to_le_bytes().to_vec()), ("F16", vec![0, 0x7c]), ("BF16", vec![0x80, 0xff])]
    {
        let len = bits.len();
        let data = [vec![0; len], bits].concat();
        let bytes = file(&entry(dtype, "[2]", &format!("[0,{}]", 2 * len)), &data);
        let error = Safetensors::parse(&bytes).unwrap().floats("x", &[2]).unwrap_err().to_string();
        assert!(error.contains("`x` holds") && error.contains("at element 1"), "{error}");
    }
}

#[test]
fn shapes_that_overflow_are_refused() {
    // The product wraps to a small number, or to zero, or a zero stands beside it.
    for shape in [
        "[4,4611686018427387912]",
        "[1099511627776,1099511627776]",
        "[18446744073709551615,2]",
        "[0,1099511627776,1099511627776]",
        "[4294967296,4294967296,0]",
    ] {
        assert_refused(
            &file(&entry("F32", shape, "[0,128]"), &[0; 128]),
            "more elements than can be counted",
        );
    }
}

#[test]
fn places_that_do_not_fit_are_refused() {
    let two = |first: &str, second: &str| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{first}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{second}}}}}"#
        )
    };
    assert!(Safetensors::parse(&file(&two("[4,8]", "[0,4]"), &[0; 8])).is_ok());
    let cases = [
        (file(&two("[0,4]", "[2,6]"), &[0; 8]), "`b` begins at byte 2, expected 4"),
        (file(&two("[0,4]", "[0,4]"), &[0; 8]), "`b` begins at byte 0, expected 4"),
        (file(&two("[0,4]", "[5,9]"), &[0; 9]), "`b` begins at byte 5, expected 4"),
        (file(&two("[1,5]", "[5,9]"), &[0; 9]), "`a` begins at byte 1, expected 0"),
        (file(&two("[0,4]", "[4,8]"), &[0; 9]), "data of 9 bytes found, expected 8"),
        (file(&two("[0,4]", "[4,8]"), &[0; 7]), "data of 7 bytes found, expected 8"),
        (file(&two("[0,5]", "[5,9]"), &[0; 9]), "`a` has a range of 5 bytes, expected 4"),
        (file(&two("[4,0]", "[4,8]"), &[0; 8]), "`a` has a range of 0 bytes, expected 4"),
        (file(&entry("F32", "[1]", "[18446744073709551612,0]"), &[0; 8]), "range of 0 bytes"),
        (
            file(&entry("F32", "[1]", "[18446744073709551611,18446744073709551615]"), &[0; 8]),
            "begins at byte",
        ),
        (file(&entry("F32", "[1073741824]", "[0,4294967296]"), &[0; 8]), "data of 8 bytes found"),
    ];
    for (bytes, wanted) in cases {
        assert_refused(&bytes, wanted);
    }
}

#[test]
fn headers_of_another_form_are_refused() {
    let twice = r#"{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
    let cases = [
        (twice.to_owned(), "`x` stands twice"),
        (r#"{"__metadata__":{"a":"1","a":"2"}}"#.to_owned(), "`__metadata__` stands twice"),
        (entry("F31", "[0]", "[0,0]"), "unknown type `F31`"),
        (entry("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), "`x` has 9 dimensions"),
        (entry("U8", "[-1]", "[0,0]"), "not a table of tensors"),
        (entry("U8", "[1.5]", "[0,0]"), "not a table of tensors"),
        (entry("U8", "[0]", "[0]"), "not a table of tensors"),
        (entry("U8", "[0]", "[0,0,0]"), "not a table of tensors"),
        (
            r#"{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"more":1}}"#.to_owned(),
            "not a table of tensors",
        ),
        ("[".repeat(10_000), "not a table of tensors"),
        (r#"{"x":"#.repeat(10_000), "not a table of tensors"),
        (r#"{"__metadata__":{"a":1}}"#.to_owned(), "not a table of tensors"),
        ("{} {}".to_owned(), "not a table of tensors"),
        ("\u{80}".to_owned(), "not a table of tensors"),
    ];
    for (header, wanted) in cases {
        assert_refused(&file(&header, &[]), wanted);
    }
    assert_eq!(Safetensors::parse(&file("{}  ", &[])).unwrap().tensors().count(), 0);
}

#[test]
fn limits_hold_before_anything_is_read() {
    for len in 0..8 {
        assert_refused(&[0; 8][..len], "its header alone has 8");
    }
    assert_refused(&[9, 0, 0, 0, 0, 0, 0, 0, b'{'], "its header alone has 17");
    assert_refused(&u64::MAX.to_le_bytes(), "header of 18446744073709551615 bytes");
    assert_refused(&(HEADER_BYTES_MAX as u64 + 1).to_le_bytes(), "expected at most 10000000");
    let many: Vec<String> = (0..=TENSORS_MAX)
        .map(|idx| format!(r#""{idx}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    assert!(Safetensors::parse(&file(&format!("{{{}}}", many[1..].join(",")), &[])).is_ok());
    assert_refused(&file(&format!("{{{}}}", many.join(",")), &[]), "not a table of tensors");
}
