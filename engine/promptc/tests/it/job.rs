//! A small job over generated pages, for tests that disturb it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const DOCUMENTS: u64 = 150;

const PROGRAM: &str = r##"
edition 2026
source pages : stream<{ path: text, text: text }> = markdown("docs/*.md") { key = path }
source asks  : stream<{ qid: text, question: text }> = jsonl("asks.jsonl") { key = qid }
embedder e256 { kind = hashed_ngram, dim = 256, seed = 7, weight = idf, fit = corpus.docs.text }
pipeline corpus {
  pages |> compress(text, stages = [structural]) |> dedup(text, unit = block, jaccard = 0.8) -> docs
  docs |> chunk(text, by = heading, max = 64tok) |> embed(text, with = e256) as vec -> chunks
  write chunks to lance("out/chunks.lance")
  write docs to parquet("out/docs.parquet")
}
index words on corpus.chunks(text) { kind = bm25 }
index ann on corpus.chunks(vec) { kind = flat }
prompt answer(question: text, passages: list<text>) within 256tok {
  user (priority = 50, min = 16tok, shrink = compress(query = question, ratio = 1x..8x, unit = clause)) #"{% for p in passages %}{% if p %}- {{ p }}
{% endif %}{% endfor %}"#
  user (priority = 90, max = 32tok, shrink = keep_head) #"Question: {{ question }}"#
}
pipeline pack {
  asks
    |> retrieve(question, from = [words, ann], k = 5) as hits
    |> compress(hits.text, query = question, ratio = 2x, unit = clause) as passages
    |> assemble(answer, question = question, passages = passages) as prompt
    -> prompts
  write prompts to jsonl("out/prompts.jsonl", key = qid)
}
"##;

/// splitmix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ value >> 31) % bound
    }

    fn sentence(&mut self) -> String {
        let word = |random: &mut Self| format!("w{}", random.below(800));
        let words: Vec<String> = (0..12).map(|_| word(self)).collect();
        format!("The {}.", words.join(" "))
    }

    fn page(&mut self) -> String {
        let sections = 2 + self.below(6);
        (0..sections)
            .map(|number| format!("## Part {number}\n\n{} {}\n\n", self.sentence(), self.sentence()))
            .collect()
    }
}

/// A folder with the program and its data, which changes from cycle to cycle.
pub(crate) struct Job {
    folder: PathBuf,
    /// The folder goes away with the job, if it is the job's own.
    _guard: Option<tempfile::TempDir>,
    pub(crate) random: Random,
    asks: Vec<String>,
}

impl Job {
    /// In a temporary folder.
    pub(crate) fn new() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let job = Self::inside(guard.path());
        Self { _guard: Some(guard), ..job }
    }

    /// In a folder that is there and empty.
    pub(crate) fn inside(folder: &Path) -> Self {
        std::fs::create_dir(folder.join("docs")).unwrap();
        std::fs::write(folder.join("job.promptc"), PROGRAM).unwrap();
        let mut job = Self { folder: folder.to_owned(), _guard: None, random: Random(11), asks: Vec::new() };
        for number in 0..DOCUMENTS {
            job.write_page(number);
        }
        job.change();
        job
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn write_page(&mut self, number: u64) {
        let page = self.random.page();
        std::fs::write(self.folder.join(format!("docs/{number:04}.md")), page).unwrap();
    }

    /// A new question, so that the outputs must change; some pages new, some gone, some others.
    pub(crate) fn change(&mut self) {
        let question = self.random.sentence();
        let qid = self.asks.len();
        self.asks.push(format!("{{\"qid\":\"q{qid:04}\",\"question\":\"{question}\"}}\n"));
        std::fs::write(self.folder.join("asks.jsonl"), self.asks.concat()).unwrap();
        for _ in 0..self.random.below(4) {
            let number = self.random.below(DOCUMENTS + 20);
            self.write_page(number);
            let gone = self.random.below(DOCUMENTS + 20);
            let _ = std::fs::remove_file(self.folder.join(format!("docs/{gone:04}.md")));
        }
    }

    pub(crate) fn start(&self, store: &Path, out: Option<&Path>) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_promptc"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMPTC_")) {
            command.env_remove(name);
        }
        command.args(["run", "job.promptc", "--yes", "--data-dir"]).arg(store);
        if let Some(out) = out {
            command.arg("--out").arg(out);
        }
        command.current_dir(&self.folder).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    pub(crate) fn finish(&self, store: &Path, out: Option<&Path>) {
        let output = self.start(store, out).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn outputs(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        plain_files(&self.folder)
    }

    /// The outputs of a run in a store that never saw anything else.
    pub(crate) fn undisturbed(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let other = tempfile::tempdir().unwrap();
        self.finish(&other.path().join("store"), Some(other.path()));
        plain_files(other.path())
    }
}

/// The outputs that are compared byte by byte. A Lance dataset has random names inside: it is compared by its rows elsewhere.
pub(crate) fn plain_files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    ["out/prompts.jsonl", "out/docs.parquet"]
        .iter()
        .filter_map(|name| Some((PathBuf::from(name), std::fs::read(folder.join(name)).ok()?)))
        .collect()
}
