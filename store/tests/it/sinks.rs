//! Outputs: read back, left alone when nothing changes, whole after an abort, inside their folder.

use crate::support::{int, names, read_all, sink, source, text, write_all, write_one};
use arrow::array::{
    ArrayRef, DictionaryArray, DurationNanosecondArray, FixedSizeListArray, Float64Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Schema};
use promptc_store::sinks::{SinkError, SinkSpec, open_sink};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn rows(ids: &[&str], numbers: &[i64]) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![text("id"), int("n")]));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(ids.to_vec())), Arc::new(Int64Array::from(numbers.to_vec()))];
    RecordBatch::try_new(schema, columns).unwrap()
}

fn files_sink(base: &Path, path: &str) -> SinkSpec {
    SinkSpec { name: Some("name".into()), body: Some("body".into()), ..sink("files", base, path) }
}

fn named(files: &[(&str, &str)]) -> RecordBatch {
    let (names, bodies): (Vec<&str>, Vec<&str>) = files.iter().copied().unzip();
    batch(vec![("name", Arc::new(StringArray::from(names))), ("body", Arc::new(StringArray::from(bodies)))])
}

#[test]
fn forms_of_values_in_jsonl() {
    let dir = tempfile::tempdir().unwrap();
    let vectors =
        FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([Some(vec![Some(0.1), Some(2.0)])], 2);
    let span: ArrayRef = Arc::new(arrow::array::StructArray::from(vec![
        (Arc::new(text("doc")), Arc::new(StringArray::from(vec!["a\"b"])) as ArrayRef),
        (Arc::new(int("start")), Arc::new(Int64Array::from(vec![3])) as ArrayRef),
    ]));
    let mut map = arrow::array::MapBuilder::new(
        None,
        arrow::array::StringBuilder::new(),
        arrow::array::Int64Builder::new(),
    );
    map.keys().append_value("k");
    map.values().append_value(1);
    map.append(true).unwrap();
    let batch = batch(vec![
        ("v", Arc::new(vectors)),
        ("s", span),
        ("m", Arc::new(map.finish())),
        ("e", Arc::new(DictionaryArray::<Int32Type>::from_iter(["high"]))),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC"))),
        ("d", Arc::new(DurationNanosecondArray::from(vec![5]))),
        ("x", Arc::new(StringArray::from(vec![None::<&str>]))),
    ]);
    write_one(&sink("jsonl", dir.path(), "out/a.jsonl"), &batch).unwrap();
    let written = fs::read_to_string(dir.path().join("out/a.jsonl")).unwrap();
    let expected = concat!(
        r#"{"v":[0.1,2.0],"s":{"doc":"a\"b","start":3},"m":{"k":1},"e":"high","t":"1970-01-01T00:00:00.000000Z","d":5,"x":null}"#,
        "\n"
    );
    assert_eq!(written, expected);

    let bad =
        RecordBatch::try_from_iter([("f", Arc::new(Float64Array::from(vec![1.0, f64::NAN])) as ArrayRef)])
            .unwrap();
    let error = write_one(&sink("jsonl", dir.path(), "out/b.jsonl"), &bad).unwrap_err();
    assert_eq!(error.code(), "E2103");
    assert!(error.to_string().contains("row 2") && error.to_string().contains("`f`"), "{error}");
    assert_eq!(names(&dir.path().join("out")), ["a.jsonl"]);
}

#[test]
fn what_is_written_is_read_back_by_each_kind() {
    let dir = tempfile::tempdir().unwrap();
    let written = rows(&["a,\"b\"\n", "", "日本 \u{1f600}"], &[1, -2, i64::MAX]);
    for kind in ["jsonl", "csv", "parquet", "lance"] {
        let path = format!("out/{kind}.{kind}");
        let report = write_all(
            &sink(kind, dir.path(), &path),
            &written.schema(),
            &[written.slice(0, 1), written.slice(1, 2)],
        );
        let report = report.unwrap();
        assert!(report.changed && report.rows == 3 && report.bytes > 0, "{kind}: {report:?}");
        let spec = source(kind, dir.path(), &path, vec![text("id"), int("n")]);
        for batch_rows in [2, 100] {
            assert_eq!(read_all(&spec, batch_rows).unwrap().0, written, "{kind}");
        }
        let again = write_one(&sink(kind, dir.path(), &path), &written).unwrap();
        assert!(!again.changed, "{kind}");
        let other = rows(&["x"], &[7]);
        assert!(write_one(&sink(kind, dir.path(), &path), &other).unwrap().changed, "{kind}");
        assert_eq!(read_all(&spec, 10).unwrap().0, other, "{kind}");
    }
    assert_eq!(names(&dir.path().join("out")), ["csv.csv", "jsonl.jsonl", "lance.lance", "parquet.parquet"]);
}

#[test]
fn outputs_of_no_rows_are_outputs() {
    let dir = tempfile::tempdir().unwrap();
    let none = rows(&[], &[]);
    for kind in ["jsonl", "csv", "parquet", "lance"] {
        let spec = sink(kind, dir.path(), kind);
        let report = write_all(&spec, &none.schema(), &[]).unwrap();
        assert!(report.changed && report.rows == 0, "{kind}");
        assert!(!write_one(&spec, &none).unwrap().changed, "{kind}");
        let read = source(kind, dir.path(), kind, vec![text("id"), int("n")]);
        assert_eq!(read_all(&read, 10).unwrap().0.num_rows(), 0, "{kind}");
    }
    let spec = files_sink(dir.path(), "files");
    assert_eq!(write_one(&spec, &named(&[])).unwrap().rows, 0);
    assert_eq!(names(&dir.path().join("files")), [".promptc-files"]);
}

/// A row with a column of every kind of type that a stream may have.
fn every_type() -> RecordBatch {
    let vectors =
        FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([Some(vec![Some(0.1), Some(2.0)])], 2);
    let hits: ArrayRef = Arc::new(arrow::array::StructArray::from(vec![
        (Arc::new(text("doc")), Arc::new(StringArray::from(vec!["a"])) as ArrayRef),
        (Arc::new(int("rank")), Arc::new(Int64Array::from(vec![3])) as ArrayRef),
    ]));
    let item = Arc::new(Field::new("item", hits.data_type().clone(), false));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([1]);
    let list = arrow::array::ListArray::new(item, offsets, hits.clone(), None);
    batch(vec![
        ("v", Arc::new(vectors)),
        ("s", hits),
        ("l", Arc::new(list)),
        ("b", Arc::new(arrow::array::BinaryArray::from(vec![b"\x00\xff".as_slice()]))),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC"))),
        ("d", Arc::new(DurationNanosecondArray::from(vec![5]))),
        ("day", Arc::new(arrow::array::Date32Array::from(vec![5]))),
        ("u", Arc::new(arrow::array::UInt64Array::from(vec![u64::MAX]))),
        ("ok", Arc::new(arrow::array::BooleanArray::from(vec![true]))),
        ("e", Arc::new(DictionaryArray::<Int32Type>::from_iter(["high"]))),
        ("x", Arc::new(StringArray::from(vec![None::<&str>]))),
    ])
}

#[test]
fn every_type_survives_jsonl_parquet_and_lance() {
    let dir = tempfile::tempdir().unwrap();
    let written = every_type();
    let fields: Vec<Field> = written.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    for kind in ["jsonl", "parquet", "lance"] {
        let report = write_one(&sink(kind, dir.path(), kind), &written);
        assert!(report.is_ok(), "{kind}: {}", report.unwrap_err());
        let (read, _) = read_all(&source(kind, dir.path(), kind, fields.clone()), 10).unwrap();
        for (column, field) in read.columns().iter().zip(&fields) {
            let expected = written.column_by_name(field.name()).unwrap();
            assert_eq!(column, expected, "{kind}: {}", field.name());
        }
        assert!(!write_one(&sink(kind, dir.path(), kind), &written).unwrap().changed, "{kind}");
    }
}

#[test]
fn sink_dropped_in_the_middle_leaves_the_old_output() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (rows(&["old"], &[1]), rows(&["new"], &[2]));
    for kind in ["jsonl", "csv", "parquet", "lance"] {
        let spec = sink(kind, dir.path(), kind);
        write_one(&spec, &old).unwrap();
        let mut aborted = open_sink(&spec, &new.schema()).unwrap();
        aborted.write(&new).unwrap();
        drop(aborted);
        let read = source(kind, dir.path(), kind, vec![text("id"), int("n")]);
        assert_eq!(read_all(&read, 10).unwrap().0, old, "{kind}");
    }
    assert_eq!(names(dir.path()), ["csv", "jsonl", "lance", "parquet"]);
}

#[test]
fn files_of_earlier_runs_go_and_files_of_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let spec = files_sink(dir.path(), "out");
    let first = named(&[("a.md", "one"), ("sub/b.md", "two"), ("edited.md", "three")]);
    let report = write_one(&spec, &first).unwrap();
    assert_eq!((report.rows, report.bytes, report.changed), (3, 11, true));
    assert!(!write_one(&spec, &first).unwrap().changed);
    let out = dir.path().join("out");
    fs::write(out.join("foreign.md"), "mine").unwrap();
    fs::write(out.join("edited.md"), "by hand").unwrap();

    let second = named(&[("a.md", "one"), ("c.md", "new")]);
    assert!(write_one(&spec, &second).unwrap().changed);
    assert_eq!(names(&out), [".promptc-files", "a.md", "c.md", "edited.md", "foreign.md"]);
    assert_eq!(fs::read_to_string(out.join("edited.md")).unwrap(), "by hand");
    assert_eq!(names(dir.path()), ["out"]);

    let mut aborted = open_sink(&spec, &named(&[]).schema()).unwrap();
    aborted.write(&named(&[("a.md", "other")])).unwrap();
    drop(aborted);
    assert_eq!(fs::read_to_string(out.join("a.md")).unwrap(), "one");
    assert_eq!(names(dir.path()), ["out"]);
}

#[test]
fn names_of_files_stay_inside_their_folder() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("out")).unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("out/link")).unwrap();
    let spec = files_sink(dir.path(), "out");
    for name in ["../x", "/etc/x", "a/../../x", "link/x", "link", "", ".", "a\0b", "a\nb", "c:/x", "..\\x"] {
        let batch = named(&[("good", "x"), (name, "x")]);
        let error = write_one(&spec, &batch).unwrap_err();
        assert_eq!(error.code(), "E2501", "{name:?}: {error}");
    }
    for (first, second) in [("a", "a"), ("a", "./a"), ("a", "a/b"), ("x", ".promptc-files")] {
        let batch = named(&[(first, "x"), (second, "x")]);
        let error = write_one(&spec, &batch).unwrap_err();
        assert_eq!(error.code(), "E2104", "{second:?}: {error}");
    }
    assert_eq!(names(&dir.path().join("out")), ["link"]);
    assert!(names(outside.path()).is_empty());
}

#[test]
fn hostile_output_paths_are_e2501_for_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    fs::create_dir(&base).unwrap();
    std::os::unix::fs::symlink(outside.path(), base.join("link")).unwrap();
    fs::write(base.join("file"), "x").unwrap();
    let absolute = outside.path().join("x").to_str().unwrap().to_owned();
    let batch = named(&[("a", "b")]);
    for kind in ["jsonl", "csv", "parquet", "lance", "files"] {
        for path in ["../x", "a/../../x", &absolute, "link/x", "file/x", "", "a\0b"] {
            let spec = SinkSpec { kind: kind.into(), ..files_sink(&base, path) };
            match open_sink(&spec, &batch.schema()) {
                Ok(_) => panic!("{kind} accepted {path:?}"),
                Err(error) => assert_eq!(error.code(), "E2501", "{kind} {path:?}: {error}"),
            }
        }
    }
    assert!(names(outside.path()).is_empty());
    assert_eq!(names(&base), ["file", "link"]);
}

#[test]
fn existing_output_is_kept_without_overwrite() {
    let dir = tempfile::tempdir().unwrap();
    let batch = rows(&["a"], &[1]);
    fs::write(dir.path().join("a.jsonl"), "mine").unwrap();
    let spec = SinkSpec { overwrite: false, ..sink("jsonl", dir.path(), "a.jsonl") };
    assert!(matches!(write_one(&spec, &batch), Err(SinkError::Exists { .. })));
    assert_eq!(fs::read_to_string(dir.path().join("a.jsonl")).unwrap(), "mine");
}

#[test]
fn lance_without_overwrite_merges_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let spec = SinkSpec { overwrite: false, key: vec!["id".into()], ..sink("lance", dir.path(), "d.lance") };
    let first = rows(&["a", "b"], &[1, 2]);
    write_one(&spec, &first).unwrap();
    let second = rows(&["b", "c"], &[20, 3]);
    assert!(write_one(&spec, &second).unwrap().changed);
    let read = source("lance", dir.path(), "d.lance", vec![text("id"), int("n")]);
    let (batch, _) = read_all(&read, 10).unwrap();
    let mut found: Vec<(String, i64)> = crate::support::texts(&batch, "id")
        .into_iter()
        .zip(
            arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(batch.column(1))
                .values()
                .iter()
                .copied(),
        )
        .collect();
    found.sort();
    assert_eq!(found, [("a".to_owned(), 1), ("b".to_owned(), 20), ("c".to_owned(), 3)]);
}

#[test]
fn csv_refuses_lists_and_sinks_refuse_unknown_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let item = Arc::new(Field::new("item", DataType::Utf8, false));
    let schema = Arc::new(Schema::new(vec![Field::new("l", DataType::List(item), false)]));
    let refused = |kind: &str| open_sink(&sink(kind, dir.path(), "x"), &schema).err().unwrap().code();
    assert_eq!((refused("csv"), refused("excel"), refused("files")), ("E0303", "E2002", "E0303"));
    assert!(open_sink(&sink("jsonl", dir.path(), "x"), &schema).is_ok());
    assert!(names(dir.path()).is_empty());
}

#[test]
fn partitions_are_folders_and_vanish_with_their_rows() {
    let dir = tempfile::tempdir().unwrap();
    let spec = SinkSpec { partition: vec!["id".into()], ..sink("parquet", dir.path(), "out") };
    let first = rows(&["a", "b/..", "a"], &[1, 2, 3]);
    write_all(&spec, &first.schema(), &[first.slice(0, 2), first.slice(2, 1)]).unwrap();
    assert_eq!(names(&dir.path().join("out")), [".promptc-files", "id=a", "id=b%2F.."]);
    let read = source("parquet", dir.path(), "out/id=a/*.parquet", vec![int("n")]);
    assert_eq!(read_all(&read, 10).unwrap().0.num_rows(), 2);
    assert!(!write_one(&spec, &first).unwrap().changed);
    let second = rows(&["a"], &[1]);
    write_one(&spec, &second).unwrap();
    assert_eq!(names(&dir.path().join("out")), [".promptc-files", "id=a"]);
}

#[test]
fn folder_that_may_not_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the folder should be is refused for every user; permissions do not stop root.
    let base = dir.path().join("base");
    fs::write(&base, "x").unwrap();
    let batch = rows(&["a"], &[1]);
    let error = write_one(&sink("jsonl", &base, "a.jsonl"), &batch).unwrap_err();
    assert_eq!(error.code(), "E2501");
    assert!(error.to_string().contains("base"), "{error}");
}

#[test]
fn full_disk_is_e1004_and_leaves_the_old_output() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        eprintln!("skipped: a file system of 1 MiB cannot be mounted here");
        return;
    };
    let old = rows(&["old"], &[1]);
    for kind in ["jsonl", "csv", "parquet", "files"] {
        let spec = SinkSpec { kind: kind.into(), ..files_sink(disk.path(), kind) };
        let small = named(&[("a", "old")]);
        let first = if kind == "files" { small } else { old.clone() };
        write_one(&spec, &first).unwrap();
        let noise: String =
            (0..200_000u32).map(|seed| blake3::hash(&seed.to_le_bytes()).to_hex()[..12].to_owned()).collect();
        let big = named(&[("a", &noise)]);
        let error = write_one(&spec, &big).unwrap_err();
        assert_eq!(error.code(), "E1004", "{kind}: {error}");
        write_one(&spec, &first).map(|report| assert!(!report.changed, "{kind}")).unwrap();
    }
}

/// A file system of 1 MiB in memory, unmounted when dropped. Needs the right to mount.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(at)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_path_buf()))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}
