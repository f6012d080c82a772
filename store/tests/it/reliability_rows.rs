//! Results of fault tests for the benchmark history: where `PROMPTC_TEST_ROWS` names a file, a test adds JSON lines to it, which
//! `promptc bench ingest FILE` takes. Also used by the tests of the `promptc` binary.

use std::io::Write;

/// Adds one line per metric (name, unit, value) of the test `reliability/<test>`; does nothing without the variable.
pub(crate) fn record(test: &str, params: &[(&str, u64)], metrics: &[(&str, &str, f64)]) {
    let Some(path) = std::env::var_os("PROMPTC_TEST_ROWS") else { return };
    let mut lines = String::new();
    for (metric, unit, value) in metrics {
        let params: Vec<String> = params.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        lines.push_str(&format!(
            "{{\"suite\": \"reliability\", \"bench_id\": \"reliability/{test}\", \"metric\": \"{metric}\", \"unit\": \"{unit}\", \
             \"value\": {value}, \"params\": {{{}}}}}\n",
            params.join(", ")
        ));
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}
