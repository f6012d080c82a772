//! `promptc doctor`.

use std::path::PathBuf;

use clap::Args;
use promptc_engine::store::doctor;
use promptc_engine::store::history::History;

use super::history::Place;
use super::{Common, Outcome};
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct DoctorArgs {
    /// Folder of the programs whose data is checked
    #[arg(default_value = ".")]
    folder: PathBuf,
}

pub(super) fn doctor(args: &DoctorArgs, common: &Common) -> Outcome {
    let is_history_whole = system_and_history(args, common);
    let exit = data(args, common)?;
    Ok(if exit == Exit::Ok && !is_history_whole { Exit::Failed } else { exit })
}

/// What this binary and this machine are, and whether the benchmark history can be read.
fn system_and_history(args: &DoctorArgs, common: &Common) -> bool {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!("promptc      {}", env!("CARGO_PKG_VERSION"));
    println!("system       {} {}", std::env::consts::OS, std::env::consts::ARCH);
    println!("threads      {threads}");
    println!("embedder     hashed_ngram (kinds static, bert, model: not in this build)");
    println!("tokenizer    word_punct (file tokenizers: not in this build)");
    let dir = Place::usual().dir(&args.folder, common);
    println!("history      {}", dir.display());
    if !dir.join("results").is_dir() {
        println!("             not there yet; `promptc bench` makes it");
        return true;
    }
    let looked = History::open_existing(&dir).and_then(|history| Ok((history.runs()?, history.orphans()?)));
    match looked {
        Ok((runs, orphans)) => {
            println!("             {} runs", runs.len());
            for orphan in &orphans {
                println!("Warning {}: {}", orphan.path.display(), orphan.reason);
            }
            if !orphans.is_empty() {
                println!("  = help: `promptc history compact` removes them; no finished run loses anything");
            }
            true
        }
        Err(error) => {
            println!("Error[{}] {error}", error.code());
            println!("  = help: {}", error.help());
            false
        }
    }
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
