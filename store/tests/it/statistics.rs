//! The statistics as functions of SQL: any order of rows and any number of partitions give the answer of the pure functions.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int8Array, RecordBatch, StringArray,
    StructArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Schema, UInt32Type};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use promptc_store::sql::functions::{register, register_tables};
use promptc_store::sql::stats;
use proptest::prelude::*;

/// One measurement of a benchmark; a missing number is null.
#[derive(Debug, Clone)]
struct Row {
    bench_id: &'static str,
    seq: u32,
    base: Option<f64>,
    cand: Option<f64>,
    side: &'static str,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let value = || prop::option::weighted(0.95, (0_u32..40).prop_map(|step| 100.0 + f64::from(step)));
    let row = (prop::bool::ANY, 0_u32..60, value(), value(), prop::bool::ANY);
    let of = |(is_a, seq, base, cand, is_base)| Row {
        bench_id: if is_a { "a" } else { "b" },
        seq,
        base,
        cand,
        side: if is_base { "base" } else { "cand" },
    };
    prop::collection::vec(row.prop_map(of), 1..80)
}

fn batch(rows: &[Row]) -> RecordBatch {
    let texts = |of: fn(&Row) -> &'static str| rows.iter().map(of).collect::<Vec<_>>();
    let sides: DictionaryArray<Int32Type> = texts(|row| row.side).into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bench_id", Arc::new(StringArray::from(texts(|row| row.bench_id)))),
        ("seq", Arc::new(rows.iter().map(|row| Some(row.seq)).collect::<UInt32Array>())),
        ("base", Arc::new(rows.iter().map(|row| row.base).collect::<Float64Array>())),
        ("cand", Arc::new(rows.iter().map(|row| row.cand).collect::<Float64Array>())),
        ("direction", Arc::new(Int8Array::from(vec![-1; rows.len()]))),
        ("side", Arc::new(sides)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A session with the rows as table `t`, dealt to that many partitions.
fn session(rows: &[Row], partition_count: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partition_count);
    let ctx = SessionContext::new_with_config(config);
    register(&ctx);
    let whole = batch(rows);
    let of = |part: usize| -> Vec<RecordBatch> {
        (part..rows.len()).step_by(partition_count).map(|row| whole.slice(row, 1)).collect()
    };
    let parts = (0..partition_count).map(of).collect();
    let table = MemTable::try_new(whole.schema(), parts).unwrap();
    ctx.register_table("t", Arc::new(table)).unwrap();
    ctx
}

fn run(ctx: &SessionContext, sql: &str) -> Result<RecordBatch, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let batches = runtime.block_on(async {
        let frame = ctx.sql(sql).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let batches = frame.collect().await?;
        Ok::<_, datafusion::error::DataFusionError>(arrow::compute::concat_batches(&schema, &batches)?)
    });
    batches.map_err(|error| error.to_string())
}

fn text(ctx: &SessionContext, sql: &str) -> String {
    pretty_format_batches(&[run(ctx, sql).unwrap()]).unwrap().to_string()
}

fn number(row: &StructArray, name: &str) -> f64 {
    row.column_by_name(name).unwrap().as_primitive::<Float64Type>().value(0)
}

fn count(row: &StructArray, name: &str) -> u32 {
    row.column_by_name(name).unwrap().as_primitive::<UInt32Type>().value(0)
}

const ALL: &str = "SELECT bench_id, paired_test(base, cand, direction) AS paired, perm_test(base, cand, 3) AS permuted,
    bootstrap_ci(base, 0.9, 3) AS middle, mann_whitney(base, side) AS ranked, hodges_lehmann(base, side) AS shift,
    theil_sen(seq, base) AS line, mad(cand) AS spread, change_points(base, seq, 20, 0.1) AS points
    FROM t GROUP BY bench_id ORDER BY bench_id";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn neither_partitions_nor_the_order_of_rows_matter((rows, shuffled) in rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))) {
        let expected = text(&session(&rows, 1), ALL);
        for partition_count in [1, 2, 7] {
            prop_assert_eq!(&text(&session(&shuffled, partition_count), ALL), &expected);
        }
    }

    #[test]
    fn answers_are_those_of_the_pure_functions(rows in rows()) {
        let rows: Vec<Row> = rows.into_iter().map(|row| Row { bench_id: "a", ..row }).collect();
        let found = run(&session(&rows, 3), ALL).unwrap();
        let of = |name: &str| found.column_by_name(name).unwrap();
        let or_nan = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let pairs: Vec<(f64, f64)> = rows.iter().map(|row| (or_nan(row.base), or_nan(row.cand))).collect();
        match stats::paired_test(&pairs, -1) {
            Ok(test) => {
                let row = of("paired").as_struct();
                prop_assert_eq!(["rel", "p", "ci_low", "ci_high"].map(|name| number(row, name)), [test.rel, test.p, test.ci_low, test.ci_high]);
                let counts = [test.pair_count, test.needed_pairs, test.dropped_count];
                prop_assert_eq!(["pair_count", "needed_pairs", "dropped_count"].map(|name| count(row, name)), counts);
            }
            Err(_) => prop_assert!(of("paired").is_null(0)),
        }
        let bases: Vec<f64> = rows.iter().map(|row| or_nan(row.base)).collect();
        match stats::bootstrap_ci(&bases, 0.9, 3).unwrap() {
            Some(interval) => {
                let row = of("middle").as_struct();
                prop_assert_eq!(["low", "mid", "high"].map(|name| number(row, name)), [interval.low, interval.mid, interval.high]);
            }
            None => prop_assert!(of("middle").is_null(0)),
        }
        let points: Vec<(u32, f64)> = rows.iter().map(|row| (row.seq, or_nan(row.base))).collect();
        let points = stats::change_points(&points, 20, 0.1, 0.0, stats::Mode::Default).unwrap();
        let list = of("points").as_list::<i32>().value(0);
        let seqs = list.as_struct().column(0).as_primitive::<UInt32Type>().values().to_vec();
        prop_assert_eq!(seqs, points.iter().map(|point| point.seq).collect::<Vec<_>>());
    }
}

/// A benchmark with a step of 20 % at seq 30.
fn stepped() -> Vec<Row> {
    let row = |seq: u32| {
        let level = if seq < 30 { 100.0 } else { 120.0 };
        let value = level + f64::from(seq * 7 % 5);
        Row { bench_id: "step", seq, base: Some(value), cand: Some(value * 1.1), side: "base" }
    };
    (0..60).map(row).collect()
}

#[test]
fn fields_of_answers_are_read_by_name() {
    let ctx = session(&stepped(), 2);
    let sql = "SELECT round(t['rel'], 6) AS rel, t['pair_count'] AS n FROM (SELECT paired_test(base, cand, direction) AS t FROM t)";
    assert!(text(&ctx, sql).contains("| 0.1 | 60 |"), "{}", text(&ctx, sql));
    let sql = "SELECT c['seq'] AS seq, round(c['rel'], 2) AS rel FROM (SELECT unnest(change_points(base, seq, 50, 0.001, 0.02)) AS c FROM t)";
    assert!(text(&ctx, sql).contains("| 30  | 0.2 |"), "{}", text(&ctx, sql));
    let sql = "SELECT unnest(change_points(base, seq, 50, 0.001, min_rel => 0.02, mode => 'otava'))['seq'] AS seq FROM t";
    assert!(text(&ctx, sql).contains("| 30  |"), "{}", text(&ctx, sql));
    let sql = "SELECT change_points(base, seq, 50, 0.001, 0.5) AS points FROM t";
    assert!(text(&ctx, sql).contains("| []     |"), "{}", text(&ctx, sql));
}

#[test]
fn five_hundred_series_in_one_query() {
    let value = |series: u32, seq: u32| {
        let level = if seq < series % 180 { 100.0 } else { 110.0 };
        level + f64::from((seq * 7919 + series * 104_729) % 1000) / 250.0
    };
    let of = |series: u32| {
        let row = move |seq: u32| Row {
            bench_id: "a",
            seq,
            base: Some(value(series, seq)),
            cand: Some(f64::from(series)),
            side: "base",
        };
        (0..200).map(row)
    };
    let rows: Vec<Row> = (0..500).flat_map(of).collect();
    let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    register(&ctx);
    let whole = batch(&rows);
    let parts = (0..2).map(|part| vec![whole.slice(part * 50_000, 50_000)]).collect();
    ctx.register_table("t", Arc::new(MemTable::try_new(whole.schema(), parts).unwrap())).unwrap();
    let sql = "SELECT cand, change_points(base, seq, 50, 0.001) AS points FROM t GROUP BY cand ORDER BY cand";
    let found = run(&ctx, sql).unwrap();
    let lists = found.column_by_name("points").unwrap().as_list::<i32>();
    assert_eq!(lists.len(), 500);
    for series in 0..500 {
        let points: Vec<(u32, f64)> = (0..200).map(|seq| (seq, value(series, seq))).collect();
        let expected = stats::change_points(&points, 50, 0.001, 0.0, stats::Mode::Default).unwrap();
        let found = lists.value(series as usize);
        let seqs = found.as_struct().column(0).as_primitive::<UInt32Type>().values().to_vec();
        assert_eq!(seqs, expected.iter().map(|point| point.seq).collect::<Vec<_>>(), "series {series}");
    }
}

#[test]
fn aggregates_of_nothing_are_null() {
    let ctx = session(&stepped(), 2);
    let sql = "SELECT paired_test(base, cand, direction) IS NULL AS a, bootstrap_ci(base, 0.9, 1) IS NULL AS b,
        mann_whitney(base, side) IS NULL AS c, hodges_lehmann(base, side) IS NULL AS d, theil_sen(seq, base) IS NULL AS e,
        mad(base) IS NULL AS f, perm_test(base, cand, 1) IS NULL AS g FROM t WHERE seq > 1000";
    assert_eq!(text(&ctx, sql).matches("true").count(), 7, "{}", text(&ctx, sql));
    // One side only.
    assert!(text(&ctx, "SELECT mann_whitney(base, side) IS NULL AS a FROM t").contains("true"));
}

#[test]
fn missing_numbers_are_counted() {
    let mut rows = stepped();
    rows[3].base = None;
    rows[4].cand = Some(f64::NAN);
    let found = run(
        &session(&rows, 3),
        "SELECT paired_test(base, cand, direction) AS t, bootstrap_ci(cand, 0.9, 1) AS b FROM t",
    );
    let found = found.unwrap();
    let [test, interval] = [found.column(0).as_struct(), found.column(1).as_struct()];
    assert_eq!((count(test, "pair_count"), count(test, "dropped_count")), (58, 2));
    assert_eq!(count(interval, "dropped_count"), 1);
}

#[test]
fn bad_calls_and_values_are_named() {
    let mut rows = stepped();
    rows[7].base = Some(0.0);
    rows[9].cand = Some(f64::INFINITY);
    let ctx = session(&rows, 2);
    let cases = [
        ("mad(side)", "`mad` has value of type Dictionary(Int32, Utf8), expected a number"),
        ("mad(base, cand)", "`mad` has 2 arguments, expected 1: value"),
        ("mad(DISTINCT base) + mad(DISTINCT seq)", "`mad` has DISTINCT, expected all values"),
        ("mad(cand)", "`mad` found the value inf, expected finite numbers"),
        ("hodges_lehmann(base, bench_id)", "has the side 'step', expected 'base' or 'cand'"),
        ("bootstrap_ci(base, 1.5, 1)", "found level = 1.5, expected a number between 0 and 1"),
        ("bootstrap_ci(base, 0.9, seq)", "has seed = "),
        ("bootstrap_ci(base, 0.9, 'x')", "`bootstrap_ci` has seed of type Utf8, expected a whole number"),
        ("change_points(base, seq, 50)", "`change_points` has 3 arguments, expected 4 to 6"),
        ("change_points(base, seq, 1, 0.001)", "found window = 1, expected 2 to 1000"),
        (
            "change_points(base, seq, 50, 0.001, 0, 'hunter')",
            "has mode 'hunter', expected 'default' or 'otava'",
        ),
        ("change_points(base, seq - 5, 50, 0.001)", "has seq = -"),
        (
            "paired_test(base, seq + 1, direction, bench_id)",
            "pair of base 0 and candidate 8, expected values above 0, in `step`",
        ),
        ("paired_test(seq + 1, seq + 1, direction * 2)", "found direction = 0, expected -1 or 1"),
        ("paired_test(seq + 1, seq + 1, CASE WHEN seq < 5 THEN 1 ELSE -1 END)", "in one group, expected one"),
        ("wilson(3, 2, 0.95)", "found successes = 3"),
        ("wilson(-1, 2, 0.95)", "`wilson` has -1 of 2, expected counts of 0 or more"),
    ];
    let mut wrong = Vec::new();
    for (call, expected) in cases {
        let error = run(&ctx, &format!("SELECT {call} AS answer FROM t"))
            .map_or_else(|error| error, |_| "no error".to_owned());
        if !error.contains(expected) {
            wrong.push(format!("{call}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn wilson_takes_columns_and_nulls() {
    let ctx = session(&stepped()[..2], 1);
    let sql = "SELECT wilson(seq, 100, 0.95)['high'] AS high, wilson(NULL, 1, 0.9) IS NULL AS missing FROM t ORDER BY seq";
    let found = run(&ctx, sql).unwrap();
    let high = found.column(0).as_primitive::<Float64Type>();
    assert_eq!(high.value(0), stats::wilson(0, 100, 0.95).unwrap().1);
    assert_eq!(high.value(1), stats::wilson(1, 100, 0.95).unwrap().1);
    assert!(found.column(1).as_boolean().value(0));
}

/// The columns of `series` that the table functions read, with the rows of two machines.
fn series_session() -> SessionContext {
    let ctx = SessionContext::new();
    register(&ctx);
    let rows = stepped();
    let text = |of: &dyn Fn(usize) -> &'static str| -> ArrayRef {
        Arc::new((0..rows.len() * 2).map(|idx| Some(of(idx))).collect::<StringArray>())
    };
    let both = || rows.iter().chain(&rows);
    let columns: Vec<ArrayRef> = vec![
        text(&|idx| if idx < 60 { "h1" } else { "h2" }),
        text(&|_| "group/step"),
        text(&|idx| if idx % 2 == 0 { "wall_ns" } else { "cpu_ns" }),
        text(&|idx| if idx < 60 { "here" } else { "there" }),
        Arc::new(both().map(|row| Some(row.seq)).collect::<UInt32Array>()),
        Arc::new(both().map(|row| row.base).collect::<Float64Array>()),
    ];
    let names = ["history_id", "bench_id", "metric", "env_id", "commit_seq", "value"];
    let fields: Vec<Field> = names
        .iter()
        .zip(&columns)
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let table = Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap());
    register_tables(&ctx, table, "here");
    ctx
}

#[test]
fn table_functions_read_the_series() {
    let ctx = series_session();
    let sql = "SELECT seq, round(rel, 2) AS rel FROM bench_change_points('h1')";
    assert!(text(&ctx, sql).contains("| 30  | 0.2 |"), "{}", text(&ctx, sql));
    let points = run(&ctx, "SELECT * FROM bench_change_points('none')").unwrap();
    assert_eq!((points.num_rows(), points.num_columns()), (0, 5));
    assert_eq!(points.schema().field(0).data_type(), &DataType::UInt32);
    let count = |call: &str| run(&ctx, &format!("SELECT value FROM {call}")).unwrap().num_rows();
    assert_eq!(count("bench_history('group/step')"), 60);
    assert_eq!(count("bench_history('group/step', 'cpu_ns')"), 30);
    assert_eq!(count("bench_history('group/other')"), 0);
    for (call, expected) in [
        ("bench_history()", "`bench_history` has no arguments"),
        ("bench_history('a', 'b', 'c')", "`bench_history` has 3 arguments, expected at most 2"),
        ("bench_change_points(7)", "`bench_change_points` has history_id = "),
    ] {
        let error = run(&ctx, &format!("SELECT * FROM {call}")).unwrap_err();
        assert!(error.contains(expected), "{call}: {error}");
    }
}
