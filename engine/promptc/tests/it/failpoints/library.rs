//! What no verb of the command does in a moment: records of the log under several writers, a row cache beyond its bound,
//! and a history that is written, judged and compacted. The process that is disturbed is this test, asked to be one.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, UNIX_EPOCH};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use promptc_engine::bench::run_id_of;
use promptc_engine::error::EngineError;
use promptc_engine::store::doctor::{Severity, check};
use promptc_engine::store::failpoint;
use promptc_engine::store::history::{
    Environment, History, ResultRow, Run, SampleRow, ScrapeRow, VerdictRow, run_id_time, summary,
};
use promptc_engine::store::kv::{Batch, Durability};
use promptc_engine::store::open::{Store, StoreOptions};
use promptc_engine::store::sql::history_session;
use promptc_engine::store_errors;

use super::documents;
use super::place::Scenario;
use super::{finish, said};

/// Which scenario this process is to be, and where: `records <folder>`.
const CHILD: &str = "FAILPOINTS_CHILD";
/// The exit status of a child that ended with a named error, as that of the command.
const FAILED: i32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    Records,
    Documents,
    History,
}

/// The disturbed process. Nothing at all where it is a test among others.
#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    failpoint::arm(|name| std::env::var(name).ok()).unwrap();
    let (scenario, folder) = task.split_once(' ').unwrap();
    let done = match scenario {
        "records" => records(Path::new(folder)),
        "prepare" => prepare_records(Path::new(folder)),
        "look" => look(Path::new(folder)),
        "documents" => documents::write(Path::new(folder)),
        "look-documents" => documents::look(Path::new(folder)),
        _ => history(Path::new(folder)),
    };
    if let Err(error) = done {
        eprintln!("error[{}]: {error}", error.code());
        std::process::exit(FAILED);
    }
}

impl Scenario for Library {
    fn name(&self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Documents => "documents",
            Self::History => "history",
        }
    }

    fn prepare(&self, folder: &Path) {
        if *self == Self::Records {
            ask("prepare", folder).unwrap();
        }
    }

    fn command(&self, folder: &Path) -> Command {
        child_command(self.name(), folder)
    }

    fn results(&self, folder: &Path) -> BTreeMap<String, Vec<u8>> {
        match self {
            Self::Records => ask("look", folder).unwrap_or_default(),
            Self::Documents => ask("look-documents", folder).unwrap_or_default(),
            Self::History => counts(folder),
        }
    }

    fn replaced(&self, _folder: &Path) -> BTreeMap<String, Vec<u8>> {
        BTreeMap::new()
    }

    fn acknowledged(&self, folder: &Path, output: &Output) -> Result<(), String> {
        let said = String::from_utf8_lossy(&output.stdout);
        // The test harness writes the beginning of the first line.
        let acks = said.lines().filter_map(|line| line.split_once("ack ")).map(|(_, words)| words);
        match self {
            Self::Records => records_are_there(folder, acks),
            Self::Documents => documents_are_there(folder, acks),
            Self::History => runs_are_there(folder, acks),
        }
    }

    fn damage(&self, folder: &Path) -> Result<(), String> {
        match self {
            // Looking reads and compares everything.
            Self::Records => ask("look", folder).map(drop),
            Self::Documents => ask("look-documents", folder).map(drop),
            Self::History => {
                let history = History::open(folder).map_err(|error| error.to_string())?;
                let orphans = history.remove_orphans().map_err(|error| error.to_string())?;
                match orphans.iter().find(|orphan| !orphan.path.to_string_lossy().contains(".tmp-")) {
                    Some(orphan) => Err(format!("{}: {}", orphan.path.display(), orphan.reason)),
                    None => Ok(()),
                }
            }
        }
    }

    fn is_whole_before(&self) -> bool {
        *self == Self::Records
    }

    /// A row is put anew to count as used, which may fail. A panic beside Lance is told as damage.
    fn bears(&self, site: &str, action: &str) -> bool {
        if *self == Self::Documents {
            return super::program::is_told_as_damage(site, action);
        }
        action == "return" && ["rows-before-put", "rows-after-put"].contains(&site)
    }
}

/// A small cache, so that it is passed.
pub(super) fn open(folder: &Path) -> Result<Store, EngineError> {
    let options = StoreOptions { cache_bytes: 16_000, read_only: false };
    Store::open(folder, &options).map_err(store_errors::open)
}

fn rows(numbers: std::ops::Range<u8>) -> Vec<([u8; 32], Vec<u8>)> {
    numbers.map(|number| ([number; 32], vec![number; 60])).collect()
}

const WRITERS: u8 = 3;
const WRITES: u8 = 6;
/// With all writers more than is left to the log when the store closes.
const VALUE_BYTES: usize = 40_000;

fn key(writer: u8, number: u8, part: &str) -> String {
    format!("{writer} {number} {part}")
}

/// A row cache that evicts, ledger entries, and writers that share groups and say what was acknowledged.
fn records(folder: &Path) -> Result<(), EngineError> {
    let store = open(folder)?;
    let old: Vec<[u8; 32]> = rows(0..120).into_iter().map(|(key, _)| key).collect();
    store.rows().get_many(&old);
    store.rows().put_many(&rows(120..250))?;
    let ledger = store.ledger();
    ledger.put_all(&[("test/kept", b"1"), ("test/removed", b"2")])?;
    ledger.remove_all(&["test/removed"])?;
    let records = store.records();
    let write = |writer: u8| -> Result<(), EngineError> {
        for number in 0..WRITES {
            let mut batch = Batch::new();
            for part in ["one", "other"] {
                batch.put(key(writer, number, part).as_bytes(), &[writer * 16 + number; VALUE_BYTES])?;
            }
            let durability = if number % 2 == 0 { Durability::GroupCommit } else { Durability::Wal };
            records.write(batch, durability)?;
            println!("ack {writer} {number}");
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        let ended = ended.into_iter().map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect::<Result<Vec<()>, EngineError>>()
    })?;
    drop(store);
    // The close flushes what was written; this is another process's life.
    let store = open(folder)?;
    store.records().put(b"last", b"1", Durability::WalFsync)?;
    store.records().compact()?;
    Ok(())
}

/// Every batch that was acknowledged is there, and every batch is there as a whole or not at all.
fn records_are_there<'a>(folder: &Path, acks: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let found = ask("look", folder)?;
    let value = |batch: &str, part: &str| found.get(&format!("record {batch} {part}"));
    for writer in 0..WRITERS {
        for number in 0..WRITES {
            let batch = format!("{writer} {number}");
            if value(&batch, "one") != value(&batch, "other") {
                return Err(format!("batch {batch} is there in part"));
            }
        }
    }
    for batch in acks {
        let numbers: Vec<u8> = batch.split(' ').map(|word| word.parse().unwrap()).collect();
        let expected = format!("{}", numbers[0] * 16 + numbers[1]);
        if value(batch, "one").map(Vec::as_slice) != Some(expected.as_bytes()) {
            return Err(format!("batch {batch} was acknowledged and is not there"));
        }
    }
    Ok(())
}

/// Rows of old generations, so that a hit is one to refresh.
fn prepare_records(folder: &Path) -> Result<(), EngineError> {
    let store = open(folder)?;
    store.rows().put_many(&rows(0..120))?;
    (0..10).try_for_each(|_| store.rows().advance())?;
    Ok(())
}

/// Says what a store holds, after everything in it was read and compared.
fn look(folder: &Path) -> Result<(), EngineError> {
    let store = open(folder)?;
    store.records().verify()?;
    store.records().range(b"", None, |key, value| {
        let is_even = value.iter().all(|byte| *byte == value[0]);
        println!("found record {}: {}", String::from_utf8_lossy(key), if is_even { value[0] } else { 255 });
        true
    })?;
    for (name, value) in store.ledger().entries("test/")? {
        println!("found ledger {name}: {}", String::from_utf8_lossy(&value));
    }
    // A cache may lack a row, and never has a wrong one.
    let keys: Vec<[u8; 32]> = rows(0..250).into_iter().map(|(key, _)| key).collect();
    for (value, (key, expected)) in store.rows().get_many(&keys).into_iter().zip(rows(0..250)) {
        if value.is_some_and(|value| value != expected) {
            println!("found row {}: wrong", key[0]);
        }
    }
    drop(store);
    let error = check(folder).into_iter().find(|finding| finding.severity == Severity::Error);
    error.map_or(Ok(()), |finding| {
        Err(EngineError::Unknown(format!("{}: {}", finding.subject, finding.message)))
    })
}

/// Every document that was acknowledged is there.
fn documents_are_there<'a>(folder: &Path, mut acks: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut found = None;
    acks.try_for_each(|id| {
        let found = match &mut found {
            Some(found) => found,
            none => none.insert(ask("look-documents", folder)?),
        };
        let is_there = found.contains_key(&format!("document {id}"));
        is_there.then_some(()).ok_or_else(|| format!("document {id} was acknowledged and is not there"))
    })
}

fn child_command(task: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["failpoints::library::child", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, format!("{task} {}", folder.display()));
    command
}

/// What an undisturbed child found. A process of its own, since a store that is open here would be open in every process that
/// starts meanwhile.
fn ask(task: &str, folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let output = finish(child_command(task, folder)).ok_or("the look hangs")?;
    if !output.status.success() {
        return Err(said(&output));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.split_once("found ")?.1.split_once(": "));
    Ok(lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect())
}

const DAY: i64 = 86_400_000_000;
/// 2026-01-15.
const JANUARY: i64 = 20_468 * DAY;
const MARCH: i64 = JANUARY + 59 * DAY;

fn environment() -> Environment {
    Environment { os: Some("linux test 1".into()), ..Environment::default() }.sealed()
}

fn run(number: i64) -> Run {
    let started_at = JANUARY + number * 20 * DAY;
    let values = [1.0, 2.0, 3.0 + number as f64];
    let mut run = Run {
        id: run_id_of(started_at, "failpoints"),
        started_at,
        env_id: environment().id(),
        ..Run::default()
    };
    let summary = summary(&values, 1);
    run.results.push(ResultRow {
        suite: "failpoints".into(),
        bench_id: "failpoints/a".into(),
        metric: "wall_ns".into(),
        unit: "ns".into(),
        direction: -1,
        iters_total: 3,
        value: summary.median,
        summary,
        started_at,
        ..ResultRow::default()
    });
    run.samples.push(SampleRow {
        bench_id: "failpoints/a".into(),
        metric: "wall_ns".into(),
        iters: vec![1; 3],
        values: values.to_vec(),
        ..SampleRow::default()
    });
    run.scrapes.push(ScrapeRow { at: started_at, signal: "memory_used_ratio".into(), value: 0.5 });
    run
}

/// Runs of three months, a verdict on the first, and a compaction of the months that are over.
fn history(folder: &Path) -> Result<(), EngineError> {
    let fail = store_errors::history;
    let history = History::open(folder).map_err(fail)?;
    for number in 0..4 {
        let run = run(number);
        history.write(&run, &environment()).map_err(fail)?;
        println!("ack {}", run.id);
    }
    let verdict = VerdictRow {
        gate_id: "gate".into(),
        run_id: run(0).id,
        purpose: "gate".into(),
        verdict: "pass".into(),
        decided_at: JANUARY,
        ..VerdictRow::default()
    };
    if history.live_files(promptc_engine::store::history::Table::Verdicts).map_err(fail)?.is_empty() {
        history.append_verdicts(&[verdict]).map_err(fail)?;
    }
    history.compact(MARCH).map_err(fail)?;
    Ok(())
}

fn runs_are_there<'a>(folder: &Path, acks: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut acks = acks.peekable();
    if acks.peek().is_none() {
        return Ok(());
    }
    let history = History::open_existing(folder).map_err(|error| error.to_string())?;
    let runs = history.runs().map_err(|error| error.to_string())?;
    for id in acks {
        if !runs.iter().any(|run| run.id == id) {
            let at = run_id_time(id).map(|us| UNIX_EPOCH + Duration::from_micros(us as u64));
            return Err(format!("run {id} of {at:?} was acknowledged and is not there"));
        }
    }
    Ok(())
}

/// Rows of each table as SQL sees them.
fn counts(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let history = History::open_existing(folder).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let session = history_session(&[history], "", None).unwrap();
        let mut found = BTreeMap::new();
        for table in ["results", "samples", "scrapes", "verdicts", "env"] {
            let text = format!("SELECT count(*) FROM {table}");
            let batches = session.sql(&text).await.unwrap().collect().await.unwrap();
            let count = batches[0].column(0).as_primitive::<Int64Type>().value(0);
            found.insert(table.to_owned(), count.to_string().into_bytes());
        }
        found
    })
}
