//! Stores of earlier versions open, and what is read from them is what was read then.
//!
//! `store/tests/compat/<version>/` holds a store as that version left it, with a benchmark history in it, and in `expected.txt`
//! what that version read from it. The directory of this version is made by
//! `cargo test --workspace --locked --test it write_the_store_of_this_version -- --ignored`, once, when it is released.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use arrow::util::pretty::pretty_format_batches;
use promptc_store::doctor::{self, Severity};
use promptc_store::flows::{Flow, FlowWriter, RowId};
use promptc_store::history::{Environment, History, ResultRow, Run, SampleRow, summary};
use promptc_store::kv::ledger::{uses_key, uses_value};
use promptc_store::kv::{Batch, Durability, Verified};
use promptc_store::open::Store;
use promptc_store::text::{TextIndex, TextParams, TextRow};
use promptc_store::vectors::{Metric, VectorIndex, VectorKind, VectorParams, vector_batch};

use crate::directory::open;
use crate::support::names;
use crate::vectors::copy_folder;

const FLOW: &str = "00112233445566778899aabbccddeeff";
const WORDS: [&str; 7] = ["red", "green", "blue", "fox", "dog", "house", "tree"];

fn compat() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat")
}

fn text(number: u32) -> String {
    let word = |at: u32| WORDS[(number.wrapping_mul(at + 3) % 7) as usize];
    (0..5).map(word).collect::<Vec<_>>().join(" ")
}

fn vector(number: u32) -> Vec<f32> {
    (1..=8_u32).map(|at| ((number * at * 37) % 101) as f32 - 50.0).collect()
}

fn row_id(number: u32) -> RowId {
    let mut row = RowId::default();
    row[12..].copy_from_slice(&number.to_be_bytes());
    row
}

fn row_key(number: u32) -> [u8; 32] {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key
}

fn text_params() -> TextParams {
    TextParams { stem: Some("en".into()), ..TextParams::default() }
}

fn vector_params(kind: VectorKind) -> VectorParams {
    VectorParams { kind, lists: Some(2), probes: 1, ..VectorParams::flat(Metric::Cosine, 8) }
}

async fn write(dir: &Path) {
    let store = open(dir);
    for number in 0..60_u32 {
        let mut batch = Batch::new();
        batch.put(format!("key {number:02}").as_bytes(), text(number).as_bytes()).unwrap();
        if number % 7 == 6 {
            batch.delete(format!("key {:02}", number - 3).as_bytes()).unwrap();
        }
        store.records().write(batch, Durability::GroupCommit).unwrap();
    }
    let rows: Vec<_> = (0..40).map(|number| (row_key(number), text(number).into_bytes())).collect();
    store.rows().put_many(&rows).unwrap();
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..300));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..300).map(text)));
    let batch = RecordBatch::try_from_iter([("number", numbers), ("text", texts)]).unwrap();
    let key = ["number".to_owned()];
    let mut writer =
        FlowWriter::create(&store.tmp_dir(), &store.flows_dir(), FLOW, batch.schema(), &key).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let mut index = TextIndex::open_or_create(&store.text_dir().join("words"), text_params()).unwrap();
    let row = |number| TextRow {
        row: row_id(number),
        key: number.to_be_bytes().to_vec(),
        title: None,
        text: text(number),
    };
    index.update(&[], (0..80).map(|number| Ok::<_, std::io::Error>(row(number))), "state 1").unwrap();
    index
        .update(&[row_id(5)], (80..90).map(|number| Ok::<_, std::io::Error>(row(number))), "state 2")
        .unwrap();
    for (name, kind) in [("flat", VectorKind::Flat), ("lists", VectorKind::IvfFlat)] {
        let path = store.vectors_dir().join(format!("{name}.lance"));
        let mut index = VectorIndex::open_or_create(&path, vector_params(kind)).await.unwrap();
        index.update(&[], &[vectors(0..90)], "state 1").await.unwrap();
        index.update(&[row_id(5)], &[vectors(90..95)], "state 2").await.unwrap();
    }
    let paths = [
        format!("flows/{FLOW}.parquet"),
        "text/words".into(),
        "vectors/flat.lance".into(),
        "vectors/lists.lance".into(),
    ];
    let uses = uses_value(paths.iter().map(String::as_str));
    store
        .ledger()
        .put_all(&[(&uses_key("demo.promptc"), &uses), ("build/demo.promptc", b"a record")])
        .unwrap();
    drop(store);
    write_history(&dir.join("history"));
}

fn vectors(numbers: std::ops::Range<u32>) -> RecordBatch {
    let rows: Vec<RowId> = numbers.clone().map(row_id).collect();
    let keys: Vec<Vec<u8>> = numbers.clone().map(|number| number.to_be_bytes().to_vec()).collect();
    let values = Float32Array::from_iter_values(numbers.flat_map(vector));
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let lists = FixedSizeListArray::try_new(item, 8, Arc::new(values), None).unwrap();
    vector_batch(&rows, &keys, &lists).unwrap()
}

fn write_history(dir: &Path) {
    let history = History::open(dir).unwrap();
    let environment = Environment { os: Some("linux".into()), ..Environment::default() }.sealed();
    for (id, started_at) in [("R1", 1_700_000_000_000_000), ("R2", 1_710_000_000_000_000)] {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let summary = summary(&values, 1);
        let [suite, bench_id, metric, unit] = ["demo", "parse/a", "wall_ns", "ns"].map(str::to_owned);
        let samples = SampleRow {
            bench_id: bench_id.clone(),
            metric: metric.clone(),
            iters: vec![1; values.len()],
            values,
            ..SampleRow::default()
        };
        let result = ResultRow {
            suite,
            bench_id,
            metric,
            unit,
            value: summary.median,
            summary,
            started_at,
            ..ResultRow::default()
        };
        let run = Run {
            id: id.into(),
            started_at,
            env_id: environment.id(),
            results: vec![result],
            samples: vec![samples],
            ..Run::default()
        };
        history.write(&run, &environment).unwrap();
    }
    history.mark("R2", true, "looked at").unwrap();
    history.compact(1_702_000_000_000_000 + 40 * 86_400_000_000).unwrap();
}

/// Everything that can be read, as text.
async fn picture(dir: &Path) -> String {
    let store = open(dir);
    let mut text = String::new();
    for (name, bytes) in store.ledger().entries("").unwrap() {
        writeln!(text, "ledger {name}: {}", bytes.escape_ascii()).unwrap();
    }
    let mut last = 0;
    let records = store.records();
    records
        .log(0, |record| {
            last = record.sequence;
            true
        })
        .unwrap();
    writeln!(text, "log to {last}, {:?}", records.verify().unwrap()).unwrap();
    records
        .range(b"", None, |key, value| {
            writeln!(text, "record {}: {}", key.escape_ascii(), value.escape_ascii()).is_ok()
        })
        .unwrap();
    let keys: Vec<_> = (0..41).map(row_key).collect();
    for (number, row) in store.rows().get_many(&keys).into_iter().enumerate() {
        writeln!(text, "row {number}: {}", row.map_or("none".into(), |row| row.escape_ascii().to_string()))
            .unwrap();
    }
    let flow = Flow::open(&store.flows_dir().join(format!("{FLOW}.parquet"))).unwrap();
    flow.verify().unwrap();
    let rows = flow.take(&[0, 7, 299], &["number".into(), "text".into()]).unwrap();
    writeln!(text, "{} rows\n{}", flow.rows(), pretty_format_batches(&[rows]).unwrap()).unwrap();
    let index = TextIndex::open_or_create(&store.text_dir().join("words"), text_params()).unwrap();
    writeln!(text, "text {:?} {:?}", index.state(), index.notices()).unwrap();
    for query in ["red fox", "house trees", "nothing"] {
        writeln!(text, "{query}: {}", hits(index.search(query, 5, None).unwrap())).unwrap();
    }
    for (name, kind) in [("flat", VectorKind::Flat), ("lists", VectorKind::IvfFlat)] {
        let path = store.vectors_dir().join(format!("{name}.lance"));
        let index = VectorIndex::open_or_create(&path, vector_params(kind)).await.unwrap();
        writeln!(text, "{name} {:?} {:?}", index.state(), index.notices()).unwrap();
        for number in [3, 500] {
            let found = index.search(&vector(number), 5, None).await.unwrap();
            writeln!(text, "{number}: {}", hits(found)).unwrap();
        }
    }
    drop(store);
    let history = History::open_existing(&dir.join("history")).unwrap();
    let ctx = promptc_store::sql::history_session(&[history], "this", None).unwrap();
    for sql in [
        "SELECT run_id, bench_id, value, n_samples, os FROM results JOIN env USING (env_id) ORDER BY run_id",
        "SELECT * FROM samples ORDER BY run_id",
        "SELECT gate_id, run_id, verdict, reason FROM verdicts",
    ] {
        let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
        writeln!(text, "{}", pretty_format_batches(&batches).unwrap()).unwrap();
    }
    text
}

fn hits(found: Vec<(RowId, f64)>) -> String {
    let hit = |(row, score): (RowId, f64)| {
        format!("{} {score:.6}", u32::from_be_bytes([row[12], row[13], row[14], row[15]]))
    };
    found.into_iter().map(hit).collect::<Vec<_>>().join(", ")
}

/// A copy of a kept store that may be changed.
fn copied(version: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy_folder(&compat().join(version).join("store"), dir.path());
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_of_all_versions_open_and_read_as_they_did() {
    let versions = names(&compat());
    assert!(!versions.is_empty());
    for version in versions {
        let expected = fs::read_to_string(compat().join(&version).join("expected.txt")).unwrap();
        let dir = copied(&version);
        let findings = doctor::check(dir.path());
        let is_whole = findings.iter().all(|finding| finding.severity != Severity::Error);
        assert!(is_whole, "{version}: {findings:#?}");
        // Twice: what the first opening writes must be readable as well.
        for _ in 0..2 {
            assert_eq!(picture(dir.path()).await, expected, "{version}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_log_and_records_opens_as_one_with_empty_ones() {
    for version in names(&compat()) {
        let dir = copied(&version);
        let families = ["default", "log", "records", "rows", "ledger", "meta"];
        let mut database =
            rocksdb::DB::open_cf(&rocksdb::Options::default(), dir.path().join("kv"), families).unwrap();
        database.drop_cf("log").unwrap();
        database.drop_cf("records").unwrap();
        drop(database);
        // The mark of the store that had them; an older version left none.
        let _ = fs::remove_file(dir.path().join("kv/CLOSED"));
        assert!(doctor::check(dir.path()).iter().all(|finding| finding.severity != Severity::Error));
        let store = open(dir.path());
        assert_eq!(store.records().verify().unwrap(), Verified::default());
        assert_eq!(store.ledger().get("build/demo.promptc").unwrap(), Some(b"a record".to_vec()));
        assert_eq!(store.records().put(b"a", b"1", Durability::Wal).unwrap().sequence, 1);
    }
}

#[test]
fn a_store_of_a_later_format_is_refused_and_not_changed() {
    for version in names(&compat()) {
        let dir = copied(&version);
        fs::write(dir.path().join("FORMAT"), "promptc-store 2\nof a later version\n").unwrap();
        // What a later version leaves says so everywhere.
        fs::remove_file(dir.path().join("kv/CLOSED")).unwrap_or_default();
        let before = bytes_below(&dir.path().join("kv"));
        for read_only in [false, true] {
            let options = promptc_store::open::StoreOptions { cache_bytes: 1, read_only };
            let error = Store::open(dir.path(), &options).unwrap_err();
            assert_eq!(error.code(), "E1002", "{error}");
            assert!(error.to_string().contains("format 2"), "{error}");
        }
        assert_eq!(doctor::check(dir.path())[0].code, Some("E1002"));
        assert!(doctor::repair(dir.path()).unwrap().is_empty());
        assert_eq!(bytes_below(&dir.path().join("kv")), before);
    }
}

fn bytes_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    names(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes into the source tree: run it once per released version"]
async fn write_the_store_of_this_version() {
    let folder = compat().join(env!("CARGO_PKG_VERSION"));
    assert!(!folder.exists(), "{} is kept as it was released", folder.display());
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("store")).await;
    copy_folder(&dir.path().join("store"), &folder.join("store"));
    // Reading opens for writing, so it comes after the copy.
    fs::write(folder.join("expected.txt"), picture(&dir.path().join("store")).await).unwrap();
    for name in names(&folder.join("store/kv")) {
        // Texts for people, and a lock.
        if name.starts_with("LOG") || name == "LOCK" {
            fs::remove_file(folder.join("store/kv").join(name)).unwrap();
        }
    }
}
