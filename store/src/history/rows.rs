//! The rows of the benchmark history as plain structs, column by column as in the tables.

use std::collections::BTreeMap;

/// Microseconds since 1970-01-01 UTC.
pub type Micros = i64;

/// Which build of a pair a measurement belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Side {
    /// Measured by itself.
    #[default]
    Solo,
    /// The older build of an interleaved pair.
    Base,
    /// The newer build of an interleaved pair.
    Candidate,
    /// The second side of a run of one build against itself; its first side is [`Side::Base`].
    Same,
}

impl Side {
    /// The text of the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Solo => "solo",
            Side::Base => "base",
            Side::Candidate => "cand",
            Side::Same => "aa",
        }
    }

    /// The side that a text names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Side::Solo, Side::Base, Side::Candidate, Side::Same].into_iter().find(|side| side.as_str() == text)
    }
}

/// How a measurement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Status {
    /// With a value.
    #[default]
    Ok,
    /// With an error.
    Failed,
    /// Not within its time.
    TimedOut,
    /// Its subject is not here.
    Skipped,
}

impl Status {
    /// The text of the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::TimedOut => "timeout",
            Status::Skipped => "skipped",
        }
    }

    /// The status that a text names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Status::Ok, Status::Failed, Status::TimedOut, Status::Skipped];
        all.into_iter().find(|status| status.as_str() == text)
    }
}

/// Summary of the samples of one measurement. All values are in the unit of its metric.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// Number of samples.
    pub n_samples: u32,
    /// Median of the samples.
    pub median: Option<f64>,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Sample standard deviation; none for fewer than two samples.
    pub stddev: Option<f64>,
    /// Median of absolute deviations from the median, not scaled.
    pub mad: Option<f64>,
    /// Smallest sample.
    pub min: Option<f64>,
    /// Largest sample.
    pub max: Option<f64>,
    /// Quantile 0.05. A quantile is none when there are too few samples for it: p needs 10 / (1 - p), and those
    /// below the median as many as their mirror image.
    pub p05: Option<f64>,
    /// Quantile 0.25.
    pub p25: Option<f64>,
    /// Quantile 0.75.
    pub p75: Option<f64>,
    /// Quantile 0.9.
    pub p90: Option<f64>,
    /// Quantile 0.95.
    pub p95: Option<f64>,
    /// Quantile 0.99.
    pub p99: Option<f64>,
    /// Quantile 0.999.
    pub p999: Option<f64>,
    /// Lower end of the bootstrap interval of the median.
    pub ci_low: Option<f64>,
    /// Upper end of the bootstrap interval of the median.
    pub ci_high: Option<f64>,
    /// Level of that interval, as 0.95.
    pub ci_level: Option<f64>,
    /// Samples below the lower fence of Tukey, 1.5 interquartile ranges.
    pub outliers_low: u32,
    /// Samples above the upper fence.
    pub outliers_high: u32,
}

/// State of the work tree that was measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitState {
    /// Commit, 40 hexadecimal digits; `unknown` outside a repository.
    pub sha: String,
    /// Its first parent.
    pub parent: Option<String>,
    /// Branch; empty if none is checked out.
    pub branch: String,
    /// Tag of the commit.
    pub tag: Option<String>,
    /// When it was committed.
    pub commit_time: Micros,
    /// Position on the first-parent line of the main branch, from 0; none off it.
    pub commit_seq: Option<u32>,
    /// Whether tracked files differ from the commit.
    pub dirty: bool,
}

/// Witnesses of noise over one measurement.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Noise {
    /// Mean load of the last minute at the end.
    pub load1: Option<f32>,
    /// Involuntary context switches of the process.
    pub ctx_switches_invol: Option<f32>,
    /// Time stolen by the hypervisor, in milliseconds.
    pub steal_ms: Option<f32>,
    /// Mean clock of all cores, in MHz.
    pub cpu_mhz_mean: Option<f32>,
    /// Temperature of the package, in degrees Celsius.
    pub temp_c: Option<f32>,
}

/// One row of `results`: one benchmark, metric, side and attempt of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResultRow {
    /// Repetition within the run, from 0.
    pub attempt: u16,
    /// Equal on both sides of an interleaved pair of measurements.
    pub pair_id: Option<String>,
    /// Which side of a pair.
    pub side: Side,
    /// Which part of the project, as `compression`; of a program's bench the name in `record`.
    pub suite: String,
    /// `group/function/parameter`, see [`bench_id`](super::bench_id).
    pub bench_id: String,
    /// Everything that changes the work.
    pub params: BTreeMap<String, String>,
    /// What was measured, as `wall_ns`.
    pub metric: String,
    /// Unit of all values: `ns`, `bytes`, `1/s`, `bytes/s`, `ratio`, `count`, `tok/s`, `tok`, `share`.
    pub unit: String,
    /// -1 if lower is better, 1 if higher is, 0 for information.
    pub direction: i8,
    /// Iterations over all samples.
    pub iters_total: u64,
    /// The headline, usually the median of the samples; none unless the status is ok.
    pub value: Option<f64>,
    /// The samples in short.
    pub summary: Summary,
    /// criterion's linear fit, in ns per iteration.
    pub slope: Option<f64>,
    /// Units of work of one iteration.
    pub throughput_per_iter: Option<u64>,
    /// What those units are: `bytes`, `elements`, ...
    pub throughput_unit: Option<String>,
    /// Time spent before the first sample.
    pub warmup_ns: u64,
    /// Time spent measuring.
    pub measure_ns: u64,
    /// How it ended.
    pub status: Status,
    /// Why it did not end well.
    pub error: Option<String>,
    /// `none`, `wal`, `wal_fsync`, `group_commit`; mandatory in suite `storage`.
    pub durability: Option<String>,
    /// blake3 of the executable without debug sections; equal on both sides of a pair means unchanged code.
    pub code_hash: Option<String>,
    /// Fingerprint of the compiled plan.
    pub plan_hash: Option<String>,
    /// Content hash of the data read.
    pub data_hash: Option<String>,
    /// What was measured of a program: a stream, a model.
    pub subject: Option<String>,
    /// Lowest seed of the subject.
    pub seed: Option<u64>,
    /// The promise in force when measured.
    pub target_value: Option<f64>,
    /// Its comparison: `<=`, `<`, `>=`, `>`.
    pub target_op: Option<String>,
    /// When the measurement began.
    pub started_at: Micros,
    /// What was disturbing.
    pub noise: Noise,
    /// `dispatch`, `git_tag`, `purpose`, `bridge`, `file`, `line`.
    pub tags: BTreeMap<String, String>,
}

/// One row of `samples`: the raw observations of one measurement.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SampleRow {
    /// As in [`ResultRow`].
    pub attempt: u16,
    /// As in [`ResultRow`].
    pub side: Side,
    /// As in [`ResultRow`].
    pub bench_id: String,
    /// As in [`ResultRow`].
    pub metric: String,
    /// Iterations of each observation; of a soak run the elapsed milliseconds.
    pub iters: Vec<u64>,
    /// Values per iteration in the order taken. In a paired run the same index of both sides belongs together.
    pub values: Vec<f64>,
}

/// One row of `scrapes`: a signal of a running service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScrapeRow {
    /// When it was read.
    pub at: Micros,
    /// Name of the signal.
    pub signal: String,
    /// Its value.
    pub value: f64,
}

/// One row of `verdicts`: what a gate decided about one benchmark of a run, or, with no `bench_id`, about the run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VerdictRow {
    /// Which gate.
    pub gate_id: String,
    /// The run that was judged.
    pub run_id: String,
    /// `gate`, `aa`, `power`.
    pub purpose: String,
    /// Slow-down that was multiplied into the candidate side, as 0.1.
    pub injected_rel: Option<f64>,
    /// None in the summary row.
    pub bench_id: Option<String>,
    /// None in the summary row.
    pub metric: Option<String>,
    /// Median of the base side.
    pub base: Option<f64>,
    /// Median of the candidate side.
    pub cand: Option<f64>,
    /// Relative change, positive is worse.
    pub rel: Option<f64>,
    /// Lower end of its interval.
    pub ci_low: Option<f64>,
    /// Upper end of its interval.
    pub ci_high: Option<f64>,
    /// Probability of such a change by chance.
    pub p: Option<f64>,
    /// The same, corrected for all benchmarks of the run.
    pub q: Option<f64>,
    /// `regression`, `improvement`, `no_change`, `cannot_tell`; in the summary row `pass`, `fail`, `unknown`.
    pub verdict: String,
    /// Pairs that it would take to decide.
    pub needed_pairs: Option<u32>,
    /// Pairs that there were.
    pub pair_count: Option<u32>,
    /// Why, in words.
    pub reason: Option<String>,
    /// blake3 of the gate's SQL.
    pub sql_sha: String,
    /// When it was decided.
    pub decided_at: Micros,
}

/// One run: everything that is written together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    /// ULID; sorts by time.
    pub id: String,
    /// When it began; names the folder of its month.
    pub started_at: Micros,
    /// The work tree.
    pub git: GitState,
    /// Fingerprint of the environment, 32 hexadecimal digits.
    pub env_id: String,
    /// Pull request, if the run belongs to one.
    pub pr: Option<String>,
    /// Rows of `results`.
    pub results: Vec<ResultRow>,
    /// Rows of `samples`.
    pub samples: Vec<SampleRow>,
    /// Rows of `scrapes`.
    pub scrapes: Vec<ScrapeRow>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_sides_and_states_are_read_back() {
        for side in [Side::Solo, Side::Base, Side::Candidate, Side::Same] {
            assert_eq!(Side::parse(side.as_str()), Some(side));
        }
        for status in [Status::Ok, Status::Failed, Status::TimedOut, Status::Skipped] {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        assert_eq!((Side::parse("both"), Status::parse("")), (None, None));
    }
}
