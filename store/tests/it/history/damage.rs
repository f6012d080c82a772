//! Files that are not as they were written: damage, other versions, other programs.

use std::fs;
use std::path::Path;

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use promptc_store::history::{History, HistoryError, Table};
use promptc_store::sql::{history_error, history_session};

use super::{JANUARY, MARCH, count, file, fill, try_query};

#[test]
fn damage_newer_versions_and_foreign_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY), ("R2", JANUARY)]);
    let path = file(&history, Table::Results, "R1.parquet");
    let good = fs::read(&path).unwrap();
    let outcome = |sql: &str| {
        let ctx = history_session(std::slice::from_ref(&history), "this", None).unwrap();
        try_query(&ctx, sql)
    };
    let all = "SELECT * FROM results";
    // Every 197th byte turned over: data, page index, footer.
    for at in (0..good.len()).step_by(197) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, bad).unwrap();
        let error = outcome(all).expect_err("a damaged file is read");
        assert_eq!(history_error(&error).map(HistoryError::code), Some("E1003"), "byte {at}: {error}");
        let error = error.to_string();
        assert!(error.contains("R1.parquet"), "byte {at}: {error}");
        assert_eq!(
            outcome("SELECT * FROM results WHERE run_id = 'R2'").unwrap()[0].num_rows(),
            5,
            "byte {at}"
        );
    }
    for cut in [0, 3, 100, good.len() - 1] {
        fs::write(&path, &good[..cut]).unwrap();
        let error = outcome(all).expect_err("a cut file is read").to_string();
        assert!(error.contains("R1.parquet"), "cut at {cut}: {error}");
        assert_eq!(history.runs().unwrap_err().code(), "E1003");
    }
    // A file of another table, and one that is not ours.
    fs::write(&path, fs::read(file(&history, Table::Samples, "R1.parquet")).unwrap()).unwrap();
    assert!(outcome(all).unwrap_err().to_string().contains("holds the table `samples`"));
    fs::write(&path, b"a text").unwrap();
    assert!(outcome(all).unwrap_err().to_string().contains("R1.parquet"));
    fs::write(&path, &good).unwrap();
    assert_eq!(count(&history, "SELECT count(*) FROM results"), 10);
}

#[test]
fn a_column_is_null_where_the_file_is_older_and_a_later_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY), ("R2", JANUARY)]);
    let path = file(&history, Table::Results, "R1.parquet");
    rewrite(&path, "0", &["subject", "seed", "plan_hash"]);
    assert_eq!(count(&history, "SELECT count(*) FROM results WHERE run_id = 'R1' AND seed IS NULL"), 5);
    assert_eq!(count(&history, "SELECT count(*) FROM results WHERE seed = 7"), 5);
    assert_eq!(history.runs().unwrap().len(), 2);
    history.compact(MARCH).unwrap();
    assert_eq!(count(&history, "SELECT count(*) FROM results WHERE seed = 7"), 5);
    assert_eq!(count(&history, "SELECT count(*) FROM results"), 10);

    fill(&history, &[("R3", MARCH)]);
    rewrite(&file(&history, Table::Results, "R3.parquet"), "2", &[]);
    let error = history.runs().unwrap_err();
    assert_eq!(error.code(), "E1002");
    assert!(
        error.to_string().contains("schema version 2") && error.to_string().contains("R3.parquet"),
        "{error}"
    );
    let ctx = history_session(&[history], "this", None).unwrap();
    assert!(try_query(&ctx, "SELECT * FROM results").unwrap_err().to_string().contains("schema version 2"));
}

/// Writes a file as another version would: without some columns, with another version number, sealed as FORMAT.md says.
fn rewrite(path: &Path, version: &str, without: &[&str]) {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let batch = reader.into_iter().next().unwrap().unwrap();
    let is_kept = |idx: &usize| !without.contains(&batch.schema().field(*idx).name().as_str());
    let batch = batch.project(&(0..batch.num_columns()).filter(is_kept).collect::<Vec<_>>()).unwrap();
    let properties = WriterProperties::builder().set_coerce_types(true).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.flush().unwrap();
    writer.sync().unwrap();
    let sealed_from = writer.inner().len();
    let digits = |hash: blake3::Hash| hash.to_hex()[..16].to_owned();
    let blocks: String = writer.inner().chunks(16 * 1024).map(|block| digits(blake3::hash(block))).collect();
    let mark = format!("promptc-seal-blake3:{}:{sealed_from:016x}", "0".repeat(64));
    for (key, value) in [
        ("promptc.schema_version", version),
        ("promptc.table", "results"),
        ("promptc.blocks", &blocks),
        ("promptc.seal", &mark),
    ] {
        writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value.to_owned()));
    }
    let mut bytes = writer.into_inner().unwrap();
    let at = bytes.windows(mark.len()).rposition(|window| window == mark.as_bytes()).unwrap()
        + "promptc-seal-blake3:".len();
    let hash = blake3::hash(&bytes[sealed_from..]).to_hex();
    bytes[at..at + 64].copy_from_slice(hash.as_bytes());
    fs::write(path, bytes).unwrap();
}
