//! `benches/targets.toml` as the table `targets`.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use promptc_engine::compiler::targets::{Target, parse};
use promptc_engine::error::EngineError;
use promptc_engine::store::sql::targets_schema;

/// The promises of a file.
pub(super) fn batch(path: &Path) -> Result<RecordBatch, EngineError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| EngineError::Program { path: path.to_path_buf(), source })?;
    let targets = parse(&text).map_err(|message| EngineError::Row {
        code: "E2102",
        message: format!("{}:{message}", path.display()),
    })?;
    table(&targets)
}

fn table(targets: &[Target]) -> Result<RecordBatch, EngineError> {
    let texts = |of: fn(&Target) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(targets.iter().map(of)))
    };
    let columns: Vec<ArrayRef> = vec![
        texts(|target| &target.id),
        texts(|target| &target.seed),
        texts(|target| &target.errata),
        texts(|target| &target.section),
        texts(|target| target.kind.name()),
        texts(|target| &target.bench_id),
        texts(|target| &target.metric),
        texts(|target| &target.statistic),
        texts(|target| &target.op),
        Arc::new(Float64Array::from_iter_values(targets.iter().map(|target| target.bound))),
        texts(|target| &target.unit),
        texts(|target| &target.needs),
        texts(|target| &target.note),
    ];
    Ok(RecordBatch::try_new(targets_schema(), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(key: &str) -> &str {
        match key {
            "id" => "an.id",
            "seed" => "sona",
            "kind" => "restated",
            "statistic" => "p99",
            "op" => ">",
            "unit" => "count",
            "bound" => "2.5",
            other => other,
        }
    }

    /// Every column has the value of the key of its name, and `target_id` that of `id`.
    #[test]
    fn a_promise_is_a_row_with_its_keys_as_columns() {
        let schema = targets_schema();
        let keys = schema.fields().iter().map(|field| match field.name().as_str() {
            "target_id" => "id",
            name => name,
        });
        let keys: Vec<&str> = keys.collect();
        let line = |key: &&str| {
            if *key == "bound" { "bound = 2.5".to_owned() } else { format!("{key} = \"{}\"", value(key)) }
        };
        let text = format!("[[target]]\n{}\n", keys.iter().map(line).collect::<Vec<_>>().join("\n"));
        let batch = table(&parse(&text).unwrap()).unwrap();
        for (idx, key) in keys.iter().enumerate() {
            let cell = arrow::util::display::array_value_to_string(batch.column(idx), 0).unwrap();
            assert_eq!(cell, value(key), "{key}");
        }
    }
}
