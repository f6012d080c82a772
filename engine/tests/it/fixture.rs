//! A folder with a program and its data, and ways to run it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use promptc_engine::compiler::plan::Rules;
use promptc_engine::context::{Cancel, Silent};
use promptc_engine::error::EngineError;
use promptc_engine::program::{Settings, load};
use promptc_engine::report::{NodeReport, RunReport};
use promptc_engine::run::{RunOptions, run};
use promptc_engine::store::open::{Store, StoreOptions};

/// A temporary folder; dropped with its content.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
    /// The program's file name.
    pub program: String,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Rules of the optimizer.
    pub rules: Rules,
    /// The store's folder name.
    pub store: String,
    /// Values of params.
    pub set: BTreeMap<String, String>,
}

impl Fixture {
    pub(crate) fn new(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Self {
            folder,
            program: "program.promptc".into(),
            batch_rows: 64,
            rules: Rules::All,
            store: ".promptc".into(),
            set: BTreeMap::new(),
        };
        fixture.write("program.promptc", program);
        fixture
    }

    /// The program of a small documents-and-questions job.
    pub(crate) fn documents() -> Self {
        let fixture = Self::new(DOCUMENTS);
        fixture.write(
            "docs/a.md",
            "# Cache\n\nThe cache holds 512 entries.\n\nOlder entries are evicted first.\n",
        );
        fixture.write("docs/b.md", "# Index\n\nThe index is rebuilt when the embedder changes.\n");
        fixture.write(
            "docs/sub/c.md",
            "# Cats\n\nCats sleep most of the day, and hunt at dusk in the garden.\n",
        );
        fixture.write(
            "asks.jsonl",
            "{\"qid\":\"q1\",\"question\":\"How many entries does the cache hold?\"}\n\
             {\"qid\":\"q2\",\"question\":\"When is the index rebuilt?\"}\n",
        );
        fixture
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.path().join(name)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub(crate) fn options(&self) -> RunOptions {
        RunOptions {
            targets: vec![],
            rules: self.rules,
            out: None,
            limit: None,
            batch_rows: self.batch_rows,
            memory_bytes: 64 << 20,
            home: None,
        }
    }

    pub(crate) fn run(&self) -> Result<RunReport, EngineError> {
        self.run_with(&self.options(), Cancel::default())
    }

    pub(crate) fn run_with(&self, options: &RunOptions, cancel: Cancel) -> Result<RunReport, EngineError> {
        let settings = Settings { set: self.set.clone(), ..Settings::default() };
        let program = load(&self.path().join(&self.program), &settings)?;
        let shown: Vec<_> = program.checked.diagnostics.iter().map(|found| &found.message).collect();
        assert!(!program.checked.has_errors(), "{shown:?}");
        let store_options = StoreOptions { cache_bytes: 1 << 30, read_only: false };
        let store = Store::open(&self.path().join(&self.store), &store_options).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(&program, Arc::new(store), options, Arc::new(Silent), cancel))
    }

    /// All output files with their content, sorted by name.
    pub(crate) fn outputs(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut open = vec![self.path().join("out")];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let content = std::fs::read(&path).unwrap();
                    found.push((path.strip_prefix(self.path()).unwrap().to_owned(), content));
                }
            }
        }
        found.sort();
        found
    }
}

/// The line of a stage.
pub(crate) fn stage<'a>(report: &'a RunReport, name: &str) -> &'a NodeReport {
    let found = report.nodes.iter().find(|node| node.name == name && node.is_stage);
    found.unwrap_or_else(|| panic!("no stage {name} in {:#?}", report.nodes))
}

/// The line of the first operator of a kind.
pub(crate) fn operator<'a>(report: &'a RunReport, op: &str) -> &'a NodeReport {
    let found = report.nodes.iter().find(|node| node.op == op && !node.is_stage);
    found.unwrap_or_else(|| panic!("no operator {op} in {:#?}", report.nodes))
}

pub(crate) const DOCUMENTS: &str = r##"
edition 2026
source pages : stream<{ path: text, text: text }> = markdown("docs/**/*.md") { key = path }
source asks  : stream<{ qid: text, question: text }> = jsonl("asks.jsonl") { key = qid }
embedder e64 { kind = hashed_ngram, dim = 64, seed = 7 }
pipeline corpus {
  pages
    |> compress(text, stages = [structural])
    |> dedup(text, unit = row)
    |> dedup(text, unit = block)
    -> docs
  docs |> chunk(text, by = heading, max = 64tok) |> embed(text, with = e64) as vec -> chunks
}
index words on corpus.chunks(text) { kind = bm25 }
index ann on corpus.chunks(vec) { kind = flat }
prompt answer(question: text, passages: list<text>) within 96tok {
  system (priority = 100) #"Answer only from the passages."#
  user (priority = 50, min = 16tok, shrink = compress(query = question, ratio = 1x..8x, unit = clause)) #"{% for p in passages %}{% if p %}- {{ p }}
{% endif %}{% endfor %}"#
  user (priority = 90, max = 32tok, shrink = keep_head) #"Question: {{ question }}"#
}
pipeline pack {
  asks
    |> retrieve(question, from = [words, ann], k = 3) as hits
    |> compress(hits.text, query = question, titles = hits.path, ratio = 2x, unit = clause, keep = [numbers]) as passages
    |> assemble(answer, question = question, passages = passages) as prompt
    -> prompts
  write prompts to jsonl("out/prompts.jsonl", key = qid)
}
"##;
