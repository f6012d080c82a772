//! Every kind of source, read back; every kind of bad input, refused by name and place.

use crate::directory::{other_process, told_dir};
use crate::support::{int, read_all, sink, source, text, texts, write_all, write_one};
use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type, Schema, TimeUnit, UInt32Type};
use promptc_store::schema::quarantine_batch;
use promptc_store::sources::{BadRows, SourceError, content_hash, fixed_columns, read, resolve};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn nullable(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

#[test]
fn jsonl_of_many_files_in_byte_order_with_any_batch_size() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "b/2.jsonl",
        "{\"id\": \"c\", \"n\": 3, \"x\": 0}\n\n{\"n\": 4, \"id\": \"d\", \"t\": \"日\"}",
    );
    write(dir.path(), "a-1.jsonl", "\u{feff}{\"id\": \"a\", \"n\": 1}\r\n");
    write(dir.path(), "a/1.jsonl", "{\"id\": \"b\", \"n\": 2}\n");
    write(dir.path(), "a/1.txt", "not read");
    let spec = source("jsonl", dir.path(), "**/*.jsonl", vec![text("id"), int("n"), nullable("t")]);
    for batch_rows in [1, 2, 3, 100] {
        let (batch, bad) = read_all(&spec, batch_rows).unwrap();
        assert_eq!(texts(&batch, "id"), ["a", "b", "c", "d"]);
        assert_eq!(batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values(), &[1, 2, 3, 4]);
        assert_eq!(texts(&batch, "t"), ["null", "null", "null", "日"]);
        assert!(bad.is_empty());
    }
    let limited = promptc_store::sources::SourceSpec { limit: Some(3), ..spec };
    assert_eq!(texts(&read_all(&limited, 2).unwrap().0, "id"), ["a", "b", "c"]);
}

#[test]
fn compressed_files_are_read_by_suffix() {
    let dir = tempfile::tempdir().unwrap();
    let row = b"{\"id\": \"a\"}\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(row).unwrap();
    write(dir.path(), "1.jsonl.gz", gzip.finish().unwrap());
    write(dir.path(), "2.jsonl.zst", zstd::encode_all(row.as_slice(), 1).unwrap());
    let spec = source("jsonl", dir.path(), "*.jsonl.*", vec![text("id")]);
    assert_eq!(texts(&read_all(&spec, 10).unwrap().0, "id"), ["a", "a"]);

    let whole = fs::read(dir.path().join("1.jsonl.gz")).unwrap();
    write(dir.path(), "1.jsonl.gz", &whole[..whole.len() - 6]);
    let error = read_all(&spec, 10).unwrap_err();
    assert!(matches!(error, SourceError::Damaged { .. }), "{error}");
    assert_eq!(error.code(), "E2102");
}

#[test]
fn bad_rows_are_named_by_file_line_and_column() {
    let cases: &[(&[u8], &str)] = &[
        (b"{\"id\": \"a\", \"n\": 1", "malformed JSON in column 18"),
        (b"nonsense", "malformed JSON in column 2"),
        (b"{\"id\": \"a\", \"n\": \"1\"}", "column `n`: expected i64, found \"1\""),
        (b"{\"id\": \"a\", \"n\": 1.5}", "column `n`: expected i64, found 1.5"),
        (b"{\"id\": \"a\"}", "column `n` is missing"),
        (b"{\"id\": null, \"n\": 1}", "column `id`: null in a column that is not nullable"),
        (b"{\"id\": \"\xff\", \"n\": 1}", "byte 9 is not UTF-8"),
        (b"[1]", "expected an object, found an array"),
        (b"{\"id\": \"a\", \"n\": NaN}", "malformed JSON"),
        (
            b"{\"id\": \"0123456789012345678901234567890123456789\", \"n\": 1}",
            "the row has 58 bytes, at most 50",
        ),
    ];
    for (line, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let good = b"{\"id\": \"x\", \"n\": 0}\n";
        write(dir.path(), "f.jsonl", [good.as_slice(), line, b"\n", good].concat());
        let mut spec = source("jsonl", dir.path(), "f.jsonl", vec![text("id"), int("n")]);
        spec.max_bytes = 50;
        let error = read_all(&spec, 10).unwrap_err();
        assert_eq!(error.code(), "E2102");
        let message = error.to_string();
        assert!(message.contains("f.jsonl:2: ") && message.contains(expected), "{message}");
        assert!(error.help().contains("quarantine"));

        spec.bad_rows = BadRows::Quarantine;
        spec.max_bad = 0.5;
        let (batch, bad) = read_all(&spec, 10).unwrap();
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(
            (bad.len(), bad[0].line, bad[0].offset, bad[0].code),
            (1, Some(2), good.len() as u64, "E2102")
        );
        assert!(!bad[0].head.is_empty() && line.starts_with(&bad[0].head));
        let table = quarantine_batch("s", &bad);
        assert_eq!(texts(&table, "source"), ["s"]);
        assert!(texts(&table, "message")[0].contains(expected));

        spec.bad_rows = BadRows::Skip;
        let files = resolve(&spec, None).unwrap();
        let batches: Vec<_> = read(&spec, &files, 10).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            (batches[0].batch.num_rows(), batches[0].skipped, batches[0].quarantined.len()),
            (2, 1, 0)
        );

        spec.max_bad = 0.3;
        let error = read_all(&spec, 10).unwrap_err();
        assert_eq!(error.code(), "E2105");
        assert!(error.to_string().contains("1 of 3 rows"), "{error}");
    }
}

#[test]
fn hundred_megabyte_line_is_refused_without_being_held() {
    if let Some(dir) = told_dir() {
        let mut spec = source("jsonl", &dir, "f.jsonl.zst", vec![text("id")]);
        assert!(read_all(&spec, 10).unwrap_err().to_string().contains("104857600 bytes"));
        spec.bad_rows = BadRows::Quarantine;
        spec.max_bad = 1.0;
        let (batch, bad) = read_all(&spec, 10).unwrap();
        assert_eq!((texts(&batch, "id"), bad[0].head.len()), (vec!["a".to_owned()], 4_096));
        // The bound of a row is 16 MiB and its buffer may have grown to twice that.
        let peak_kib = peak_kib();
        assert!(peak_kib < 96 * 1_024, "{peak_kib} KiB");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Compressed, so that the test needs no disk; it is the bomb at the same time.
    let file = fs::File::create(dir.path().join("f.jsonl.zst")).unwrap();
    let mut file = zstd::Encoder::new(file, 1).unwrap();
    let block = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        file.write_all(&block).unwrap();
    }
    file.write_all(b"\n{\"id\": \"a\"}\n").unwrap();
    file.finish().unwrap();
    // In a process of its own, because other tests of this one need memory at the same time.
    let child = other_process("sources::hundred_megabyte_line_is_refused_without_being_held", dir.path());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Largest memory of this process so far.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn duplicate_keys_name_both_places() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.jsonl", "{\"id\": \"x\", \"n\": 1}\n{\"id\": \"y\", \"n\": 1}\n");
    write(dir.path(), "b.jsonl", "{\"id\": \"z\", \"n\": 1}\n{\"id\": \"x\", \"n\": 1}\n");
    let mut spec = source("jsonl", dir.path(), "*.jsonl", vec![text("id"), int("n")]);
    spec.key = vec!["id".into()];
    for batch_rows in [1, 100] {
        let error = read_all(&spec, batch_rows).unwrap_err();
        assert_eq!(error.code(), "E2104");
        let message = error.to_string();
        assert!(
            message.contains("id = \"x\"") && message.contains("a.jsonl:1") && message.contains("b.jsonl:2"),
            "{message}"
        );
    }
    spec.key = vec!["id".into(), "n".into()];
    write(dir.path(), "b.jsonl", "{\"id\": \"x\", \"n\": 2}\n");
    assert_eq!(read_all(&spec, 10).unwrap().0.num_rows(), 3);
    spec.key = vec!["m".into()];
    assert_eq!(read_all(&spec, 10).unwrap_err().code(), "E0303");
}

#[test]
fn missing_files_empty_patterns_and_folders_are_e2101() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    let cases =
        ["none.jsonl", "*.jsonl", "none/*.jsonl", "folder", "folder/**/*.jsonl", "[", "a/**b", "*/../x", ""];
    for path in cases {
        let spec = source("jsonl", dir.path(), path, vec![text("id")]);
        let error = resolve(&spec, None).unwrap_err();
        assert_eq!(error.code(), "E2101", "{path}: {error}");
        assert!(!error.help().is_empty());
    }
}

#[test]
fn patterns_match_as_in_a_shell_and_do_not_follow_folders() {
    let dir = tempfile::tempdir().unwrap();
    let files =
        ["a.md", "b.txt", "x/a.md", "x/y/a.md", "x/y/b.md", "z1/a.md", "z2/a.md", "{q}/a.md", ".h/a.md"];
    for file in files {
        write(dir.path(), file, "x");
    }
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "a.md", "x");
    std::os::unix::fs::symlink(outside.path(), dir.path().join("linked")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("a.md"), dir.path().join("x/linked.md")).unwrap();
    let matched = |pattern: &str| -> Vec<String> {
        let spec = source("text", dir.path(), pattern, vec![text("path")]);
        resolve(&spec, Some(dir.path()))
            .map_or_else(|_| Vec::new(), |files| files.into_iter().map(|file| file.name).collect())
    };
    let all = [
        ".h/a.md",
        "a.md",
        "x/a.md",
        "x/linked.md",
        "x/y/a.md",
        "x/y/b.md",
        "z1/a.md",
        "z2/a.md",
        "{q}/a.md",
    ];
    assert_eq!(matched("**/*.md"), all);
    assert_eq!(matched("~/**/*.md"), all);
    assert_eq!(matched("*.md"), ["a.md"]);
    assert_eq!(matched("x/*.md"), ["a.md", "linked.md"]);
    assert_eq!(matched("*/a.md"), [".h/a.md", "x/a.md", "z1/a.md", "z2/a.md", "{q}/a.md"]);
    assert_eq!(matched("z[1-1]/?.md"), ["z1/a.md"]);
    assert_eq!(matched("{q}/*.md"), ["a.md"]);
    assert_eq!(matched("x/**"), ["a.md", "linked.md", "y/a.md", "y/b.md"]);
    assert_eq!(matched("x/**/b.*"), ["y/b.md"]);
    assert_eq!(matched("./x/y/b.md"), ["b.md"]);
    assert_eq!(matched("linked/*.md"), ["a.md"]);
}

#[test]
fn content_hash_follows_content_and_names_and_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let store = crate::directory::open(&dir.path().join("store"));
    write(dir.path(), "d/a.md", "one");
    write(dir.path(), "d/b.md", "two");
    let spec = source("text", dir.path(), "d/*.md", vec![text("path")]);
    let hash = || content_hash(&resolve(&spec, None).unwrap(), Some(store.ledger())).unwrap();
    let first = hash();
    assert_eq!(first.1[0], *blake3::hash(b"one").as_bytes());
    assert_eq!(hash(), first);
    assert_eq!(content_hash(&resolve(&spec, None).unwrap(), None).unwrap(), first);
    write(dir.path(), "d/b.md", "TWO");
    assert_ne!(hash().0, first.0);
    write(dir.path(), "d/b.md", "two");
    assert_eq!(hash(), first);
    fs::rename(dir.path().join("d/b.md"), dir.path().join("d/c.md")).unwrap();
    assert_ne!(hash().0, first.0);
}

#[test]
fn settled_files_are_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = crate::directory::open(&dir.path().join("store"));
    write(dir.path(), "d/a.md", "one");
    let path = dir.path().join("d/a.md");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    let spec = source("text", dir.path(), "d/*.md", vec![text("path")]);
    let files = resolve(&spec, None).unwrap();
    let first = content_hash(&files, Some(store.ledger())).unwrap();
    // With the entry of before, the file is not even opened: it could be gone.
    fs::remove_file(&path).unwrap();
    assert_eq!(content_hash(&files, Some(store.ledger())).unwrap(), first);
    assert_eq!(content_hash(&files, None).unwrap_err().code(), "E2101");
}

#[test]
fn file_that_changes_after_it_was_resolved_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.jsonl", "{\"id\": \"a\"}\n");
    let spec = source("jsonl", dir.path(), "a.jsonl", vec![text("id")]);
    let files = resolve(&spec, None).unwrap();
    write(dir.path(), "a.jsonl", "{\"id\": \"a\"}\n{\"id\": \"b\"}\n");
    let error = read(&spec, &files, 10).next().unwrap().unwrap_err();
    assert!(matches!(error, SourceError::Changed { .. }), "{error}");
}

#[test]
fn json_array_of_objects() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "f.json", "[{\"id\": \"a\", \"n\": 1},\n {\"id\": \"b\", \"n\": 2}]\n");
    let mut spec = source("json", dir.path(), "f.json", vec![text("id"), int("n")]);
    assert_eq!(texts(&read_all(&spec, 10).unwrap().0, "id"), ["a", "b"]);
    write(dir.path(), "f.json", "[{\"id\": \"a\", \"n\": 1},\n {\"id\": \"b\"}, {\"id\": \"c\", \"n\": 3}]");
    assert!(read_all(&spec, 10).unwrap_err().to_string().contains("f.json:2: column `n` is missing"));
    spec.bad_rows = BadRows::Quarantine;
    spec.max_bad = 1.0;
    assert_eq!(texts(&read_all(&spec, 10).unwrap().0, "id"), ["a", "c"]);
}

#[test]
fn csv_with_and_without_header() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "f.csv", "n,extra,id,t\n1,x,\"a,\"\"b\"\"\",\n2,y,c,\"\"\n");
    let mut spec =
        source("csv", dir.path(), "f.csv", vec![text("id"), int("n"), nullable("t"), nullable("none")]);
    let (batch, _) = read_all(&spec, 10).unwrap();
    assert_eq!(texts(&batch, "id"), ["a,\"b\"", "c"]);
    assert_eq!(texts(&batch, "t"), ["null", ""]);
    assert_eq!(texts(&batch, "none"), ["null", "null"]);

    write(dir.path(), "f.csv", "a;1\nb;x\n");
    spec = source("csv", dir.path(), "f.csv", vec![text("id"), int("n")]);
    spec.header = false;
    spec.delimiter = ';';
    let message = read_all(&spec, 10).unwrap_err().to_string();
    assert!(message.contains("f.csv:2: column `n`: expected i64, found x"), "{message}");
    write(dir.path(), "f.csv", "a;1\nb\n");
    assert!(read_all(&spec, 10).unwrap_err().to_string().contains("expected 2 cells, found 1"));

    spec.header = true;
    let error = read_all(&spec, 10).unwrap_err();
    assert_eq!(error.code(), "E0303");
    assert!(error.to_string().contains("`id`") && error.to_string().contains("it names a, 1"), "{error}");
}

#[test]
fn nested_columns_of_json() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "f.jsonl",
        "{\"v\": [0.5, 1], \"l\": [\"a\", null], \"r\": {\"x\": 1, \"y\": 2}, \"m\": {\"b\": 1, \"a\": 2}}\n",
    );
    let item = |name: &str, data_type, nullable| Arc::new(Field::new(name, data_type, nullable));
    let entries =
        vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Int64, false)];
    let entries = Arc::new(Field::new("entries", DataType::Struct(entries.into()), false));
    let columns = vec![
        Field::new("v", DataType::FixedSizeList(item("item", DataType::Float32, false), 2), false),
        Field::new("l", DataType::List(item("item", DataType::Utf8, true)), false),
        Field::new("r", DataType::Struct(vec![int("x")].into()), false),
        Field::new("m", DataType::Map(entries, true), false),
    ];
    let spec = source("jsonl", dir.path(), "f.jsonl", columns);
    let (batch, _) = read_all(&spec, 10).unwrap();
    let keys =
        batch.column(3).as_map().keys().as_string::<i32>().iter().map(Option::unwrap).collect::<Vec<_>>();
    assert_eq!(keys, ["a", "b"]);
    assert_eq!(batch.column(1).as_list::<i32>().value(0).null_count(), 1);
}

#[test]
fn markdown_and_text_give_one_row_per_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "docs/a/one.md", "---\nlang: zh\n---\n\n# 标题 \u{1f600}\n\ntext e\u{301}\n");
    write(dir.path(), "docs/empty.md", "");
    let known = fixed_columns("markdown", None).unwrap();
    let fields: Vec<Field> = known.fields().iter().map(|field| field.as_ref().clone()).collect();
    let spec = source("markdown", dir.path(), "docs/**/*.md", fields);
    let (batch, _) = read_all(&spec, 10).unwrap();
    assert_eq!(texts(&batch, "path"), ["a/one.md", "empty.md"]);
    assert_eq!(texts(&batch, "title"), ["标题 \u{1f600}", "null"]);
    assert_eq!(batch.column_by_name("front_matter").unwrap().as_map().value_length(0), 1);
    let modified = batch.column_by_name("modified_at").unwrap();
    assert_eq!(*modified.data_type(), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));

    write(dir.path(), "docs/bad.md", b"ok \xf0\x28");
    let mut spec = source("markdown", dir.path(), "docs/**/*.md", vec![text("path"), text("text")]);
    assert!(
        read_all(&spec, 10)
            .unwrap_err()
            .to_string()
            .contains("bad.md:1: column 4: byte 4 of the file is not UTF-8")
    );
    write(dir.path(), "docs/bad.md", b"\xef\xbb\xbfone\nzwei: \xc3\xbc \xff");
    let message = read_all(&spec, 10).unwrap_err().to_string();
    assert!(message.contains("bad.md:2: column 9: byte 17 of the file is not UTF-8"), "{message}");
    let nowhere = source("markdown", Path::new(""), "no-such-*.md", vec![text("text")]);
    let message = read_all(&nowhere, 10).unwrap_err().to_string();
    assert_eq!(message, "no file matches `no-such-*.md` below .");
    spec.bad_rows = BadRows::Skip;
    spec.max_bad = 1.0;
    spec.max_bytes = 10;
    assert_eq!(texts(&read_all(&spec, 10).unwrap().0, "path"), ["empty.md"]);

    let spec = source("text", dir.path(), "docs/**/*.md", vec![text("title")]);
    assert_eq!(read_all(&spec, 10).unwrap_err().code(), "E0303");
    let spec = source("markdown", dir.path(), "docs/**/*.md", vec![text("title")]);
    assert_eq!(read_all(&spec, 10).unwrap_err().code(), "E0303");
}

const SQUAD: &str = r#"{"version": "x", "data": [
 {"title": "T", "paragraphs": [
  {"context": "Ünïcode is 日本 text", "qas": [
    {"id": "q1", "question": "what?", "answers": [{"text": "日本", "answer_start": 11}, {"text": "is", "answer_start": 8}]},
    {"id": "q2", "question": "no?", "is_impossible": true, "answers": []}]},
  {"context": "second", "qas": [{"id": "q3", "question": "w?", "answers": [{"text": "second", "answer_start": 0}]}]},
  {"context": "second", "qas": []}]}]}"#;

#[test]
fn squad_contexts_and_questions_with_byte_offsets() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "s.json", SQUAD);
    let part = |part: &str| {
        let fields = fixed_columns("squad", Some(part))
            .unwrap()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        let mut spec = source("squad", dir.path(), "s.json", fields);
        spec.part = Some(part.into());
        spec
    };
    let (contexts, _) = read_all(&part("contexts"), 10).unwrap();
    assert_eq!(texts(&contexts, "text"), ["Ünïcode is 日本 text", "second"]);
    let id = &blake3::hash("second".as_bytes()).to_hex()[..12];
    assert_eq!(texts(&contexts, "id")[1], id);

    let (questions, _) = read_all(&part("questions"), 1).unwrap();
    assert_eq!(texts(&questions, "qid"), ["q1", "q3"]);
    assert_eq!(texts(&questions, "doc")[1], id);
    let starts = questions.column_by_name("answer_starts").unwrap().as_list::<i32>().value(0);
    let context = &texts(&contexts, "text")[0];
    let starts: Vec<usize> =
        starts.as_primitive::<UInt32Type>().values().iter().map(|start| *start as usize).collect();
    assert!(context[starts[0]..].starts_with("日本") && context[starts[1]..].starts_with("is"));

    write(dir.path(), "s.json", SQUAD.replace("\"answer_start\": 11", "\"answer_start\": 12"));
    let message = read_all(&part("questions"), 10).unwrap_err().to_string();
    assert!(message.contains("question q1") && message.contains("does not stand at 12"), "{message}");
    write(dir.path(), "s.json", "{\"data\": [{\"title\": 1}]}");
    assert!(read_all(&part("contexts"), 10).unwrap_err().to_string().contains("not an article"));
}

#[test]
fn trec_documents_topics_and_judgements() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "docs",
        "<DOC>\n<DOCNO> A-1 </DOCNO>\n<HEAD>no</HEAD>\n<TEXT>\na &lt; <b>b</b>\n</TEXT>\n<TEXT>c</TEXT></DOC>\n<doc><docno>2</docno> plain 1 < 2\n</doc>\n",
    );
    write(dir.path(), "topics", "<top>\n<num> Number: 301\n<title> Crime\n<desc> Description:\nx\n</top>\n");
    write(dir.path(), "qrels", "301 0 A-1 1\n\n301\t0  2 -1\n");
    let part = |part: &str| {
        let fields = fixed_columns("trec", Some(part))
            .unwrap()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        let mut spec = source("trec", dir.path(), part, fields);
        spec.part = Some(part.into());
        spec
    };
    let (docs, _) = read_all(&part("docs"), 10).unwrap();
    assert_eq!(texts(&docs, "id"), ["A-1", "2"]);
    assert_eq!(
        texts(&docs, "text"),
        ["a < b\n\nc".replace("a < b\n", "a <  b \n"), "plain 1 < 2".to_owned()]
    );
    let (topics, _) = read_all(&part("topics"), 10).unwrap();
    assert_eq!(
        (texts(&topics, "qid"), texts(&topics, "text")),
        (vec!["301".to_owned()], vec!["Crime".to_owned()])
    );
    let (qrels, _) = read_all(&part("qrels"), 10).unwrap();
    assert_eq!(texts(&qrels, "id"), ["A-1", "2"]);
    write(dir.path(), "qrels", "301 0 A-1\n");
    assert!(
        read_all(&part("qrels"), 10)
            .unwrap_err()
            .to_string()
            .contains("qrels:1: expected 4 columns, found 3")
    );
    write(dir.path(), "docs", "<DOC>\n<DOCNO>1</DOCNO>\n");
    assert!(read_all(&part("docs"), 10).unwrap_err().to_string().contains("is not closed"));
}

#[test]
fn unknown_kinds_and_parts_are_refused_before_any_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "f", "x");
    for (kind, part) in [("http", None), ("squad", None), ("trec", Some("other")), ("jsonl", Some("docs"))] {
        let mut spec = source(kind, dir.path(), "f", vec![text("id")]);
        spec.part = part.map(str::to_owned);
        assert_eq!(spec.check().unwrap_err().code(), "E2002", "{kind}");
    }
}

#[test]
fn special_files_do_not_block() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(dir.path().join("p.jsonl")).status();
    assert!(made.is_ok_and(|status| status.success()));
    let spec = source("jsonl", dir.path(), "p.jsonl", vec![text("id")]);
    assert!(matches!(resolve(&spec, None).unwrap_err(), SourceError::NotAFile { .. }));
    let spec = source("jsonl", dir.path(), "*.jsonl", vec![text("id")]);
    assert!(matches!(resolve(&spec, None).unwrap_err(), SourceError::NoMatch { .. }));
}

#[test]
fn parquet_columns_are_checked_and_widened() {
    let dir = tempfile::tempdir().unwrap();
    let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        [[1.0, 2.0], [f32::NAN, 1.0], [3.0, 4.0]].map(|vector| Some(vector.map(Some))),
        2,
    );
    let stored = RecordBatch::try_from_iter([
        ("n", Arc::new(Int32Array::from(vec![Some(1), Some(2), None])) as ArrayRef),
        ("v", Arc::new(vectors) as ArrayRef),
    ])
    .unwrap();
    let target = sink("parquet", dir.path(), "f.parquet");
    write_one(&target, &stored).unwrap();
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let vector = Field::new("v", DataType::FixedSizeList(item, 2), false);
    let read_with = |columns: Vec<Field>, bad_rows| {
        let mut spec = source("parquet", dir.path(), "*.parquet", columns);
        spec.bad_rows = bad_rows;
        spec.max_bad = 1.0;
        read_all(&spec, 2)
    };
    let nullable_int = || Field::new("n", DataType::Int64, true);
    let error = read_with(vec![nullable_int(), vector.clone()], BadRows::Error).unwrap_err();
    assert!(error.to_string().contains("row 2: column `v`: NaN"), "{error}");
    let error = read_with(vec![int("n")], BadRows::Error).unwrap_err();
    assert!(error.to_string().contains("row 3: column `n`: null"), "{error}");
    let (batch, bad) = read_with(vec![int("n"), vector, nullable("none")], BadRows::Quarantine).unwrap();
    assert_eq!((batch.num_rows(), bad.iter().map(|row| row.offset).collect::<Vec<_>>()), (1, vec![1, 2]));
    for columns in [vec![text("n")], vec![text("none")], vec![Field::new("n", DataType::Int8, true)]] {
        let error = read_with(columns, BadRows::Error).unwrap_err();
        assert_eq!(error.code(), "E0303", "{error}");
    }
    let whole = fs::read(dir.path().join("f.parquet")).unwrap();
    write(dir.path(), "f.parquet", &whole[..whole.len() / 2]);
    assert_eq!(read_with(vec![nullable_int()], BadRows::Error).unwrap_err().code(), "E2102");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever rows a sink writes, the source of its kind reads back, whatever the sizes of batches.
    #[test]
    fn rows_survive_the_way_through_a_file(
        rows in prop::collection::vec((".{0,12}", any::<Option<i64>>(), prop::option::of(any::<i32>())), 1..20),
        split in 0usize..20,
        batch_rows in 1usize..30,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let floats = rows.iter().map(|row| row.2.map(|number| f64::from(number) / 3.0)).collect::<Float64Array>();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0.as_str()))),
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
            Arc::new(floats),
        ];
        let fields =
            vec![text("t"), Field::new("n", DataType::Int64, true), Field::new("f", DataType::Float64, true)];
        let written = RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), columns).unwrap();
        let at = split.min(rows.len());
        for kind in ["jsonl", "csv", "parquet"] {
            let parts = [written.slice(0, at), written.slice(at, rows.len() - at)];
            write_all(&sink(kind, dir.path(), kind), &written.schema(), &parts).unwrap();
            let read = read_all(&source(kind, dir.path(), kind, fields.clone()), batch_rows).unwrap().0;
            prop_assert_eq!(&read, &written, "{}", kind);
        }
    }

    /// No bytes make a reader panic, and a reader always ends.
    #[test]
    fn arbitrary_bytes_give_rows_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        for (kind, part, name) in [
            ("jsonl", None, "f"), ("json", None, "f"), ("csv", None, "f"), ("markdown", None, "f"), ("text", None, "f.gz"),
            ("text", None, "f.zst"), ("squad", Some("questions"), "f"), ("trec", Some("docs"), "f"),
            ("trec", Some("qrels"), "f"), ("parquet", None, "f"),
        ] {
            write(dir.path(), name, &bytes);
            let fields = match fixed_columns(kind, part) {
                Some(columns) => columns.fields().iter().map(|field| field.as_ref().clone()).collect(),
                None => vec![nullable("t")],
            };
            let mut spec = source(kind, dir.path(), name, fields);
            spec.part = part.map(str::to_owned);
            spec.bad_rows = BadRows::Skip;
            spec.max_bad = 1.0;
            let _ = read_all(&spec, 3);
        }
    }

    /// Damage in a Parquet file gives rows or an error, never a panic.
    #[test]
    fn damaged_parquet_gives_rows_or_errors(flips in prop::collection::vec((any::<u32>(), 1u8..), 1..4), cut in 0u32..40) {
        let dir = tempfile::tempdir().unwrap();
        let texts: Vec<String> = (0..200).map(|number| format!("text {}", number % 17)).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("t", Arc::new(StringArray::from(texts))),
            ("n", Arc::new(Int64Array::from_iter_values(0..200))),
        ];
        let spec = sink("parquet", dir.path(), "f.parquet");
        write_one(&spec, &RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        let mut bytes = fs::read(dir.path().join("f.parquet")).unwrap();
        for (at, bits) in flips {
            let at = at as usize % bytes.len();
            bytes[at] ^= bits;
        }
        if cut < 5 {
            bytes.truncate(bytes.len() - cut as usize * 7);
        }
        write(dir.path(), "f.parquet", bytes);
        let mut spec = source("parquet", dir.path(), "f.parquet", vec![text("t"), int("n")]);
        spec.bad_rows = BadRows::Skip;
        spec.max_bad = 1.0;
        let _ = read_all(&spec, 64);
    }
}
