//! Runs of a program that has every kind of output and three indexes, on no store, on one of an earlier run, and on one
//! that has to be repaired; and the removal of what no build stands on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Schema};
use promptc_engine::store::sources::{BadRows, SourceSpec, read, resolve};

use super::place::{Scenario, files_below};
use super::{finish, promptc, said};

const PROGRAM: &str = r#"
edition 2026
source docs : stream<{ id: text, lang: text, text: text }> = jsonl("docs.jsonl") { key = id }
embedder e { kind = hashed_ngram, dim = 16, seed = 7 }
pipeline p {
  docs |> embed(text, with = e) as vec -> rows
  docs |> select(id, lang, size = len(text)) -> flat
  write docs to jsonl("out/docs.jsonl", key = id)
  write flat to csv("out/docs.csv", key = [lang, id])
  write docs to parquet("out/docs.parquet", key = id)
  write docs to parquet("out/parts", key = id, partition = lang)
  write rows to lance("out/rows.lance", key = id)
  write docs to files("out/texts", name = concat(lang, "/", id, ".md"), body = text)
}
index words on p.rows(text) { kind = bm25 }
index near on p.rows(vec) { kind = flat }
index cells on p.rows(vec) { kind = ivf_flat, lists = 1, probes = 1, seed = 1 }
pipeline ask {
  docs |> retrieve(text, from = [words, near, cells], k = 3) as hits -> found
  write found to jsonl("out/found.jsonl", key = id)
}
"#;

/// Enough for one list to be trained.
const DOCUMENTS: u64 = 48;

/// In which state the run meets its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// There is none.
    First,
    /// One of an earlier run, with other sources.
    Next,
    /// As `Next`, and the streams of the last build and the seal of one index are gone.
    Repair,
    /// Nothing is to be done but to remove what no build stands on.
    Collect,
}

impl Scenario for Run {
    fn name(&self) -> &'static str {
        match self {
            Self::First => "first run",
            Self::Next => "next run",
            Self::Repair => "repair",
            Self::Collect => "collect",
        }
    }

    fn prepare(&self, folder: &Path) {
        std::fs::write(folder.join("job.promptc"), PROGRAM).unwrap();
        write_documents(folder, false);
        if *self == Self::First {
            return;
        }
        let done = finish(run(folder)).unwrap();
        assert!(done.status.success(), "{}", said(&done));
        let store = folder.join(".promptc");
        if *self == Self::Collect {
            std::fs::write(store.join("flows/0f.parquet"), "nobody's").unwrap();
            std::fs::create_dir(store.join("text/nobodys")).unwrap();
            std::fs::write(store.join("text/nobodys/file"), "nobody's").unwrap();
            return;
        }
        write_documents(folder, true);
        if *self == Self::Repair {
            for file in files_below(&store.join("flows")) {
                std::fs::remove_file(file).unwrap();
            }
            let seals = files_below(&store.join("vectors"));
            let seal = seals.iter().find(|path| path.ends_with("promptc.seal")).unwrap();
            std::fs::remove_file(seal).unwrap();
        }
    }

    fn command(&self, folder: &Path) -> Command {
        match self {
            Self::Collect => {
                let mut command = promptc(folder);
                command.args(["gc", "--yes"]);
                command
            }
            _ => run(folder),
        }
    }

    fn results(&self, folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = self.replaced(folder);
        for file in files_below(&folder.join("out")) {
            if file.ends_with(".promptc-files") {
                found.insert(name_of(folder, &file), std::fs::read(&file).unwrap());
            }
        }
        found.insert("out/rows.lance".to_owned(), lance_rows(folder).into_bytes());
        if *self == Self::Collect {
            for file in ["flows/0f.parquet", "text/nobodys"] {
                let is_there = folder.join(".promptc").join(file).exists();
                found.insert(file.to_owned(), is_there.to_string().into_bytes());
            }
        }
        found
    }

    /// All plain files of the outputs. A Lance dataset has random names inside: it is compared by its rows.
    fn replaced(&self, folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let is_plain = |name: &str| !name.contains(".lance/") && !name.contains("/.");
        files_below(&folder.join("out"))
            .iter()
            .map(|path| (name_of(folder, path), path))
            .filter(|(name, _)| is_plain(name))
            .map(|(name, path)| (name, std::fs::read(path).unwrap()))
            .collect()
    }

    fn acknowledged(&self, _folder: &Path, _output: &Output) -> Result<(), String> {
        Ok(())
    }

    fn damage(&self, folder: &Path) -> Result<(), String> {
        // By a process of its own: a store that is open here would be open in every process that starts meanwhile.
        let mut command = promptc(folder);
        command.args(["doctor", "."]);
        let output = finish(command).ok_or("the doctor hangs")?;
        if output.status.success() { Ok(()) } else { Err(said(&output)) }
    }

    fn is_whole_before(&self) -> bool {
        matches!(self, Self::Next | Self::Collect)
    }

    fn bears(&self, site: &str, action: &str) -> bool {
        is_told_as_damage(site, action)
    }
}

/// Lance panics over damaged files, so a panic beside it is told as damage, and the index is built again.
pub(super) fn is_told_as_damage(site: &str, action: &str) -> bool {
    // The seal of an index is a file that is written aside.
    let is_beside = ["vectors-", "aside-", "folder-"].iter().any(|part| site.starts_with(part));
    action == "panic" && is_beside
}

fn run(folder: &Path) -> Command {
    let mut command = promptc(folder);
    command.args(["run", "job.promptc", "--yes"]);
    command
}

fn name_of(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap().to_string_lossy().into_owned()
}

/// Some documents change, some go, with them the last of a language, some come.
fn write_documents(folder: &Path, is_later: bool) {
    let mut text = String::new();
    let numbers = if is_later { 2..DOCUMENTS + 2 } else { 0..DOCUMENTS };
    for number in numbers {
        let lang = if number == 1 { "la" } else { ["de", "en", "fr"][number as usize % 3] };
        let new = if is_later && number % 20 == 7 { " anew" } else { "" };
        let words = format!("word{} word{} and word{}{new}", number % 7, number % 11, number % 5);
        let line = format!("{{\"id\":\"d{number:03}\",\"lang\":\"{lang}\",\"text\":\"{words}\"}}");
        writeln!(text, "{line}").unwrap();
    }
    let file = folder.join("docs.jsonl");
    std::fs::write(&file, text).unwrap();
    // Long ago, so that its hash is remembered.
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + u64::from(is_later));
    std::fs::File::options().append(true).open(&file).unwrap().set_modified(then).unwrap();
}

/// Keys and texts of the Lance output.
fn lance_rows(folder: &Path) -> String {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let spec = SourceSpec {
        kind: "lance".to_owned(),
        base: folder.to_path_buf(),
        path: "out/rows.lance".to_owned(),
        part: None,
        delimiter: ',',
        header: true,
        columns: Arc::new(Schema::new(vec![text("id"), text("lang"), text("text")])),
        key: Vec::new(),
        bad_rows: BadRows::Error,
        max_bytes: 1 << 20,
        max_bad: 0.0,
        limit: None,
    };
    let files = resolve(&spec, None).unwrap();
    let mut rows = String::new();
    for batch in read(&spec, &files, 1_000) {
        let batch = batch.unwrap().batch;
        for row in 0..batch.num_rows() {
            for column in batch.columns() {
                write!(rows, "{}|", column.as_string::<i32>().value(row)).unwrap();
            }
            rows.push('\n');
        }
    }
    rows
}
