//! The tables of the history, version 1: their columns, and rows as record batches.
//!
//! | Table | One row is | Key |
//! |---|---|---|
//! | `results` | a measurement in short | run_id, attempt, side, bench_id, metric |
//! | `samples` | its raw observations | the same |
//! | `env` | an environment | env_id |
//! | `verdicts` | what a gate, or a person, decided | none: append only |
//! | `scrapes` | a signal of a running service | none |
//!
//! A mark (`accept`, `reject`) is a summary row of `verdicts` with the gate `manual`; SQL shows these rows as `marks`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{SortColumn, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;

use super::cells::Cells::{
    Count, CountOrNull, Flag, Float, FloatOrNull, Floats, Long, LongOrNull, Longs, Map, Short, Sign,
    SmallFloatOrNull, Text, TextOrNull, Time,
};
use super::cells::{Cells, Column};
use super::environment::{self, Environment};
use super::rows::{ResultRow, Run, SampleRow, ScrapeRow, VerdictRow};

/// Version of the columns below. A file of a later version is refused (E1002); what an earlier one lacks is null.
pub const SCHEMA_VERSION: u16 = 1;

/// A table of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Measurements; its file is the commit point of a run.
    Results,
    /// Raw observations.
    Samples,
    /// Environments.
    Env,
    /// Decisions.
    Verdicts,
    /// Signals of a service.
    Scrapes,
}

impl Table {
    /// All tables; those that belong to a run in the order in which a run writes them, `results` last.
    pub const ALL: [Self; 5] = [Self::Samples, Self::Env, Self::Scrapes, Self::Results, Self::Verdicts];

    /// Name of the table and of its folder.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Results => "results",
            Self::Samples => "samples",
            Self::Env => "env",
            Self::Verdicts => "verdicts",
            Self::Scrapes => "scrapes",
        }
    }

    /// Its columns.
    #[must_use]
    pub fn schema(self) -> SchemaRef {
        match self {
            Self::Results => schema_of(&results()),
            Self::Samples => schema_of(&samples()),
            Self::Env => schema_of(&environment::columns()),
            Self::Verdicts => schema_of(&verdicts()),
            Self::Scrapes => schema_of(&scrapes()),
        }
    }

    /// Whether its files are of one run each and count only when the run is committed.
    #[must_use]
    pub fn is_of_run(self) -> bool {
        matches!(self, Self::Samples | Self::Scrapes)
    }

    /// Columns by which the rows of a file are sorted.
    fn order(self) -> &'static [&'static str] {
        match self {
            Self::Results => &["bench_id", "metric", "started_at", "run_id", "attempt", "side"],
            Self::Samples => &["bench_id", "metric", "run_id", "attempt", "side"],
            Self::Env => &["env_id"],
            Self::Verdicts => &["decided_at", "run_id", "gate_id", "bench_id", "metric"],
            Self::Scrapes => &["run_id", "at", "signal"],
        }
    }

    /// `batch` in the order of the table's files.
    pub(super) fn sort(self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns: Vec<SortColumn> = self
            .order()
            .iter()
            .filter_map(|name| batch.column_by_name(name))
            .map(|values| SortColumn { values: values.clone(), options: None })
            .collect();
        take_record_batch(batch, &lexsort_to_indices(&columns, None)?)
    }
}

fn schema_of<R>(columns: &[Column<R>]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()))
}

fn batch_of<R>(columns: &[Column<R>], rows: &[R]) -> RecordBatch {
    let arrays = columns.iter().map(|column| column.cells.array(rows)).collect();
    RecordBatch::try_new(schema_of(columns), arrays)
        .expect("invariant: every column has the type of its cells and one cell per row")
}

fn columns<R, const N: usize>(list: [(&'static str, Cells<R>); N]) -> Vec<Column<R>> {
    list.into_iter().map(|(name, cells)| Column { name, cells }).collect()
}

/// A row of `results` with what it takes from its run.
struct Measured<'a> {
    run: &'a Run,
    row: &'a ResultRow,
    history_id: String,
}

/// A row of `samples` with its run's id.
struct Observed<'a> {
    run_id: &'a str,
    row: &'a SampleRow,
}

/// A row of `scrapes` with its run's id.
struct Scraped<'a> {
    run_id: &'a str,
    row: &'a ScrapeRow,
}

fn results<'a>() -> Vec<Column<Measured<'a>>> {
    let mut list = columns::<Measured<'a>, _>([
        ("schema_version", Short(|_| SCHEMA_VERSION)),
        ("run_id", Text(|it| &it.run.id)),
        ("attempt", Short(|it| it.row.attempt)),
        ("pair_id", TextOrNull(|it| it.row.pair_id.as_deref())),
        ("side", Text(|it| it.row.side.as_str())),
        ("suite", Text(|it| &it.row.suite)),
        ("bench_id", Text(|it| &it.row.bench_id)),
        ("params", Map(|it| &it.row.params)),
        ("metric", Text(|it| &it.row.metric)),
        ("unit", Text(|it| &it.row.unit)),
        ("direction", Sign(|it| it.row.direction)),
        ("n_samples", Count(|it| it.row.summary.n_samples)),
        ("iters_total", Long(|it| it.row.iters_total)),
        ("value", FloatOrNull(|it| it.row.value)),
        ("mean", FloatOrNull(|it| it.row.summary.mean)),
        ("stddev", FloatOrNull(|it| it.row.summary.stddev)),
        ("mad", FloatOrNull(|it| it.row.summary.mad)),
        ("min", FloatOrNull(|it| it.row.summary.min)),
        ("p05", FloatOrNull(|it| it.row.summary.p05)),
        ("p25", FloatOrNull(|it| it.row.summary.p25)),
        ("p75", FloatOrNull(|it| it.row.summary.p75)),
        ("p90", FloatOrNull(|it| it.row.summary.p90)),
        ("p95", FloatOrNull(|it| it.row.summary.p95)),
        ("p99", FloatOrNull(|it| it.row.summary.p99)),
        ("p999", FloatOrNull(|it| it.row.summary.p999)),
        ("max", FloatOrNull(|it| it.row.summary.max)),
        ("ci_low", FloatOrNull(|it| it.row.summary.ci_low)),
        ("ci_high", FloatOrNull(|it| it.row.summary.ci_high)),
        ("ci_level", FloatOrNull(|it| it.row.summary.ci_level)),
        ("slope", FloatOrNull(|it| it.row.slope)),
        ("outliers_low", Count(|it| it.row.summary.outliers_low)),
        ("outliers_high", Count(|it| it.row.summary.outliers_high)),
        ("throughput_per_iter", LongOrNull(|it| it.row.throughput_per_iter)),
        ("throughput_unit", TextOrNull(|it| it.row.throughput_unit.as_deref())),
        ("warmup_ns", Long(|it| it.row.warmup_ns)),
        ("measure_ns", Long(|it| it.row.measure_ns)),
        ("status", Text(|it| it.row.status.as_str())),
        ("error", TextOrNull(|it| it.row.error.as_deref())),
        ("durability", TextOrNull(|it| it.row.durability.as_deref())),
    ]);
    list.extend(results_context());
    list
}

/// Where a measurement comes from: code, data, commit, machine.
fn results_context<'a>() -> Vec<Column<Measured<'a>>> {
    columns::<Measured<'a>, _>([
        ("code_hash", TextOrNull(|it| it.row.code_hash.as_deref())),
        ("dsl_hash", TextOrNull(|it| it.row.plan_hash.as_deref())),
        ("plan_hash", TextOrNull(|it| it.row.plan_hash.as_deref())),
        ("data_hash", TextOrNull(|it| it.row.data_hash.as_deref())),
        ("subject", TextOrNull(|it| it.row.subject.as_deref())),
        ("seed", LongOrNull(|it| it.row.seed)),
        ("target_value", FloatOrNull(|it| it.row.target_value)),
        ("target_op", TextOrNull(|it| it.row.target_op.as_deref())),
        ("started_at", Time(|it| it.row.started_at)),
        ("git_sha", Text(|it| &it.run.git.sha)),
        ("git_parent", TextOrNull(|it| it.run.git.parent.as_deref())),
        ("git_branch", Text(|it| &it.run.git.branch)),
        ("pr", TextOrNull(|it| it.run.pr.as_deref())),
        ("commit_time", Time(|it| it.run.git.commit_time)),
        ("commit_seq", CountOrNull(|it| it.run.git.commit_seq)),
        ("git_dirty", Flag(|it| it.run.git.dirty)),
        ("env_id", Text(|it| &it.run.env_id)),
        ("history_id", Text(|it| &it.history_id)),
        ("load1", SmallFloatOrNull(|it| it.row.noise.load1)),
        ("ctx_switches_invol", SmallFloatOrNull(|it| it.row.noise.ctx_switches_invol)),
        ("steal_ms", SmallFloatOrNull(|it| it.row.noise.steal_ms)),
        ("cpu_mhz_mean", SmallFloatOrNull(|it| it.row.noise.cpu_mhz_mean)),
        ("temp_c", SmallFloatOrNull(|it| it.row.noise.temp_c)),
        ("tags", Map(|it| &it.row.tags)),
    ])
}

fn samples<'a>() -> Vec<Column<Observed<'a>>> {
    columns::<Observed<'a>, _>([
        ("run_id", Text(|it| it.run_id)),
        ("attempt", Short(|it| it.row.attempt)),
        ("side", Text(|it| it.row.side.as_str())),
        ("bench_id", Text(|it| &it.row.bench_id)),
        ("metric", Text(|it| &it.row.metric)),
        ("iters", Longs(|it| &it.row.iters)),
        ("values", Floats(|it| &it.row.values)),
    ])
}

fn scrapes<'a>() -> Vec<Column<Scraped<'a>>> {
    columns::<Scraped<'a>, _>([
        ("run_id", Text(|it| it.run_id)),
        ("at", Time(|it| it.row.at)),
        ("signal", Text(|it| &it.row.signal)),
        ("value", Float(|it| it.row.value)),
    ])
}

fn verdicts() -> Vec<Column<VerdictRow>> {
    columns::<VerdictRow, _>([
        ("gate_id", Text(|it| &it.gate_id)),
        ("run_id", Text(|it| &it.run_id)),
        ("purpose", Text(|it| &it.purpose)),
        ("injected_rel", FloatOrNull(|it| it.injected_rel)),
        ("bench_id", TextOrNull(|it| it.bench_id.as_deref())),
        ("metric", TextOrNull(|it| it.metric.as_deref())),
        ("base", FloatOrNull(|it| it.base)),
        ("cand", FloatOrNull(|it| it.cand)),
        ("rel", FloatOrNull(|it| it.rel)),
        ("ci_low", FloatOrNull(|it| it.ci_low)),
        ("ci_high", FloatOrNull(|it| it.ci_high)),
        ("p", FloatOrNull(|it| it.p)),
        ("q", FloatOrNull(|it| it.q)),
        ("verdict", Text(|it| &it.verdict)),
        ("needed_pairs", CountOrNull(|it| it.needed_pairs)),
        ("pair_count", CountOrNull(|it| it.pair_count)),
        ("reason", TextOrNull(|it| it.reason.as_deref())),
        ("sql_sha", Text(|it| &it.sql_sha)),
        ("decided_at", Time(|it| it.decided_at)),
    ])
}

/// The rows of `results` of a run, in run order.
#[must_use]
pub fn results_batch(run: &Run) -> RecordBatch {
    let rows: Vec<Measured> = run
        .results
        .iter()
        .map(|row| {
            let history_id = history_id(&row.bench_id, &row.params, &row.metric, &run.env_id);
            Measured { run, row, history_id }
        })
        .collect();
    batch_of(&results(), &rows)
}

/// The rows of `samples` of a run.
#[must_use]
pub fn samples_batch(run: &Run) -> RecordBatch {
    let rows: Vec<Observed> = run.samples.iter().map(|row| Observed { run_id: &run.id, row }).collect();
    batch_of(&samples(), &rows)
}

/// The rows of `scrapes` of a run.
#[must_use]
pub fn scrapes_batch(run: &Run) -> RecordBatch {
    let rows: Vec<Scraped> = run.scrapes.iter().map(|row| Scraped { run_id: &run.id, row }).collect();
    batch_of(&scrapes(), &rows)
}

/// Rows of `verdicts`.
#[must_use]
pub fn verdicts_batch(rows: &[VerdictRow]) -> RecordBatch {
    batch_of(&verdicts(), rows)
}

/// The row of `env` of one environment.
#[must_use]
pub fn env_batch(environment: &Environment) -> RecordBatch {
    batch_of(&environment::columns(), std::slice::from_ref(environment))
}

/// Which measurements are comparable in time: the first 16 bytes of blake3, in hexadecimal digits, over the bench, the
/// parameters in the order of their names, the metric and the environment, each text after its length.
#[must_use]
pub fn history_id(
    bench_id: &str,
    params: &std::collections::BTreeMap<String, String>,
    metric: &str,
    env_id: &str,
) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add(bench_id);
    params.iter().for_each(|(name, value)| {
        add(name);
        add(value);
    });
    add(metric);
    add(env_id);
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_empty_run_has_empty_batches_of_every_schema() {
        let run = Run::default();
        for (table, batch) in [
            (Table::Results, results_batch(&run)),
            (Table::Samples, samples_batch(&run)),
            (Table::Scrapes, scrapes_batch(&run)),
            (Table::Verdicts, verdicts_batch(&[])),
        ] {
            assert_eq!((batch.num_rows(), batch.schema()), (0, table.schema()), "{}", table.name());
        }
    }

    #[test]
    fn history_ids_tell_parameters_metric_and_environment_apart() {
        let params = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let base = history_id("a/b", &params("n", "1"), "wall_ns", "e");
        assert_eq!(base.len(), 32);
        assert_eq!(base, history_id("a/b", &params("n", "1"), "wall_ns", "e"));
        for other in [
            history_id("a/b", &params("n1", ""), "wall_ns", "e"),
            history_id("a/b", &params("n", "2"), "wall_ns", "e"),
            history_id("a/b", &params("n", "1"), "cpu_ns", "e"),
            history_id("a/b", &params("n", "1"), "wall_ns", "f"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn rows_are_sorted_by_bench_metric_and_time() {
        let row = |bench: &str, metric: &str, at| ResultRow {
            bench_id: bench.into(),
            metric: metric.into(),
            started_at: at,
            ..ResultRow::default()
        };
        let results = vec![row("b", "x", 1), row("a", "y", 1), row("a", "x", 2), row("a", "x", 1)];
        let run = Run { results, ..Run::default() };
        let sorted = Table::Results.sort(&results_batch(&run)).unwrap();
        let expected = vec![row("a", "x", 1), row("a", "x", 2), row("a", "y", 1), row("b", "x", 1)];
        assert_eq!(sorted, results_batch(&Run { results: expected, ..Run::default() }));
    }
}
