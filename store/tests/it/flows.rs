//! Flows: what comes back, what is refused, what a flipped bit does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, DurationNanosecondArray, FixedSizeListArray,
    Float16Array, Float32Array, Int8Array, Int64Array, ListBuilder, MapBuilder, RecordBatch, StringArray,
    StringBuilder, StructArray, TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use datafusion::prelude::{SessionConfig, SessionContext};
use promptc_store::flows::{Flow, FlowError, FlowWriter, diff};
use proptest::prelude::*;

const FP: &str = "00112233445566778899aabbccddeeff";

fn write(dir: &Path, fp: &str, batches: &[RecordBatch], key: &[&str]) -> Result<PathBuf, FlowError> {
    let key: Vec<String> = key.iter().map(|&name| name.to_owned()).collect();
    let mut writer = FlowWriter::create(dir, dir, fp, batches[0].schema(), &key)?;
    for batch in batches {
        writer.write(batch)?;
    }
    let meta = writer.finish()?;
    let path = dir.join(format!("{fp}.parquet"));
    assert_eq!(meta.bytes, std::fs::metadata(&path).unwrap().len());
    assert_eq!(meta.rows, batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
    Ok(path)
}

fn numbers(ids: &[i64], texts: &[&str]) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(ids.to_vec()))),
        ("text", Arc::new(StringArray::from(texts.to_vec()))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// `row_count` rows with a column of every kind of type that the language has.
fn every_type(row_count: usize) -> RecordBatch {
    let nullable = |row: usize| row % 7 != 3;
    let text = |row: usize| format!("text {row} {}", "x".repeat(row % 50));
    let mut names = ListBuilder::new(StringBuilder::new());
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in 0..row_count {
        for item in 0..row % 4 {
            names.values().append_value(format!("{row}.{item}"));
            map.keys().append_value(format!("k{item}"));
            map.values().append_value(format!("v{row}"));
        }
        names.append(nullable(row));
        map.append(true).unwrap();
    }
    let span_fields = vec![
        Field::new("doc", DataType::Utf8, false),
        Field::new("start", DataType::UInt64, false),
        Field::new("role", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), false),
    ];
    let roles = |count: usize| -> ArrayRef {
        Arc::new((0..count).map(|row| ["user", "system"][row % 2]).collect::<DictionaryArray<Int32Type>>())
    };
    let spans = StructArray::new(
        span_fields.into(),
        vec![
            Arc::new(StringArray::from_iter_values((0..row_count * 2).map(text))),
            Arc::new(UInt64Array::from_iter_values(0..row_count as u64 * 2)),
            roles(row_count * 2),
        ],
        None,
    );
    let offsets = arrow::buffer::OffsetBuffer::from_lengths((0..row_count).map(|_| 2));
    let span_item = Arc::new(Field::new("item", spans.data_type().clone(), false));
    let span_lists = arrow::array::ListArray::new(span_item, offsets, Arc::new(spans), None);
    let vector = |item: ArrayRef, width: i32, nullable: bool| -> ArrayRef {
        let field = Arc::new(Field::new("item", item.data_type().clone(), nullable));
        Arc::new(FixedSizeListArray::new(field, width, item, None))
    };
    let floats = (0..row_count * 5).map(|value| value as f32 / 3.0);
    let unit = |value: &str| [("promptc.unit".to_owned(), value.to_owned())].into();
    let fields_and_columns: Vec<(Field, ArrayRef)> = vec![
        (
            Field::new("id", DataType::Utf8, false),
            Arc::new(StringArray::from_iter_values((0..row_count).map(|row| format!("id-{row:05}")))),
        ),
        (
            Field::new("cost", DataType::Int64, true).with_metadata(unit("tok")),
            Arc::new((0..row_count).map(|row| nullable(row).then_some(row as i64)).collect::<Int64Array>()),
        ),
        (
            Field::new("flag", DataType::Boolean, true),
            Arc::new(
                (0..row_count).map(|row| nullable(row).then_some(row % 2 == 0)).collect::<BooleanArray>(),
            ),
        ),
        (
            Field::new("text", DataType::Utf8, true),
            Arc::new((0..row_count).map(|row| nullable(row).then(|| text(row))).collect::<StringArray>()),
        ),
        (
            Field::new(
                "role",
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
                false,
            ),
            roles(row_count),
        ),
        (
            Field::new(
                "at",
                DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
                false,
            ),
            Arc::new(TimestampMicrosecondArray::from_iter_values(0..row_count as i64).with_timezone("UTC")),
        ),
        (
            Field::new("took", DataType::Duration(arrow::datatypes::TimeUnit::Nanosecond), false),
            Arc::new(DurationNanosecondArray::from_iter_values((0..row_count as i64).map(|row| row * 1000))),
        ),
    ];
    let nested: Vec<(&str, ArrayRef, bool)> = vec![
        ("names", Arc::new(names.finish()), true),
        ("tags", Arc::new(map.finish()), false),
        ("spans", Arc::new(span_lists), false),
        ("vec", vector(Arc::new(Float32Array::from_iter_values(floats.clone())), 5, false), false),
        ("vec_nullable", vector(Arc::new(Float32Array::from_iter_values(floats.clone())), 5, true), false),
        ("half", vector(Arc::new(Float16Array::from_iter_values(floats.map(half_of))), 5, false), false),
        (
            "byte",
            vector(Arc::new(Int8Array::from_iter_values((0..row_count * 4).map(|v| v as i8))), 4, false),
            false,
        ),
    ];
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = fields_and_columns.into_iter().unzip();
    for (name, column, is_nullable) in nested {
        let space = [("promptc.space".to_owned(), name.to_owned())].into();
        fields.push(Field::new(name, column.data_type().clone(), is_nullable).with_metadata(space));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn half_of(value: f32) -> <arrow::datatypes::Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native {
    <arrow::datatypes::Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native::from_f32(value)
}

fn read_all(flow: &Flow, columns: Option<&[String]>) -> RecordBatch {
    let rows = flow.stream(columns).unwrap();
    let schema = rows.schema().clone();
    let batches: Vec<RecordBatch> = rows.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn names(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

#[test]
fn every_type_comes_back_with_its_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let whole = every_type(20_000);
    let parts = [whole.slice(0, 9_000), whole.slice(9_000, 1), whole.slice(9_001, 10_999)];
    let flow = Flow::open(&write(dir.path(), FP, &parts, &["id"]).unwrap()).unwrap();
    assert_eq!(flow.rows(), 20_000);
    assert_eq!(flow.schema().fields(), whole.schema().fields());
    assert_eq!(read_all(&flow, None), whole);
}

#[test]
fn the_batches_do_not_decide_the_identities() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = every_type(9_100);
    let one = Flow::open(&write(dir.path(), "01", std::slice::from_ref(&whole), &["id"]).unwrap()).unwrap();
    let parts: Vec<RecordBatch> = (0..700).map(|part| whole.slice(part * 13, 13)).collect();
    let many = Flow::open(&write(other.path(), "01", &parts, &["id"]).unwrap()).unwrap();
    assert_eq!(one.ids().unwrap(), many.ids().unwrap());
    assert_eq!(one.contents().unwrap(), many.contents().unwrap());
    let flow_diff = diff(&one, &many).unwrap();
    assert!(flow_diff.is_empty());
    assert_eq!(flow_diff.unchanged, 9_100);
    // The files are equal too: nothing in them depends on how the rows arrived.
    assert_eq!(std::fs::read(one.path()).unwrap(), std::fs::read(many.path()).unwrap());
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let batch = every_type(3_000);
    let one = write(dir.path(), "01", std::slice::from_ref(&batch), &["id"]).unwrap();
    let other = tempfile::tempdir().unwrap();
    let two = write(other.path(), "01", &[batch], &["id"]).unwrap();
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
}

#[test]
fn columns_come_in_the_asked_order_and_hidden_ones_by_name_only() {
    let dir = tempfile::tempdir().unwrap();
    let flow =
        Flow::open(&write(dir.path(), FP, &[numbers(&[1, 2], &["a", "b"])], &["id"]).unwrap()).unwrap();
    assert_eq!(names(flow.schema()), ["id", "text"]);
    assert_eq!(names(flow.stored_schema()), ["~row", "~content", "id", "text"]);
    let columns = ["text".to_owned(), "~row".to_owned(), "id".to_owned()];
    let batch = read_all(&flow, Some(&columns));
    assert_eq!(names(batch.schema_ref()), ["text", "~row", "id"]);
    assert_eq!(batch.column(1).as_fixed_size_binary().value(1), flow.ids().unwrap()[1]);
    assert!(matches!(flow.stream(Some(&["no".to_owned()])).unwrap_err(), FlowError::NoColumn { .. }));
}

#[test]
fn no_rows_and_no_columns() {
    let dir = tempfile::tempdir().unwrap();
    let empty = numbers(&[], &[]);
    let flow = Flow::open(&write(dir.path(), FP, &[empty], &["id"]).unwrap()).unwrap();
    assert_eq!((flow.rows(), flow.ids().unwrap().len(), read_all(&flow, None).num_rows()), (0, 0, 0));
    assert_eq!(flow.take(&[], &["id".to_owned()]).unwrap().num_rows(), 0);
    assert!(matches!(flow.take(&[0], &[]).unwrap_err(), FlowError::NoRow { row_count: 0, .. }));
}

#[test]
fn a_duplicate_key_is_named_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let batches = [numbers(&[1, 2], &["a", "b"]), numbers(&[3, 2], &["c", "b"])];
    let error = write(dir.path(), FP, &batches, &["id", "text"]).unwrap_err();
    assert_eq!(error.code(), "E2104");
    assert_eq!(error.to_string(), "duplicate key id = 2, text = b in row 3");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn hidden_names_and_wrong_fingerprints_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("~row", DataType::Int64, false)]));
    assert!(FlowWriter::create(dir.path(), dir.path(), FP, schema.clone(), &[]).is_err());
    let schema = Arc::new(Schema::new(vec![Field::new("mine", DataType::Int64, false)]));
    assert!(FlowWriter::create(dir.path(), dir.path(), "../x", schema.clone(), &[]).is_err());
    assert!(FlowWriter::create(dir.path(), dir.path(), FP, schema, &["no".to_owned()]).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_difference_names_what_came_went_and_changed() {
    let dir = tempfile::tempdir().unwrap();
    let old = [numbers(&[1, 2, 3, 4], &["a", "b", "c", "d"])];
    let new = [numbers(&[5, 4, 2, 1], &["e", "d", "B", "a"])];
    let old = Flow::open(&write(dir.path(), "01", &old, &["id"]).unwrap()).unwrap();
    let new = Flow::open(&write(dir.path(), "02", &new, &["id"]).unwrap()).unwrap();
    let flow_diff = diff(&old, &new).unwrap();
    assert_eq!((flow_diff.added.as_slice(), flow_diff.changed.as_slice()), (&[0][..], &[2][..]));
    assert_eq!(flow_diff.removed, [old.ids().unwrap()[2]]);
    assert_eq!(flow_diff.unchanged, 2);
    assert_eq!(flow_diff.to_insert(), [0, 2]);
    assert_eq!(flow_diff.to_remove(), [old.ids().unwrap()[2], old.ids().unwrap()[1]]);
}

#[test]
fn rows_without_key_are_their_ordinals() {
    let dir = tempfile::tempdir().unwrap();
    let one = Flow::open(&write(dir.path(), "01", &[numbers(&[1, 1], &["a", "a"])], &[]).unwrap()).unwrap();
    let two = Flow::open(&write(dir.path(), "02", &[numbers(&[7, 1], &["a", "a"])], &[]).unwrap()).unwrap();
    assert_eq!(one.ids().unwrap(), two.ids().unwrap());
    assert_ne!(one.ids().unwrap()[0], one.ids().unwrap()[1]);
    assert_eq!(diff(&one, &two).unwrap().changed, [0]);
}

/// Flips one bit at many places of the file: each time the rows come back as they were, or the damage is reported.
#[test]
fn a_flipped_bit_is_never_a_wrong_row() {
    let dir = tempfile::tempdir().unwrap();
    let batch = every_type(2_000);
    let path = write(dir.path(), FP, std::slice::from_ref(&batch), &["id"]).unwrap();
    let good = std::fs::read(&path).unwrap();
    let mut found = 0;
    let step = good.len() / 150;
    for at in (0..good.len()).step_by(step).chain(good.len() - 40..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bad).unwrap();
        let verified = Flow::open(&path).and_then(|flow| flow.verify());
        assert_eq!(verified.unwrap_err().code(), "E1003", "byte {at}");
        let read = Flow::open(&path).and_then(|flow| {
            let rows = flow.stream(None)?;
            rows.collect::<Result<Vec<_>, _>>()
        });
        match read {
            Err(error) => {
                assert_eq!(error.code(), "E1003", "byte {at}: {error}");
                assert!(error.to_string().contains(FP));
                found += 1;
            }
            Ok(batches) => assert_eq!(concat_batches(&batch.schema(), &batches).unwrap(), batch, "byte {at}"),
        }
    }
    assert!(found > 100, "{found}");
}

#[test]
fn a_whole_file_under_the_name_of_another_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let one = write(dir.path(), "01", &[every_type(30)], &["id"]).unwrap();
    let two = write(dir.path(), "02", &[every_type(40)], &["id"]).unwrap();
    std::fs::copy(one, &two).unwrap();
    let error = Flow::open(&two).unwrap_err();
    assert!(error.code() == "E1003" && error.to_string().contains("written as `01`"), "{error}");
}

#[test]
fn a_cut_file_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), FP, &[every_type(500)], &["id"]).unwrap();
    let good = std::fs::read(&path).unwrap();
    for length in [0, 4, 11, 12, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        assert_eq!(Flow::open(&path).unwrap_err().code(), "E1003", "{length} bytes");
    }
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let batch = numbers(&[1], &["a"]);
    let mut writer = FlowWriter::create(dir.path(), dir.path(), FP, batch.schema(), &[]).unwrap();
    writer.write(&batch).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    drop(writer);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn sql_sees_the_rows_in_order_without_hidden_columns() {
    let dir = tempfile::tempdir().unwrap();
    let whole = every_type(5_000);
    let flow = Flow::open(&write(dir.path(), FP, std::slice::from_ref(&whole), &["id"]).unwrap()).unwrap();
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    session.register_table("flow", flow.table_provider()).unwrap();
    session.register_table("hidden", flow.table_provider_with_hidden()).unwrap();
    let collect = async |sql: &str| {
        let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
        concat_batches(&batches[0].schema(), &batches).unwrap()
    };
    let ids = collect("SELECT id FROM flow WHERE cost > 10 LIMIT 3").await;
    assert_eq!(
        ids.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(),
        ["id-00011", "id-00012", "id-00013"]
    );
    assert_eq!(
        collect("SELECT count(*) FROM flow")
            .await
            .column(0)
            .as_primitive::<arrow::datatypes::Int64Type>()
            .value(0),
        5_000
    );
    let all = collect("SELECT * FROM flow").await;
    assert_eq!(all.columns(), whole.columns());
    let hidden = collect("SELECT \"~row\" FROM hidden LIMIT 1").await;
    assert_eq!(hidden.column(0).as_fixed_size_binary().value(0), flow.ids().unwrap()[0]);
    assert!(session.sql("SELECT \"~row\" FROM flow").await.is_err());
    assert!(session.sql("SELECT id FROM flow LIMIT 0").await.unwrap().collect().await.unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn taken_rows_are_those_asked_for(rows in prop::collection::vec(0u32..20_000, 0..60)) {
        use std::sync::OnceLock;
        static FLOW: OnceLock<(tempfile::TempDir, Flow, RecordBatch)> = OnceLock::new();
        let (_, flow, whole) = FLOW.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let whole = every_type(20_000);
            let path = write(dir.path(), FP, std::slice::from_ref(&whole), &["id"]).unwrap();
            let flow = Flow::open(&path).unwrap();
            (dir, flow, whole)
        });
        let columns: Vec<String> = whole.schema().fields().iter().map(|field| field.name().clone()).collect();
        let taken = flow.take(&rows, &columns).unwrap();
        prop_assert_eq!(taken, take_record_batch(whole, &UInt32Array::from(rows)).unwrap());
    }
}
