//! Functions of text. Places and lengths count characters (Unicode scalar values), sizes count bytes of UTF-8.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StringArray, StringBuilder, StructArray,
    UInt64Array,
};
use arrow::datatypes::DataType;
use promptc_models::tokenize::{Tokenizer, WordPunct};
use regex::{Regex, RegexBuilder};

use super::records::{Present, conform, lists, texts};
use super::{Body, Call};
use crate::aggregates::numeric::fault;
use crate::arrays;
use crate::error::EngineError;

pub(super) fn body(name: &str) -> Option<Body> {
    Some(match name {
        "contains" => |call| compare(call, |text, part| text.contains(part)),
        "starts_with" => |call| compare(call, |text, part| text.starts_with(part)),
        "ends_with" => |call| compare(call, |text, part| text.ends_with(part)),
        "lower" => |call| change(call, |text, into| into.push_str(&text.to_lowercase())),
        "upper" => |call| change(call, |text, into| into.push_str(&text.to_uppercase())),
        "trim" => |call| change(call, |text, into| into.push_str(text.trim())),
        "fingerprint" => |call| {
            change(call, |text, into| {
                into.push_str(&blake3::hash(text.as_bytes()).to_hex()[..FINGERPRINT_DIGITS])
            })
        },
        "bytes_of" => bytes_of,
        "tokens_of" => tokens_of,
        "replace" => replace,
        "split_text" => split_text,
        "join_text" => join_text,
        "concat" => concat,
        "matches" => matches,
        "capture" => capture,
        "contents" => contents,
        _ => return None,
    })
}

/// Digits of a fingerprint: 128 bits, as everywhere in the store.
const FINGERPRINT_DIGITS: usize = 32;

/// Largest automaton of an expression in bytes; the compiler checks patterns with the same bound.
const REGEX_BYTES: usize = 10 << 20;

fn compare(call: &Call<'_>, test: impl Fn(&str, &str) -> bool) -> Result<ArrayRef, EngineError> {
    let (text, part, present) = (texts(call, 0)?, texts(call, 1)?, Present::of(call));
    let found = (0..call.rows).map(|row| present.has(row).then(|| test(text.value(row), part.value(row))));
    Ok(Arc::new(found.collect::<BooleanArray>()))
}

fn change(call: &Call<'_>, write: impl Fn(&str, &mut String)) -> Result<ArrayRef, EngineError> {
    let text = texts(call, 0)?;
    let mut builder = StringBuilder::with_capacity(call.rows, text.value_data().len());
    let mut buffer = String::new();
    for value in &text {
        buffer.clear();
        match value {
            Some(value) => {
                write(value, &mut buffer);
                builder.append_value(&buffer);
            }
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn bytes_of(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let sizes: UInt64Array = texts(call, 0)?.iter().map(|text| text.map(|text| text.len() as u64)).collect();
    Ok(Arc::new(sizes))
}

/// `word_punct` is the one tokenizer of this build; the compiler refuses others.
fn tokens_of(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let count = |text: &str| i64::try_from(WordPunct.count(text)).unwrap_or(i64::MAX);
    Ok(Arc::new(texts(call, 0)?.iter().map(|text| text.map(count)).collect::<Int64Array>()))
}

/// Characters of each text.
pub(super) fn character_count(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let count = |text: &str| text.chars().count() as i64;
    Ok(Arc::new(texts(call, 0)?.iter().map(|text| text.map(count)).collect::<Int64Array>()))
}

/// The characters from one place up to another; the caller has cut the places to 0 at least.
pub(super) fn characters(text: &str, from: usize, to: usize) -> &str {
    let place = |count: usize| text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    if from >= to { "" } else { &text[place(from)..place(to)] }
}

/// An empty text occurs nowhere: nothing is replaced.
fn replace(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let (text, old, new, present) = (texts(call, 0)?, texts(call, 1)?, texts(call, 2)?, Present::of(call));
    let replaced = |row: usize| match old.value(row) {
        "" => text.value(row).to_owned(),
        old => text.value(row).replace(old, new.value(row)),
    };
    Ok(Arc::new((0..call.rows).map(|row| present.has(row).then(|| replaced(row))).collect::<StringArray>()))
}

/// Builds one list of texts a row, with the declared item field.
fn text_rows(call: &Call<'_>, rows: &[Vec<&str>], present: &Present) -> Result<ArrayRef, EngineError> {
    let DataType::List(item) = call.result.data_type() else {
        return Err(EngineError::internal("text", format!("texts into {}", call.result.data_type())));
    };
    let values: ArrayRef = Arc::new(rows.iter().flatten().map(Some).collect::<StringArray>());
    let list = arrays::list_of(item.clone(), conform(values, item.data_type())?, rows.iter().map(Vec::len));
    let (item, offsets, values, _) = list.into_parts();
    Ok(Arc::new(ListArray::try_new(item, offsets, values, present.nulls())?))
}

fn split_text(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let (text, separator, present) = (texts(call, 0)?, texts(call, 1)?, Present::of(call));
    let mut rows = vec![Vec::new(); call.rows];
    for (row, parts) in rows.iter_mut().enumerate().filter(|(row, _)| present.has(*row)) {
        if separator.value(row).is_empty() {
            return Err(fault("the separator is an empty text"));
        }
        parts.extend(text.value(row).split(separator.value(row)));
    }
    text_rows(call, &rows, &present)
}

fn join_text(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let (list, separator, present) = (lists(call, 0)?, texts(call, 1)?, Present::of(call));
    let all = conform(list.values().clone(), &DataType::Utf8)?;
    let all = all.as_string::<i32>();
    let joined = |row: usize| {
        let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
        let parts: Vec<&str> = range.filter(|idx| all.is_valid(*idx)).map(|idx| all.value(idx)).collect();
        parts.join(separator.value(row))
    };
    Ok(Arc::new((0..call.rows).map(|row| present.has(row).then(|| joined(row))).collect::<StringArray>()))
}

fn concat(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let columns: Result<Vec<StringArray>, EngineError> =
        (0..call.args.len()).map(|idx| texts(call, idx)).collect();
    let (columns, present) = (columns?, Present::of(call));
    let joined = |row: usize| columns.iter().map(|column| column.value(row)).collect::<String>();
    Ok(Arc::new((0..call.rows).map(|row| present.has(row).then(|| joined(row))).collect::<StringArray>()))
}

/// Calls `each` for every row with a text and an expression. The pattern is a constant, so that it is compiled once.
fn with_pattern(call: &Call<'_>, mut each: impl FnMut(Option<(&str, &Regex)>)) -> Result<(), EngineError> {
    let (text, pattern, present) = (texts(call, 0)?, texts(call, 1)?, Present::of(call));
    let mut compiled: Option<Regex> = None;
    for row in 0..call.rows {
        if !present.has(row) {
            each(None);
            continue;
        }
        let wanted = pattern.value(row);
        let regex = match compiled.take() {
            Some(regex) if regex.as_str() == wanted => regex,
            _ => {
                let regex = RegexBuilder::new(wanted).size_limit(REGEX_BYTES).build();
                regex.map_err(|error| fault(format!("regular expression does not compile: {error}")))?
            }
        };
        each(Some((text.value(row), compiled.insert(regex))));
    }
    Ok(())
}

fn matches(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let mut found = Vec::with_capacity(call.rows);
    with_pattern(call, |row| found.push(row.map(|(text, regex)| regex.is_match(text))))?;
    Ok(Arc::new(BooleanArray::from(found)))
}

/// The first group of the first match; null without a match, or if the group took no part in it.
fn capture(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let mut found = StringBuilder::new();
    with_pattern(call, |row| {
        let captures = row.and_then(|(text, regex)| regex.captures(text));
        found.append_option(captures.and_then(|captures| captures.get(1)).map(|group| group.as_str()));
    })?;
    Ok(Arc::new(found.finish()))
}

/// Between two turns that are joined.
const BLANK_LINE: &str = "\n\n";

fn contents(call: &Call<'_>) -> Result<ArrayRef, EngineError> {
    let (turns, present) = (lists(call, 0)?, Present::of(call));
    if turns.null_count() == turns.len() {
        return Ok(arrow::array::new_null_array(call.result.data_type(), call.rows));
    }
    let records: &StructArray = arrays::downcast(turns.values(), "contents")?;
    let column = |name: &str| -> Result<ArrayRef, EngineError> {
        let missing = || EngineError::internal("contents", format!("turns without `{name}`"));
        conform(records.column_by_name(name).ok_or_else(missing)?.clone(), &DataType::Utf8)
    };
    let (roles, texts) = (column("role")?, column("content")?);
    let (roles, texts) = (roles.as_string::<i32>(), texts.as_string::<i32>());
    let mut joined = StringBuilder::new();
    for row in 0..call.rows {
        let wanted = arrays::row_texts(&call.args[1], row, "contents")?;
        let Some(wanted) = wanted.filter(|_| present.has(row)) else {
            joined.append_null();
            continue;
        };
        let range = turns.value_offsets()[row] as usize..turns.value_offsets()[row + 1] as usize;
        let is_taken = |idx: &usize| {
            let has_both = records.is_valid(*idx) && roles.is_valid(*idx) && texts.is_valid(*idx);
            has_both && wanted.iter().any(|role| role == roles.value(*idx))
        };
        let parts: Vec<&str> = range.filter(is_taken).map(|idx| texts.value(idx)).collect();
        joined.append_value(parts.join(BLANK_LINE));
    }
    Ok(Arc::new(joined.finish()))
}

#[cfg(test)]
mod tests {
    use super::super::records::tests::{int, run, text};
    use super::*;
    use arrow::datatypes::{Field, Fields};

    fn list_type() -> DataType {
        DataType::List(Arc::new(Field::new("item", DataType::Utf8, false)))
    }

    #[test]
    fn tests_of_parts() {
        let check = |name: &str, left: &str, right: Option<&str>, expected: Option<bool>| {
            let found = run(name, vec![text(&[Some(left)]), text(&[right])], DataType::Boolean).unwrap();
            let expected: ArrayRef = Arc::new(BooleanArray::from(vec![expected]));
            assert_eq!(&found, &expected, "{name} {left} {right:?}");
        };
        check("contains", "a cat", Some("cat"), Some(true));
        check("contains", "a cat", Some("dog"), Some(false));
        check("contains", "a cat", None, None);
        check("starts_with", "äb", Some("ä"), Some(true));
        check("ends_with", "äb", Some("ä"), Some(false));
        check("matches", "id 42", Some(r"\d+"), Some(true));
        check("matches", "id", Some(r"\d+"), Some(false));
        assert_eq!(
            run("matches", vec![text(&[Some("x")]), text(&[Some("(")])], DataType::Boolean)
                .unwrap_err()
                .code(),
            "E2103"
        );
    }

    #[test]
    fn changes_of_text() {
        let one = |name: &str, args: &[Option<&str>]| {
            let args = args.iter().map(|arg| text(&[*arg])).collect();
            let found = run(name, args, DataType::Utf8).unwrap();
            let found = found.as_string::<i32>();
            found.is_valid(0).then(|| found.value(0).to_owned())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(one("lower", &[Some("ÄB")]), some("äb"));
        assert_eq!(one("upper", &[Some("straße")]), some("STRASSE"));
        assert_eq!(one("trim", &[Some("\u{a0} a b \n")]), some("a b"));
        assert_eq!(one("lower", &[None]), None);
        assert_eq!(one("replace", &[Some("aXbX"), Some("X"), Some("--")]), some("a--b--"));
        assert_eq!(one("replace", &[Some("ab"), Some(""), Some("-")]), some("ab"));
        assert_eq!(one("concat", &[Some("a"), Some(""), Some("b")]), some("ab"));
        assert_eq!(one("concat", &[Some("a"), None]), None);
        assert_eq!(one("capture", &[Some("v=12 v=13"), Some(r"v=(\d+)")]), some("12"));
        assert_eq!(one("capture", &[Some("b"), Some("(a)?b")]), None);
        assert_eq!(one("capture", &[Some("none"), Some(r"v=(\d+)")]), None);
        // BLAKE3 of the empty text, from its specification.
        assert_eq!(one("fingerprint", &[Some("")]), some("af1349b9f5f9a1a6a0404dea36dcc949"));
    }

    #[test]
    fn sizes_and_tokens() {
        let sizes = run("bytes_of", vec![text(&[Some("äb"), None])], DataType::UInt64).unwrap();
        let expected: ArrayRef = Arc::new(UInt64Array::from(vec![Some(3), None]));
        assert_eq!(&sizes, &expected);
        let counts = run("tokens_of", vec![text(&[Some("don't stop."), None])], DataType::Int64).unwrap();
        assert_eq!(&counts, &int(&[Some(5), None]));
    }

    #[test]
    fn splitting_and_joining() {
        let parts = run(
            "split_text",
            vec![text(&[Some("a,b,"), None, Some("")]), text(&[Some(","); 3])],
            list_type(),
        )
        .unwrap();
        let list = parts.as_list::<i32>();
        assert_eq!((list.value_length(0), list.is_null(1), list.value_length(2)), (3, true, 1));
        let joined = run("join_text", vec![parts, text(&[Some("; "); 3])], DataType::Utf8).unwrap();
        assert_eq!(&joined, &text(&[Some("a; b; "), None, Some("")]));
        let empty = run("split_text", vec![text(&[Some("a")]), text(&[Some("")])], list_type());
        assert_eq!(empty.unwrap_err().code(), "E2103");
    }

    #[test]
    fn contents_of_turns() {
        let fields = Fields::from(vec![
            Field::new("role", DataType::Utf8, false),
            Field::new("content", DataType::Utf8, true),
        ]);
        let roles = text(&[Some("user"), Some("assistant"), Some("user"), Some("user")]);
        let texts = text(&[Some("one"), Some("two"), None, Some("four")]);
        let records = StructArray::new(fields.clone(), vec![roles, texts], None);
        let item = Arc::new(Field::new("item", DataType::Struct(fields), false));
        let turns: ArrayRef = Arc::new(arrays::list_of(item, Arc::new(records), [4, 0].into_iter()));
        let wanted: ArrayRef = Arc::new(arrays::text_list(&[vec!["user".into()], vec!["user".into()]]));
        let found = run("contents", vec![turns, wanted], DataType::Utf8).unwrap();
        assert_eq!(&found, &text(&[Some("one\n\nfour"), Some("")]));
    }
}
