//! Beside RocksDB's `db_bench`: the same load on the same disk in the same minute, again and again in turn.
//!
//! | pair | `db_bench` | ours |
//! |---|---|---|
//! | `single_write` | `fillrandom` | puts, level `wal` |
//! | `batch_100` | `fillrandom --batch_size=100` | batches of 100 puts, `wal` |
//! | `point_read_cold` | `readrandom` | gets, every record as likely |
//! | `point_read_hot` | `readrandom --read_random_exp_range=20` | gets, by the same law |
//! | `range_100` | `seekrandom --seek_nexts=100` | ranges of 100 |
//! | `read_while_writing` | `readwhilewriting` | gets, every record as likely, beside a writer of level `wal` |
//! | `synced_write/1_writer` | `fillsync` | puts, `wal_fsync` |
//! | `synced_write/64_writers` | `fillsync`, one writer | puts of 64 writers, `group_commit` |
//!
//! Keys of 16 bytes, values that compress to a quarter, and every setting of the database equal; both are closed loops of one
//! client, the last pair excepted. Median latencies are compared as [`whole_micros`](super::whole_micros) has them. Readers find a merged store that holds every record once. What a pair says is the ratio:
//! a machine that is slower for a minute is slower for both.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use promptc_store::history::ingest::{IngestOptions, Kind, ingest_text};
use promptc_store::history::{ResultRow, summary};
use promptc_store::kv::Durability;

use super::data::{Draw, KEY_BYTES};
use super::drive::{Limit, Pacing};
use super::rows::{params, rows_of, single};
use super::workload::{Start, Workload};
use super::{
    BLOCK_BYTES, Bench, Happening, Setting, StorageOptions, TUNING, WRITE_BUFFER_BYTES, load, remove,
};
use crate::bench::now;
use crate::context::Cancel;
use crate::error::EngineError;
use crate::store_errors;
use crate::stress::{empty_folder, fault, open};

/// The program.
const DB_BENCH: &str = "db_bench";
/// Writes of one writer that are synced one by one.
const SYNCED_WRITES: u64 = 1_000;
/// Writers of the last pair.
const WRITERS: usize = 64;
/// Ranges for each record that is read.
const READS_PER_RANGE: u64 = 20;
/// Longest time of a run of ours; `db_bench` has none.
const TIME_MAX: Duration = Duration::from_secs(3_600);

/// What is compared.
struct Compared {
    name: &'static str,
    flags: &'static [&'static str],
    workload: Workload,
    durability: Durability,
    clients: usize,
}

const COMPARED: [Compared; 8] = [
    Compared {
        name: "single_write",
        flags: &["--benchmarks=fillrandom"],
        workload: Workload::FillSingle,
        durability: Durability::Wal,
        clients: 1,
    },
    Compared {
        name: "batch_100",
        flags: &["--benchmarks=fillrandom", "--batch_size=100"],
        workload: Workload::FillBatch,
        durability: Durability::Wal,
        clients: 1,
    },
    Compared {
        name: "point_read_cold",
        flags: &["--benchmarks=readrandom"],
        workload: Workload::PointReadCold,
        durability: Durability::Wal,
        clients: 1,
    },
    Compared {
        name: "point_read_hot",
        flags: &["--benchmarks=readrandom", "--read_random_exp_range=20"],
        workload: Workload::PointReadHot,
        durability: Durability::Wal,
        clients: 1,
    },
    Compared {
        name: "range_100",
        flags: &["--benchmarks=seekrandom", "--seek_nexts=100"],
        workload: Workload::Range,
        durability: Durability::Wal,
        clients: 1,
    },
    Compared {
        name: "read_while_writing",
        flags: &["--benchmarks=readwhilewriting"],
        workload: Workload::ReadWhileWriting,
        durability: Durability::Wal,
        clients: 1,
    },
    Compared {
        name: "synced_write/1_writer",
        flags: &["--benchmarks=fillsync"],
        workload: Workload::FillSingle,
        durability: Durability::WalFsync,
        clients: 1,
    },
    Compared {
        name: "synced_write/64_writers",
        flags: &["--benchmarks=fillsync"],
        workload: Workload::FillSingle,
        durability: Durability::GroupCommit,
        clients: WRITERS,
    },
];

/// One pair of measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// What was compared.
    pub name: &'static str,
    /// Number of the pair, from 0.
    pub attempt: u16,
    /// Operations a second of `db_bench`; records of a batch, ranges.
    pub their_rate: f64,
    /// The same of ours.
    pub our_rate: f64,
    /// Median latency of `db_bench` in nanoseconds.
    pub their_p50_ns: f64,
    /// The same of ours, counted as `db_bench` counts; not what `wall_ns` has, which is exact.
    pub our_p50_ns: f64,
}

/// All pairs.
#[derive(Debug, Clone, Default)]
pub struct AgainstReport {
    /// In the order measured.
    pub pairs: Vec<Pair>,
    /// Rows of the benchmark history: both sides of every pair, and their ratios.
    pub rows: Vec<ResultRow>,
    /// What `db_bench` warned of.
    pub warnings: Vec<String>,
}

impl AgainstReport {
    /// By name: number of pairs, median ratio of the rates, median ratio of the median latencies, ours over
    /// theirs; none where clients differ.
    #[must_use]
    pub fn medians(&self) -> Vec<(&'static str, usize, f64, Option<f64>)> {
        let median = |ratios: Vec<f64>| summary(&ratios, 0).median.unwrap_or(f64::NAN);
        let of = |compared: &Compared| {
            let pairs: Vec<&Pair> = self.pairs.iter().filter(|pair| pair.name == compared.name).collect();
            let rate = median(pairs.iter().map(|pair| pair.our_rate / pair.their_rate).collect());
            let p50 = median(pairs.iter().map(|pair| pair.our_p50_ns / pair.their_p50_ns).collect());
            let p50 = (compared.clients == 1).then_some(p50);
            (!pairs.is_empty()).then_some((compared.name, pairs.len(), rate, p50))
        };
        COMPARED.iter().filter_map(of).collect()
    }
}

/// `db_bench` on the search path.
///
/// # Errors
/// It is not there; the help names Debian's package.
pub fn find(search_path: Option<&std::ffi::OsStr>) -> Result<PathBuf, EngineError> {
    let folders = search_path.map(std::env::split_paths).into_iter().flatten();
    folders.map(|folder| folder.join(DB_BENCH)).find(|path| path.is_file()).ok_or_else(|| {
        EngineError::Store {
            code: "E2101",
            message: format!("`{DB_BENCH}` is not on the search path"),
            help: Some(
                "it is in Debian's package `rocksdb-tools`: `apt-get install rocksdb-tools`".to_owned(),
            ),
        }
    })
}

/// Runs `pair_count` pairs of everything, `program` and ours first in turn, and tells `listen` after each pair.
///
/// # Errors
/// The folder is not empty, the program fails, or the store does.
pub fn run(
    program: &Path,
    options: &StorageOptions,
    pair_count: u16,
    cancel: &Cancel,
    listen: &mut dyn FnMut(&str, Option<&Pair>),
) -> Result<AgainstReport, EngineError> {
    let dir = empty_folder(&options.dir)?;
    let mut quiet = |_: Happening<'_>| {};
    let ours = Bench::new(options, cancel, dir.clone(), &mut quiet)?;
    let mut against = Against { program, options, dir, ours, report: AgainstReport::default() };
    listen("loading both", None);
    against.load(cancel)?;
    for attempt in 0..pair_count {
        for compared in &COMPARED {
            if cancel.is_cancelled() {
                return Err(EngineError::Interrupted);
            }
            listen(compared.name, None);
            against.pair(compared, attempt)?;
            listen(compared.name, against.report.pairs.last());
        }
    }
    for folder in ["theirs", "ours", "their-fill", "our-fill"] {
        remove(&against.dir.join(folder))?;
    }
    Ok(against.report)
}

struct Against<'a> {
    program: &'a Path,
    options: &'a StorageOptions,
    dir: PathBuf,
    ours: Bench<'a>,
    report: AgainstReport,
}

impl Against<'_> {
    fn load(&mut self, cancel: &Cancel) -> Result<(), EngineError> {
        load(&self.dir.join("ours"), self.options.records, &self.ours.values, cancel)?;
        self.db_bench("theirs", &["--benchmarks=filluniquerandom,compact".to_owned()]).map(|_| ())
    }

    fn pair(&mut self, compared: &Compared, attempt: u16) -> Result<(), EngineError> {
        let is_theirs_first = attempt.is_multiple_of(2);
        let mut theirs = Vec::new();
        if is_theirs_first {
            theirs = self.theirs(compared, attempt)?;
        }
        let ours = self.our_side(compared)?;
        if !is_theirs_first {
            theirs = self.theirs(compared, attempt)?;
        }
        let of = |metric: &str| theirs.iter().find(|row| row.metric == metric).and_then(|row| row.value);
        let (Some(their_rate), Some(their_p50_ns)) = (of("throughput"), of("wall_ns")) else {
            return Err(unreadable("no rate or no latency in its answer"));
        };
        let our_rate = if compared.workload == Workload::Range {
            ours.calls_per_second
        } else {
            ours.records_per_second
        };
        let our_p50_ns = ours.median_as_db_bench_us.unwrap_or(f64::NAN) * 1e3;
        let pair = Pair { name: compared.name, attempt, their_rate, our_rate, their_p50_ns, our_p50_ns };
        let pair_id = Some(format!("{}#{attempt}", compared.name));
        let mut rows = theirs;
        rows.extend(rows_of(&ours, self.options));
        rows.extend(self.ratios(compared, &pair));
        for row in &mut rows {
            row.attempt = attempt;
            row.pair_id.clone_from(&pair_id);
        }
        self.report.rows.extend(rows);
        self.report.pairs.push(pair);
        Ok(())
    }

    fn our_side(&mut self, compared: &Compared) -> Result<super::Measured, EngineError> {
        let Compared { workload, durability, clients, .. } = *compared;
        let folder = self.dir.join(if workload.start() == Start::Empty { "our-fill" } else { "ours" });
        if workload.start() == Start::Empty {
            remove(&folder)?;
        }
        let hot = Draw::Exponential { count: self.options.records };
        let calls = match workload {
            _ if durability.is_synced() => self.synced_writes() * if clients > 1 { 4 } else { 1 },
            Workload::FillBatch => self.options.records / workload.records_per_call(),
            Workload::Range => self.options.records / READS_PER_RANGE,
            _ => self.options.records,
        };
        let limit = Limit { calls: calls.max(1), time: TIME_MAX };
        let store = open(&folder, &TUNING)?;
        let setting = Setting { workload, durability, clients };
        let measured = self.ours.one(setting, Pacing::Closed, limit, &hot, &store)?;
        if workload == Workload::ReadWhileWriting {
            // The next pair finds a merged store again.
            store.records().compact()?;
        }
        Ok(measured)
    }

    fn theirs(&mut self, compared: &Compared, attempt: u16) -> Result<Vec<ResultRow>, EngineError> {
        let records = self.options.records;
        let mut flags: Vec<String> = compared.flags.iter().map(|flag| (*flag).to_owned()).collect();
        let folder = if compared.workload.start() == Start::Empty {
            remove(&self.dir.join("their-fill"))?;
            if compared.durability.is_synced() {
                flags.push(format!("--writes={}", self.synced_writes()));
            }
            "their-fill"
        } else {
            let reads =
                if compared.workload == Workload::Range { records / READS_PER_RANGE } else { records };
            flags.extend(["--use_existing_db=1".to_owned(), format!("--reads={}", reads.max(1))]);
            "theirs"
        };
        let text = self.db_bench(folder, &flags)?;
        if compared.workload == Workload::ReadWhileWriting {
            self.db_bench(folder, &["--benchmarks=compact".to_owned(), "--use_existing_db=1".to_owned()])?;
        }
        let mut options = IngestOptions::new("storage", |values| summary(values, 0));
        options.attempt = attempt;
        options.params = params(self.options, &[("clients", "1".to_owned())]);
        // fillsync syncs, whatever ours does in its place.
        let level = if compared.durability.is_synced() { Durability::WalFsync } else { Durability::Wal };
        options.durability = Some(level.as_str().to_owned());
        let found = ingest_text(Kind::DbBench, DB_BENCH, &text, now(), &options);
        let found = found.map_err(store_errors::ingest)?;
        for warning in found.warnings {
            if !self.report.warnings.contains(&warning) {
                self.report.warnings.push(warning);
            }
        }
        let mut rows = found.results;
        for row in &mut rows {
            row.bench_id = format!("db_bench/{}", compared.name);
            row.subject = Some(DB_BENCH.to_owned());
        }
        Ok(rows)
    }

    fn synced_writes(&self) -> u64 {
        SYNCED_WRITES.min(self.options.records)
    }

    /// Runs the program and answers what it printed.
    fn db_bench(&self, folder: &str, flags: &[String]) -> Result<String, EngineError> {
        let options = self.options;
        let mut command = Command::new(self.program);
        command.arg(format!("--db={}", self.dir.join(folder).display()));
        for (name, value) in [
            ("key_size", KEY_BYTES as u64),
            ("value_size", options.value_bytes as u64),
            ("num", options.records),
            ("seed", options.seed),
            ("cache_size", TUNING.cache_bytes() as u64),
            ("cost_write_buffer_to_cache", 1),
            ("write_buffer_size", WRITE_BUFFER_BYTES as u64),
            ("db_write_buffer_size", 2 * WRITE_BUFFER_BYTES as u64),
            ("block_size", BLOCK_BYTES as u64),
            ("compression_level", 3),
            ("bloom_bits", 10),
            ("max_background_jobs", 2),
            ("cache_index_and_filter_blocks", 1),
            ("open_files", 256),
            ("bytes_per_sync", 1 << 20),
            ("level_compaction_dynamic_level_bytes", 1),
            ("histogram", 1),
        ] {
            command.arg(format!("--{name}={value}"));
        }
        command.args(["--compression_type=zstd", "--compression_ratio=0.25"]).args(flags);
        command.stdin(Stdio::null());
        let output = command.output();
        let output =
            output.map_err(|source| EngineError::Program { path: self.program.to_owned(), source })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing was said");
            return Err(unreadable(&format!("it ended with {}: {last}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The ratios of a pair under the names of the promises.
    fn ratios(&self, compared: &Compared, pair: &Pair) -> Vec<ResultRow> {
        let size = match self.options.value_bytes {
            1_000 | 1_024 => "1kb".to_owned(),
            bytes => format!("{bytes}b"),
        };
        let bench_id = if compared.name.contains('/') {
            format!("storage_performance/{}", compared.name)
        } else {
            format!("storage_performance/{}/{size}", compared.name)
        };
        let row = |metric: &str, direction, value: f64| ResultRow {
            suite: "storage".to_owned(),
            bench_id: bench_id.clone(),
            params: params(self.options, &[("clients", compared.clients.to_string())]),
            metric: metric.to_owned(),
            unit: "ratio".to_owned(),
            direction,
            value: Some(value),
            summary: single(value),
            durability: Some(compared.durability.as_str().to_owned()),
            seed: Some(self.options.seed),
            started_at: now(),
            ..ResultRow::default()
        };
        let rate = pair.our_rate / pair.their_rate;
        if compared.clients > 1 {
            // Many writers over one: no latency of the same thing.
            return vec![row("ratio", 1, rate)];
        }
        vec![
            row("db_bench_throughput_ratio", 1, rate),
            row("db_bench_latency_ratio", -1, pair.our_p50_ns / pair.their_p50_ns),
        ]
    }
}

fn unreadable(what: &str) -> EngineError {
    fault(format!("`{DB_BENCH}`: {what}"), "version 7.8 of Debian's package `rocksdb-tools` is known to work")
}

#[cfg(test)]
mod tests {
    use super::super::data::EXPONENT_RANGE;
    use super::*;

    #[test]
    fn the_flag_and_our_law_of_skewed_reads_agree() {
        let flag = format!("--read_random_exp_range={EXPONENT_RANGE}");
        assert!(COMPARED.iter().any(|compared| compared.flags.contains(&flag.as_str())));
    }

    #[test]
    fn an_absent_program_is_named_with_its_package() {
        let error = find(Some(std::ffi::OsStr::new("nowhere"))).unwrap_err();
        assert_eq!(error.code(), "E2101");
        assert!(error.help().unwrap().contains("rocksdb-tools"));
        assert!(find(None).is_err());
    }

    #[test]
    fn medians_are_over_pairs() {
        let pair = |attempt, our_rate, our_p50_ns| Pair {
            name: "batch_100",
            attempt,
            their_rate: 100.0,
            our_rate,
            their_p50_ns: 10.0,
            our_p50_ns,
        };
        let pairs = vec![pair(0, 90.0, 11.0), pair(1, 200.0, 9.0), pair(2, 95.0, 12.0)];
        let report = AgainstReport { pairs, ..AgainstReport::default() };
        assert_eq!(report.medians(), [("batch_100", 3, 0.95, Some(1.1))]);
    }
}
