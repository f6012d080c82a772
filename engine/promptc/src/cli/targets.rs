//! `benches/targets.toml` as the table `targets`.
//!
//! The file holds `[[target]]` blocks of texts and numbers and nothing else; the benches check it more closely.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use promptc_engine::error::EngineError;
use promptc_engine::store::sql::targets_schema;

/// The promises of a file.
pub(super) fn batch(path: &Path) -> Result<RecordBatch, EngineError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| EngineError::Program { path: path.to_path_buf(), source })?;
    let rows = parse(&text).map_err(|message| EngineError::Row {
        code: "E2102",
        message: format!("{}:{message}", path.display()),
    })?;
    let schema = targets_schema();
    let columns: Result<Vec<ArrayRef>, EngineError> = schema
        .fields()
        .iter()
        .map(|field| {
            let key = if field.name() == "target_id" { "id" } else { field.name() };
            let cells = rows.iter().map(|row| row.get(key).map_or("", String::as_str));
            Ok(if *field.data_type() == DataType::Float64 {
                let numbers: Option<Vec<f64>> = cells.map(|cell| cell.parse().ok()).collect();
                let wrong = || EngineError::Row {
                    code: "E2102",
                    message: format!("{}: a `{key}` is not a number", path.display()),
                };
                Arc::new(Float64Array::from(numbers.ok_or_else(wrong)?)) as ArrayRef
            } else {
                Arc::new(StringArray::from_iter_values(cells)) as ArrayRef
            })
        })
        .collect();
    Ok(RecordBatch::try_new(schema, columns?)?)
}

/// The blocks of a text in order, keys to values without quotes.
fn parse(text: &str) -> Result<Vec<BTreeMap<&str, String>>, String> {
    let mut rows: Vec<BTreeMap<&str, String>> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "[[target]]" {
            rows.push(BTreeMap::new());
            continue;
        }
        let entry = line.split_once('=').zip(rows.last_mut());
        let Some(((key, value), row)) = entry else {
            return Err(format!("{number}: expected `[[target]]` or `key = value`"));
        };
        let value = value_of(value.trim()).ok_or_else(|| format!("{number}: value of `{}`", key.trim()))?;
        if row.insert(key.trim(), value).is_some() {
            return Err(format!("{number}: `{}` stands twice", key.trim()));
        }
    }
    Ok(rows)
}

/// A text between quotes, or a number; a comment may follow.
fn value_of(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else {
        let number = text.split('#').next().unwrap_or(text).trim().replace('_', "");
        return number.parse::<f64>().ok().filter(|number| number.is_finite()).map(|_| number);
    };
    let mut value = String::new();
    let mut letters = rest.chars();
    loop {
        match letters.next()? {
            '"' => break,
            '\\' => value.push(match letters.next()? {
                'n' => '\n',
                't' => '\t',
                other @ ('"' | '\\') => other,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    let rest = letters.as_str().trim();
    (rest.is_empty() || rest.starts_with('#')).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_and_faults_have_lines() {
        let text = "# promises\n[[target]]\nid = \"a.b\"  # stable\nbound = 1_000.5 # ns\nnote = \"say \\\"so\\\"\"\n\n[[target]]\nid = \"c\"\n";
        let rows = parse(text).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0]["id"].as_str(), rows[0]["bound"].as_str()), ("a.b", "1000.5"));
        assert_eq!(rows[0]["note"], "say \"so\"");
        for (text, line) in [
            ("id = \"a\"", "1:"),
            ("[[target]]\nid = a", "2:"),
            ("[[target]]\nid = \"a", "2:"),
            ("[[target]]\nid = \"a\"\nid = \"b\"", "3:"),
            ("[other]", "1:"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(line), "{text}: {error}");
        }
    }
}
