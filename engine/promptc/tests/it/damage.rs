//! Damage: one file of a whole directory is changed, and everything is read, run, examined and repaired.
//!
//! Allowed are an error with a code, a notice with a rebuild, and the same answers as before. Forbidden are a panic, a wait
//! without end, another answer, and a record that is gone without a word. After the repair, or with the good file put back
//! where only a copy helps, the outputs are byte for byte those of a directory that was never damaged.
//!
//! Short here; `PROMPTC_TEST_DAMAGE=5000 cargo test --workspace --locked --test it damage -- --nocapture` is the long form, and
//! `PROMPTC_TEST_SEED` the seed of its first case.

mod faults;
mod judge;
mod reference;

use std::collections::BTreeMap;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use promptc_engine::error::EngineError;
use promptc_engine::store::doctor as store_doctor;

use crate::job::Random;
use faults::{Fault, by_kind, damage};
use reference::{Reference, contents};

/// Cases without `PROMPTC_TEST_DAMAGE`: each kind of file twice.
const CASES: u64 = 44;
/// No step of a case takes a hundredth of this.
const HANG: Duration = Duration::from_secs(120);
/// One of so many cases asks the command, too.
const COMMAND_EVERY: u64 = 20;

/// How a case ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// An error with a code, and right answers after the repair or with a copy.
    Detected,
    /// The run made again what was damaged.
    Rebuilt,
    /// Right answers; the doctor named the damage.
    Named,
    /// Right answers at once.
    Harmless,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |count| count.parse().unwrap())
}

/// Does `work` on a thread of its own, so that neither a panic nor a wait without end goes unseen.
fn guarded<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (sender, receiver) = channel();
    let guarded = move || {
        let _ = sender.send(std::panic::catch_unwind(AssertUnwindSafe(work)));
    };
    std::thread::Builder::new().stack_size(64 << 20).spawn(guarded).unwrap();
    match receiver.recv_timeout(HANG) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(panic)) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("{what} panics: {}", said.unwrap_or_default()))
        }
        Err(RecvTimeoutError::Timeout) => Err(format!("{what} hangs")),
        Err(RecvTimeoutError::Disconnected) => Err(format!("{what} ends without an answer")),
    }
}

/// A failure must be named; our own fault is no name.
fn code_of(what: &str, error: &EngineError) -> Result<(), String> {
    match error.code() {
        "E2001" => Err(format!("{what}: {} {error}", error.code())),
        _ => Ok(()),
    }
}

/// Everything that is done with a damaged directory.
struct Case {
    reference: Arc<Reference>,
    file: PathBuf,
    has_question: bool,
    asks_command: bool,
}

impl Case {
    fn judge(&self) -> Result<Outcome, String> {
        let reference = self.reference.clone();
        let said = guarded("doctor", move || judge::doctor(&reference))?;
        if self.asks_command {
            self.command(&said)?;
        }
        let is_history_named = self.history(&said)?;
        let reference = self.reference.clone();
        let first = guarded("run", move || reference.run())?;
        let outcome = match first {
            Ok(report) => {
                self.check_records(&said)?;
                self.check_outputs()?;
                let work: u64 = report.nodes.iter().map(|node| node.computed + node.deleted).sum();
                let expected = self.reference.expected[usize::from(self.has_question)].computed;
                let is_noticed = report.warnings.iter().any(|(code, _)| code == "E1003");
                if is_noticed || work > expected {
                    Outcome::Rebuilt
                } else if is_history_named {
                    Outcome::Detected
                } else if said.is_empty() {
                    Outcome::Harmless
                } else {
                    Outcome::Named
                }
            }
            Err(error) => {
                code_of("run", &error)?;
                if said.is_empty() && !self.file.starts_with("out") {
                    return Err(format!("the doctor does not see what a run says: {error}"));
                }
                self.recover(&error)?;
                Outcome::Detected
            }
        };
        Ok(outcome)
    }

    /// Repairs, or puts the good file back, and runs again.
    fn recover(&self, error: &EngineError) -> Result<(), String> {
        let reference = self.reference.clone();
        let repaired = guarded("repair", move || store_doctor::repair(&reference.store_dir()))?;
        let repaired = repaired.map_err(|error| format!("repair: {error}"))?;
        if self.file.starts_with("out/chunks.lance") {
            fs::remove_dir_all(self.reference.place().join("out/chunks.lance")).unwrap();
        } else if repaired.is_empty() {
            // What a copy would bring back.
            self.reference.begin(self.has_question);
        }
        let reference = self.reference.clone();
        match guarded("run after the repair", move || reference.run())? {
            Ok(_) => {
                self.check_records(&[])?;
                self.check_outputs()
            }
            Err(second) => Err(format!("{second} after the repair {repaired:?} of {error}")),
        }
    }

    fn check_outputs(&self) -> Result<(), String> {
        let expected = &self.reference.expected[usize::from(self.has_question)];
        let found = judge::outputs(&self.reference);
        for (name, bytes) in &expected.outputs {
            if found.get(name) != Some(bytes) {
                return Err(format!("output {} is another", name.display()));
            }
        }
        if let Some(name) = found.keys().find(|name| !expected.outputs.contains_key(*name)) {
            return Err(format!("output {} is new", name.display()));
        }
        let reference = self.reference.clone();
        let dataset = guarded("reading the dataset", move || judge::dataset(&reference))?;
        (dataset.ok() == expected.dataset)
            .then_some(())
            .ok_or_else(|| "the dataset has other rows".to_owned())
    }

    fn check_records(&self, said: &[String]) -> Result<(), String> {
        let reference = self.reference.clone();
        let read = move || reference.open().and_then(|store| judge::records(store.records()));
        match guarded("records", read)? {
            Ok(found) if found == self.reference.expected[0].records => Ok(()),
            Ok(found) => {
                let expected = self.reference.expected[0].records.len();
                Err(format!("{} records of {expected}, or other ones, and no error", found.len()))
            }
            Err(error) if said.is_empty() => Err(format!("the doctor does not see: {error}")),
            Err(error) => code_of("records", &error),
        }
    }

    /// Reads the history; whether its damage was named.
    fn history(&self, said: &[String]) -> Result<bool, String> {
        let reference = self.reference.clone();
        match guarded("history", move || judge::history(&reference))? {
            Ok(found) if found == self.reference.expected[0].history => Ok(false),
            // A file that is gone cannot be read; what it belonged to tells of it.
            Ok(_) if !said.is_empty() && !self.reference.place().join(&self.file).exists() => Ok(true),
            Ok(_) => Err("the history has other rows, and no error".to_owned()),
            Err(error) if said.is_empty() => Err(format!("the doctor does not see: {error}")),
            Err(error) => code_of("history", &error).map(|()| true),
        }
    }

    /// The command says what the library says, and its exit code that something is damaged.
    fn command(&self, said: &[String]) -> Result<(), String> {
        let (code, shown) = ask_doctor(&self.reference, &[]);
        let is_damaged = shown.contains("Error[");
        let is_right = match code {
            Some(0) => !is_damaged,
            Some(3) => is_damaged && shown.contains("= lost: ") && shown.contains("= help: "),
            _ => false,
        };
        if !is_right || is_damaged && said.is_empty() {
            return Err(format!("`promptc doctor` ends with {code:?}: {shown}"));
        }
        Ok(())
    }
}

/// Exit code and output of the command.
fn ask_doctor(reference: &Reference, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promptc"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMPTC_")) {
        command.env_remove(name);
    }
    let output = command.args(["doctor", "."]).args(args).current_dir(reference.place()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One case of each kind in turn; the fault and the place in the file are the seed's.
fn run_case(
    reference: &Arc<Reference>,
    kinds: &BTreeMap<&'static str, Vec<PathBuf>>,
    seed: u64,
) -> Option<Done> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (kind, files) = kinds.iter().nth((seed % kinds.len() as u64) as usize)?;
    let file = files[random.below(files.len() as u64) as usize].clone();
    let fault = Fault::ALL[random.below(6) as usize];
    if is_left_out(kind, &file, fault) {
        return None;
    }
    let has_question = random.below(4) > 0;
    reference.begin(has_question);
    if !damage(reference, &file, fault, &mut random) {
        return None;
    }
    let asks_command = seed.is_multiple_of(COMMAND_EVERY);
    let case = Case { reference: reference.clone(), file: file.clone(), has_question, asks_command };
    Some(Done { kind, fault, file, result: case.judge() })
}

/// Samples may be pruned, and a batch of verdicts stands alone: nothing says that they were there.
fn is_left_out(kind: &str, file: &Path, fault: Fault) -> bool {
    let is_missed = |table: &str| !file.starts_with(Path::new(".promptc/history").join(table));
    kind == "history Parquet" && fault == Fault::Delete && !(is_missed("verdicts") && is_missed("samples"))
}

struct Done {
    kind: &'static str,
    fault: Fault,
    file: PathBuf,
    result: Result<Outcome, String>,
}

#[test]
fn no_damage_is_a_wrong_answer_a_silent_loss_or_a_panic() {
    let started = Instant::now();
    let reference = Arc::new(Reference::build());
    let before = contents(&reference.good());
    let kinds = by_kind(&reference.files);
    println!("kinds of files: {:?}, built in {:?}", kinds.keys(), started.elapsed());
    assert_eq!(kinds.len(), faults::KINDS, "the directory does not have every kind of file");
    let (cases, first) = (number("PROMPTC_TEST_DAMAGE", CASES), number("PROMPTC_TEST_SEED", 0));
    let mut counts: BTreeMap<(&str, Fault), BTreeMap<Outcome, u32>> = BTreeMap::new();
    let mut totals: BTreeMap<Outcome, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for seed in first..first + cases {
        let Some(done) = run_case(&reference, &kinds, seed) else { continue };
        match done.result {
            Ok(outcome) => {
                *counts.entry((done.kind, done.fault)).or_default().entry(outcome).or_default() += 1;
                *totals.entry(outcome).or_default() += 1;
            }
            Err(what) => {
                let line = format!("seed {seed}: {:?} of {}: {what}", done.fault, done.file.display());
                println!("WRONG {line}");
                wrong.push(line);
            }
        }
    }
    for ((kind, fault), outcomes) in &counts {
        println!("{kind:18} {fault:9?} {outcomes:?}");
    }
    println!("{totals:?}, {} wrong, {:?}", wrong.len(), started.elapsed());
    let lost = [("lost_count", "count", wrong.len() as f64)];
    crate::reliability_rows::record("damage/directory", &[("cases", cases), ("first_seed", first)], &lost);
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(contents(&reference.good()) == before, "a case wrote through a link");
}

#[test]
fn the_command_moves_aside_what_is_made_again_and_leaves_records_alone() {
    let reference = Reference::build();
    let mut random = Random(5);
    let kinds = by_kind(&reference.files);
    reference.begin(false);
    for kind in ["flow Parquet", "Tantivy segment", "Lance index"] {
        assert!(damage(&reference, &kinds[kind][0], Fault::Flip, &mut random));
    }
    let (code, shown) = ask_doctor(&reference, &[]);
    assert_eq!((code, shown.matches("Error[E1003]").count()), (Some(3), 3), "{shown}");
    let before = reference::list(&reference.store_dir()).len();
    let (code, shown) = ask_doctor(&reference, &["--repair"]);
    assert_eq!((code, shown.matches("Repaired ").count()), (Some(0), 3), "{shown}");
    let flow = reference
        .store_dir()
        .join("quarantine/1")
        .join(kinds["flow Parquet"][0].strip_prefix(".promptc").unwrap());
    assert!(flow.is_file(), "{shown}");
    assert_eq!(reference::list(&reference.store_dir()).len(), before, "a repair deletes nothing");
    let report = reference.run().unwrap();
    assert!(!report.is_idle());
    assert!(judge::picture(&reference).outputs == reference.expected[0].outputs);
    assert_eq!(ask_doctor(&reference, &[]).0, Some(0));

    // The log of the database is cut off, and records were in it.
    reference.begin(false);
    let size = |log: &&PathBuf| fs::metadata(reference.place().join(log)).unwrap().len();
    let log = kinds["WAL"].iter().max_by_key(size).unwrap();
    assert!(damage(&reference, log, Fault::Truncate, &mut random));
    let before = contents(&reference.store_dir().join("kv"));
    for args in [&[][..], &["--repair"]] {
        let (code, shown) = ask_doctor(&reference, args);
        assert_eq!(code, Some(3), "{shown}");
        assert!(
            shown.contains("lost: records of applications (120 writes)") && shown.contains("from a copy"),
            "{shown}"
        );
    }
    assert!(contents(&reference.store_dir().join("kv")) == before);
}

/// The control: what no checksum can notice, since it was written with right ones, must be a wrong answer to the judge.
#[test]
fn forged_files_are_wrong_answers() {
    let reference = Arc::new(Reference::build());
    let judged = |forge: &dyn Fn(&Reference)| {
        reference.begin(true);
        forge(&reference);
        let file = PathBuf::from(".promptc");
        Case { reference: reference.clone(), file, has_question: true, asks_command: false }.judge()
    };
    assert!(judged(&|_| {}).is_ok());
    let record = judged(&|reference| {
        let store = reference.store();
        store.records().put(b"key 00003", b"forged", promptc_engine::store::kv::Durability::Wal).unwrap();
    });
    assert!(record.as_ref().is_err_and(|what| what.contains("records")), "{record:?}");
    let history = judged(&|reference| {
        let history = promptc_engine::store::history::History::open(&reference.history()).unwrap();
        history.mark("01KD0000000000000000000000", false, "forged").unwrap();
    });
    assert!(history.as_ref().is_err_and(|what| what.contains("history")), "{history:?}");
    let flow = judged(&forge_flow);
    assert!(flow.as_ref().is_err_and(|what| what.contains("output")), "{flow:?}");
}

/// Writes other texts into the flow of the chunks, under its name and with the same rows.
fn forge_flow(reference: &Reference) {
    use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
    use promptc_engine::store::flows::{Flow, FlowWriter};
    let dir = reference.store_dir().join("flows");
    for path in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
        let flow = Flow::open(&path).unwrap();
        if flow.schema().column_with_name("chunk").is_none() {
            continue;
        }
        let names: Vec<String> = flow.schema().fields().iter().map(|field| field.name().clone()).collect();
        let batch = flow.load(&names).unwrap();
        let mut columns = batch.columns().to_vec();
        let (at, _) = batch.schema().column_with_name("text").unwrap();
        let forged =
            columns[at].as_string::<i32>().iter().map(|text| text.map(|text| format!("forged {text}")));
        columns[at] = Arc::new(forged.collect::<StringArray>()) as ArrayRef;
        let batch = RecordBatch::try_new(flow.schema().clone(), columns).unwrap();
        let fp = path.file_stem().unwrap().to_str().unwrap();
        let ids = flow.ids().unwrap();
        fs::remove_file(&path).unwrap();
        let (tmp, key) = (reference.store_dir().join("tmp"), ["path".to_owned(), "chunk".to_owned()]);
        let mut writer = FlowWriter::create(&tmp, &dir, fp, batch.schema(), &key).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        assert_eq!(Flow::open(&path).unwrap().ids().unwrap(), ids);
    }
}
