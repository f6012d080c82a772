//! `promptc stress storage`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use clap::Args;
use clap::builder::PossibleValuesParser;
use promptc_engine::context::Cancel;
use promptc_engine::error::EngineError;
use promptc_engine::store::kv::{Durability, VALUE_BYTES_MAX};
use promptc_engine::stress::storage::{
    self, Happening, Measured, Pacing, StorageOptions, StorageReport, Workload, against,
};

use super::{Where, listen};
use crate::cli::query::Format;
use crate::cli::{Common, Outcome, build_info};
use crate::exit::Exit;
use crate::show;

/// Most clients: each is a thread.
const CLIENTS_MAX: usize = 1_024;

#[derive(Args)]
pub(super) struct StorageArgs {
    /// Records of a store
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    records: u64,
    /// Numbers of clients, as `1,2,64`
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,64", value_parser = parse_clients)]
    clients: Vec<usize>,
    /// Levels at which something is written
    #[arg(long, value_name = "LEVEL,...", value_delimiter = ',', default_value = "wal,group_commit,wal_fsync",
        value_parser = PossibleValuesParser::new(Durability::ALL.map(Durability::as_str)))]
    durability: Vec<String>,
    /// Kinds of load; default: all
    #[arg(long, value_name = "LOAD,...", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(Workload::ALL.map(Workload::as_str)))]
    workload: Vec<String>,
    /// Bytes of a value
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = parse_value_bytes)]
    value_bytes: usize,
    /// Cut the values from the JSON and text files at or below this path; default: synthetic ones that compress to a quarter
    #[arg(long, value_name = "PATH", conflicts_with = "against")]
    values: Option<PathBuf>,
    /// Longest time of one measurement in seconds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Longest time of the whole run in seconds; measurements that would begin after it are left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    total_seconds: Option<u64>,
    /// Measure again in an open loop at this share of the highest rate, in percent: latencies count from when a call was due
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=200))]
    open_loop: Option<u32>,
    /// Then kill the writing process and fill its disk, and compare everything with what was acknowledged
    #[arg(long, conflicts_with = "against")]
    faults: bool,
    /// How many times it is killed; a tenth as often the disk is filled
    #[arg(long, value_name = "N", default_value_t = 20, requires = "faults", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    cycles: u64,
    /// Beside RocksDB's own benchmark, in turn and with equal settings; ignores clients, durability, workload and open loop
    #[arg(long, value_name = "PROGRAM", value_parser = ["db_bench"])]
    against: Option<String>,
    /// How many times both are measured
    #[arg(long, value_name = "N", default_value_t = 5, requires = "against", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pairs: u16,
    /// Decides keys and values
    #[arg(long, value_name = "S", default_value_t = 42)]
    seed: u64,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    place: Where,
}

fn parse_clients(text: &str) -> Result<usize, String> {
    let clients = text.parse().ok().filter(|clients| (1..=CLIENTS_MAX).contains(clients));
    clients.ok_or_else(|| format!("expected numbers from 1 to {CLIENTS_MAX}"))
}

fn parse_value_bytes(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| *bytes <= VALUE_BYTES_MAX);
    bytes.ok_or_else(|| format!("expected a number from 0 to {VALUE_BYTES_MAX}"))
}

impl StorageArgs {
    fn options(&self) -> StorageOptions {
        let workloads: Vec<Workload> =
            self.workload.iter().filter_map(|text| Workload::parse(text)).collect();
        let mut clients = self.clients.clone();
        clients.sort_unstable();
        clients.dedup();
        let mut durability: Vec<Durability> =
            self.durability.iter().filter_map(|text| Durability::parse(text)).collect();
        durability.sort_unstable();
        durability.dedup();
        let is_wanted = |workload: &Workload| workloads.is_empty() || workloads.contains(workload);
        StorageOptions {
            dir: self.place.folder(),
            records: self.records,
            value_bytes: self.value_bytes,
            clients,
            durability,
            workloads: Workload::ALL.into_iter().filter(is_wanted).collect(),
            values: self.values.clone(),
            time: Duration::from_secs(self.seconds),
            total: self.total_seconds.map(Duration::from_secs),
            open_loop: self.open_loop.map(|percent| f64::from(percent) / 100.0),
            seed: self.seed,
        }
    }
}

pub(super) fn storage(args: &StorageArgs, common: &Common) -> Outcome {
    let options = args.options();
    let cancel = Cancel::default();
    let program = match &args.against {
        Some(_) => Some(against::find(std::env::var_os("PATH").as_deref())?),
        None => None,
    };
    let listener = listen(&args.place, &options.dir, &cancel, common)?;
    let outcome = match program {
        Some(program) => {
            let mut tell = |name: &str, pair: Option<&against::Pair>| match pair {
                None => listener.say(name),
                Some(pair) => listener.say(&format!(
                    "{name}: {:.0}/s of ours, {:.0}/s of db_bench, ratio {:.2}",
                    pair.our_rate,
                    pair.their_rate,
                    pair.our_rate / pair.their_rate
                )),
            };
            let report = against::run(&program, &options, args.pairs, &cancel, &mut tell);
            listener.finish();
            report.and_then(|report| show_pairs(&report, args, common))
        }
        None => {
            let mut tell = |happening: Happening<'_>| match happening {
                Happening::Begins(what) => listener.say(what),
                Happening::Runs(what, calls) if listener.moves() => {
                    listener.say(&format!("{what}: {calls} calls"));
                }
                Happening::Runs(..) => {}
                Happening::Done(measured) => {
                    let per_second = measured.records_per_second;
                    listener.say(&format!("{}: {per_second:.0} records/s", measured.workload.as_str()));
                }
            };
            let report = storage::run(&options, &cancel, &mut tell);
            listener.finish();
            report.and_then(|report| show_report(&report, &options, args, common))
        }
    };
    // What a fault lost is kept.
    if !matches!(outcome, Ok(Exit::Failed)) {
        args.place.clean_up(&options.dir);
    }
    outcome
}

fn show_report(
    report: &StorageReport,
    options: &StorageOptions,
    args: &StorageArgs,
    common: &Common,
) -> Outcome {
    let batch = table(&report.measured)?;
    show::print_batches(&batch.schema(), &[batch], args.format)?;
    if let Some(saved) = report.saved_ratio {
        eprintln!(
            "the loaded store is {:.0} % smaller than its keys and values ({} values)",
            saved * 100.0,
            if options.values.is_some() { "real" } else { "synthetic" }
        );
    }
    if let Some(resident) = report.measured.iter().filter_map(|measured| measured.resident_bytes).max() {
        let mib = |bytes: u64| bytes >> 20;
        eprintln!(
            "at most {} MiB of memory; the store's settings allow its cache and buffers {} MiB",
            mib(resident),
            mib(storage::MEMORY_BYTES as u64)
        );
    }
    if report.left_out > 0 {
        eprintln!("{} measurements were left out: the time of the run was over", report.left_out);
    }
    if options.open_loop.is_none() {
        eprintln!(
            "closed loops: a stall is one slow call; `--open-loop 70` counts every call that it would have delayed"
        );
    }
    let mut rows = storage::rows(report, options);
    let mut is_clean = true;
    if args.faults {
        let (of_faults, nothing_lost) = super::crash::faults(&args.place, args.seed, args.cycles, common)?;
        rows.extend(of_faults);
        is_clean = nothing_lost;
    }
    args.place.record(rows, common)?;
    Ok(if is_clean { Exit::Ok } else { Exit::Failed })
}

fn table(measured: &[Measured]) -> Result<RecordBatch, EngineError> {
    let texts = |of: &dyn Fn(&Measured) -> &'static str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(measured.iter().map(of)))
    };
    let counts = |of: &dyn Fn(&Measured) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(measured.iter().map(of)))
    };
    let rounded = |number: f64, digits: i32| (number * 10_f64.powi(digits)).round() / 10_f64.powi(digits);
    let floats = |of: &dyn Fn(&Measured) -> Option<f64>, digits: i32| -> ArrayRef {
        let values = measured.iter().map(|measured| of(measured).map(|number| rounded(number, digits)));
        Arc::new(Float64Array::from_iter(values))
    };
    let numbers = |of: &dyn Fn(&Measured) -> Option<f64>| floats(of, 1);
    let hundredths = |of: &dyn Fn(&Measured) -> Option<f64>| floats(of, 2);
    let micros =
        |of: fn(&Measured) -> Option<f64>| numbers(&|measured| of(measured).map(|nanos| nanos / 1e3));
    let pacing = |measured: &Measured| match measured.pacing {
        Pacing::Closed => "closed",
        Pacing::Open { .. } => "open",
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("workload", texts(&|measured| measured.workload.as_str())),
        ("durability", texts(&|measured| measured.durability.as_str())),
        ("clients", counts(&|measured| measured.clients as u64)),
        ("loop", texts(&pacing)),
        ("records_per_second", numbers(&|measured| Some(measured.records_per_second.round()))),
        ("p50_us", micros(|measured| measured.latency.median)),
        ("p99_us", micros(|measured| measured.latency.p99)),
        ("p999_us", micros(|measured| measured.latency.p999)),
        ("max_us", micros(|measured| measured.latency.max)),
        ("stalls", counts(&|measured| measured.stalls)),
        ("disk_mib", numbers(&|measured| Some(measured.disk_bytes as f64 / f64::from(1 << 20)))),
        ("space_amplification", hundredths(&|measured| measured.space_amplification)),
        ("merge_ms", numbers(&|measured| measured.merge.map(|time| time.as_secs_f64() * 1e3))),
        ("writer_per_second", numbers(&|measured| measured.beside_per_second)),
        ("hit_rate", floats(&|measured| measured.hit_rate, 3)),
        ("writes_per_sync", numbers(&|measured| measured.writes_per_sync)),
        ("unsent", counts(&|measured| measured.unsent)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn show_pairs(report: &against::AgainstReport, args: &StorageArgs, common: &Common) -> Outcome {
    let medians = report.medians();
    let rounded = |number: f64| (number * 1e3).round() / 1e3;
    let rates = Float64Array::from_iter_values(medians.iter().map(|median| rounded(median.2)));
    let latencies = Float64Array::from_iter(medians.iter().map(|median| median.3.map(rounded)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(medians.iter().map(|median| median.0)));
    let pairs: ArrayRef =
        Arc::new(UInt64Array::from_iter_values(medians.iter().map(|median| median.1 as u64)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("load", names),
        ("pairs", pairs),
        ("rate_ratio", Arc::new(rates)),
        ("p50_ratio", Arc::new(latencies)),
    ];
    let batch = RecordBatch::try_from_iter(columns)?;
    show::print_batches(&batch.schema(), &[batch], args.format)?;
    eprintln!(
        "medians over pairs, ours over db_bench: a rate above 1 and a p50 below 1 are ours; both p50 as db_bench counts"
    );
    report.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    if let Some(level) = build_info::environment().opt_level.filter(|level| level != "3") {
        eprintln!(
            "warning: this program was built with opt-level {level}; `cargo build --release` is what to compare"
        );
    }
    args.place.record(report.rows.clone(), common)?;
    Ok(Exit::Ok)
}
