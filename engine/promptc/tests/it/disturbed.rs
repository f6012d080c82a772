//! Runs that are killed or interrupted at random moments: the next run ends as if nothing had happened.
//!
//! Short here; `PROMPTC_TEST_KILLS=200 cargo test --workspace --locked --test it disturbed` is the long form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Cycles without `PROMPTC_TEST_KILLS`.
const CYCLES: u64 = 5;
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
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
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
struct Job {
    folder: tempfile::TempDir,
    random: Random,
    asks: Vec<String>,
}

impl Job {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("docs")).unwrap();
        std::fs::write(folder.path().join("job.promptc"), PROGRAM).unwrap();
        let mut job = Self { folder, random: Random(11), asks: Vec::new() };
        for number in 0..DOCUMENTS {
            job.write_page(number);
        }
        job.change();
        job
    }

    fn write_page(&mut self, number: u64) {
        let page = self.random.page();
        std::fs::write(self.folder.path().join(format!("docs/{number:04}.md")), page).unwrap();
    }

    /// A new question, so that the outputs must change; some pages new, some gone, some others.
    fn change(&mut self) {
        let question = self.random.sentence();
        let qid = self.asks.len();
        self.asks.push(format!("{{\"qid\":\"q{qid:04}\",\"question\":\"{question}\"}}\n"));
        std::fs::write(self.folder.path().join("asks.jsonl"), self.asks.concat()).unwrap();
        for _ in 0..self.random.below(4) {
            let number = self.random.below(DOCUMENTS + 20);
            self.write_page(number);
            let gone = self.random.below(DOCUMENTS + 20);
            let _ = std::fs::remove_file(self.folder.path().join(format!("docs/{gone:04}.md")));
        }
    }

    fn start(&self, store: &Path, out: Option<&Path>) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_promptc"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMPTC_")) {
            command.env_remove(name);
        }
        command.args(["run", "job.promptc", "--yes", "--data-dir"]).arg(store);
        if let Some(out) = out {
            command.arg("--out").arg(out);
        }
        command.current_dir(self.folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn finish(&self, store: &Path, out: Option<&Path>) {
        let output = self.start(store, out).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn outputs(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        plain_files(self.folder.path())
    }

    /// The outputs of a run in a store that never saw anything else.
    fn undisturbed(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let other = tempfile::tempdir().unwrap();
        self.finish(&other.path().join("store"), Some(other.path()));
        plain_files(other.path())
    }
}

/// The outputs that are compared byte by byte. A Lance dataset has random names inside: it is compared by its rows elsewhere.
fn plain_files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    ["out/prompts.jsonl", "out/docs.parquet"]
        .iter()
        .filter_map(|name| Some((PathBuf::from(name), std::fs::read(folder.join(name)).ok()?)))
        .collect()
}

/// Hidden files of writers under a folder.
fn temporaries(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().contains(".tmp-") {
                found.push(path);
            } else if path.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

fn cycles() -> u64 {
    std::env::var("PROMPTC_TEST_KILLS").ok().map_or(CYCLES, |count| count.parse().unwrap())
}

#[test]
fn after_a_kill_the_next_run_ends_as_an_undisturbed_one() {
    let mut job = Job::new();
    let store = job.folder.path().join(".promptc");
    job.finish(&store, None);
    let (mut cut_short, mut cycle) = (0, 0);
    while cycle < cycles() || cut_short == 0 && cycle < 10 * cycles() {
        job.change();
        let is_first_run = cycle % 2 == 1;
        if is_first_run {
            std::fs::remove_dir_all(&store).unwrap();
        }
        let started = Instant::now();
        let expected = job.undisturbed();
        // A run that only computes what changed takes a part of that.
        let usual = started.elapsed() / if is_first_run { 1 } else { 4 };
        let mut child = job.start(&store, None);
        let micros = u64::try_from(usual.as_micros()).unwrap();
        std::thread::sleep(Duration::from_micros(job.random.below(micros)));
        child.kill().unwrap();
        child.wait().unwrap();
        let left = job.outputs();
        cut_short += u64::from(left != expected);
        for (name, bytes) in &left {
            assert!(!bytes.is_empty(), "{} is half written", name.display());
        }
        job.finish(&store, None);
        assert_eq!(job.outputs(), expected, "cycle {cycle}");
        assert_eq!(temporaries(&job.folder.path().join("out")), Vec::<PathBuf>::new());
        cycle += 1;
    }
    println!("{cut_short} of {cycle} runs were killed before their end");
    assert!(cut_short > 0, "no kill came in time: the test has shown nothing");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_soon_leaves_no_temporary_file_and_costs_nothing() {
    let mut job = Job::new();
    let store = job.folder.path().join(".promptc");
    let started = Instant::now();
    job.finish(&store, None);
    let whole = started.elapsed();
    let (mut interrupted, mut slowest) = (0, Duration::ZERO);
    for cycle in 0..cycles() {
        job.change();
        let before = job.outputs();
        std::fs::remove_dir_all(&store).unwrap();
        let child = job.start(&store, None);
        // Not before the listener stands: what comes earlier is the shell's kind of end.
        let micros = u64::try_from(whole.as_micros()).unwrap();
        std::thread::sleep(Duration::from_millis(60) + Duration::from_micros(job.random.below(micros)));
        let asked = Instant::now();
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        if sent.success() && output.status.code() == Some(130) {
            interrupted += 1;
            slowest = slowest.max(asked.elapsed());
            assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
            assert_eq!(temporaries(job.folder.path()), Vec::<PathBuf>::new());
            if output.stdout.is_empty() && job.outputs() != before {
                // Outputs are replaced one by one, each as a whole.
                let after = job.undisturbed();
                for (name, bytes) in job.outputs() {
                    assert!(before.get(&name) == Some(&bytes) || after.get(&name) == Some(&bytes));
                }
            }
        }
        job.finish(&store, None);
        assert_eq!(job.outputs(), job.undisturbed(), "cycle {cycle}");
    }
    println!("{interrupted} of {} runs interrupted, the slowest after {slowest:?}", cycles());
}
