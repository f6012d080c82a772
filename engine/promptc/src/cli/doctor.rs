//! `promptc doctor`.

use std::path::PathBuf;

use clap::Args;
use promptc_engine::encoder::{AUC_LEAST, Encoder};
use promptc_engine::store::doctor;
use promptc_engine::store::documents::Derived;
use promptc_engine::store::history::{History, HistoryError};
use promptc_engine::store_errors;

use super::history::Place;
use super::{Common, Outcome};
use crate::exit::Exit;

mod rebuild;

#[derive(Args)]
pub(super) struct DoctorArgs {
    /// Folder of the programs whose data is checked
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Move aside what is damaged and can be computed again, into `quarantine` in the data directory; nothing is deleted
    #[arg(long)]
    repair: bool,
    /// Build the indexes of documents anew from the log: `text` or `vectors`
    #[arg(long, value_name = "INDEX", conflicts_with = "repair", value_parser = parse_derived)]
    rebuild: Option<Derived>,
    #[command(flatten)]
    place: Place,
}

fn parse_derived(text: &str) -> Result<Derived, String> {
    Derived::parse(text).ok_or_else(|| "expected `text` or `vectors`".to_owned())
}

pub(super) fn doctor(args: &DoctorArgs, common: &Common) -> Outcome {
    let is_history_whole = system_and_history(args, common);
    let exit = match args.rebuild {
        Some(derived) => rebuild::rebuild(&args.folder, derived, common)?,
        None if args.repair => repaired(args, common)?,
        None => data(args, common)?,
    };
    Ok(if exit == Exit::Ok && !is_history_whole { Exit::Failed } else { exit })
}

/// What this binary and this machine are, and whether the benchmark history can be read.
fn system_and_history(args: &DoctorArgs, common: &Common) -> bool {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!("promptc      {}", env!("CARGO_PKG_VERSION"));
    println!("system       {} {}", std::env::consts::OS, std::env::consts::ARCH);
    println!("threads      {threads}");
    println!("embedder     hashed_ngram, static, bert (kind model: not in this build)");
    Encoder::SHIPPED.into_iter().for_each(shipped);
    println!("tokenizer    word_punct (file tokenizers: not in this build)");
    let dir = args.place.dir(&args.folder, common);
    println!("history      {}", dir.display());
    if !dir.join("results").is_dir() {
        println!("             not there yet; `promptc bench` makes it");
        return true;
    }
    match History::open_existing(&dir).and_then(|history| look_into(&history)) {
        Ok(is_whole) => is_whole,
        Err(error) => {
            println!("Error[{}] {error}", error.code());
            println!("  = help: {}", error.help());
            false
        }
    }
}

/// Whether a model that comes with promptc tells paraphrases from unrelated texts.
fn shipped(kind: &str) {
    let tested = Encoder::shipped(kind).and_then(|model| Ok((model.describe(""), model.discrimination()?)));
    match tested {
        Ok((name, area)) => {
            let verdict = if area >= AUC_LEAST { "works" } else { "does not work" };
            println!("             {name}: {verdict}, AUC {area:.3} of paraphrases against unrelated texts");
        }
        Err(error) => println!("Error[{}] shipped model of kind {kind}: {error}", error.code()),
    }
}

/// Prints what is wrong with a history; whether nothing is.
fn look_into(history: &History) -> Result<bool, HistoryError> {
    let damaged = history.damaged()?;
    for file in &damaged {
        println!("Error[{}] {}", file.error.code(), file.error);
        println!("  = lost: {}", file.lost);
        println!("  = help: {}", file.error.help());
    }
    if !damaged.is_empty() {
        return Ok(false);
    }
    println!("             {} runs", history.runs()?.len());
    let orphans = history.orphans()?;
    for orphan in &orphans {
        println!("Warning {}: {}", orphan.path.display(), orphan.reason);
    }
    if !orphans.is_empty() {
        println!(
            "  = help: where a run was not finished, `promptc history compact` removes them and nothing is lost"
        );
        println!("  = help: where it was, its file of results is missing: restore it from a copy");
    }
    Ok(true)
}

fn data(args: &DoctorArgs, common: &Common) -> Outcome {
    let dir = common.data_dir(&args.folder);
    println!("data         {}", dir.display());
    if !dir.exists() {
        println!("             not there yet; the first run makes it");
        return Ok(Exit::Ok);
    }
    let findings = doctor::check(&dir);
    for finding in &findings {
        let code = finding.code.map_or_else(String::new, |code| format!("[{code}]"));
        println!("{:?}{code} {}: {}", finding.severity, finding.subject, finding.message);
        if !finding.lost.is_empty() {
            println!("  = lost: {}", finding.lost);
        }
        if !finding.help.is_empty() {
            println!("  = help: {}", finding.help);
        }
    }
    if findings.iter().any(|finding| finding.code == Some("E1001")) {
        println!("             in use by another process, not examined");
        return Ok(Exit::Ok);
    }
    let is_whole = findings.iter().all(|finding| finding.severity != doctor::Severity::Error);
    println!("             {}", if is_whole { "whole" } else { "damaged; see above" });
    Ok(if is_whole { Exit::Ok } else { Exit::Failed })
}

/// Repairs the data directory and says what was done, then what is left to do.
fn repaired(args: &DoctorArgs, common: &Common) -> Outcome {
    let dir = common.data_dir(&args.folder);
    println!("data         {}", dir.display());
    if !dir.exists() {
        println!("             not there yet; the first run makes it");
        return Ok(Exit::Ok);
    }
    let repaired = doctor::repair(&dir).map_err(store_errors::open)?;
    for step in &repaired {
        println!("Repaired {}: {}", step.subject, step.done);
    }
    if !repaired.is_empty() {
        println!(
            "  = help: run the programs again; what was moved aside may be removed when nothing is missed"
        );
    }
    // What the next run makes is missing until then, and nothing more can be done about it here.
    let left: Vec<_> = doctor::check(&dir)
        .into_iter()
        .filter(|finding| finding.severity == doctor::Severity::Error && !finding.is_made_again())
        .collect();
    for finding in &left {
        println!("Error[{}] {}: {}", finding.code.unwrap_or("E1003"), finding.subject, finding.message);
        println!("  = lost: {}", finding.lost);
        println!("  = help: {}", finding.help);
    }
    println!(
        "             {}",
        if left.is_empty() { "nothing is left to repair in it" } else { "not all can be repaired" }
    );
    Ok(if left.is_empty() { Exit::Ok } else { Exit::Failed })
}
