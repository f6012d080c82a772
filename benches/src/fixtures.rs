//! Inputs of the benches: a corpus of Markdown pages and a program text, the same bytes on every machine.

pub mod vectors;

use std::fmt::Write;
use std::path::PathBuf;

use crate::place;

/// A page of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What it is about: words for a question.
    pub title: String,
    /// Markdown.
    pub text: String,
}

/// Words of running text, the frequent ones first.
const WORDS: [&str; 96] = [
    "the",
    "of",
    "a",
    "to",
    "is",
    "and",
    "in",
    "that",
    "for",
    "with",
    "this",
    "value",
    "can",
    "be",
    "type",
    "which",
    "function",
    "as",
    "on",
    "by",
    "it",
    "are",
    "when",
    "from",
    "or",
    "not",
    "an",
    "crate",
    "file",
    "has",
    "if",
    "method",
    "at",
    "use",
    "will",
    "all",
    "into",
    "default",
    "trait",
    "returns",
    "error",
    "each",
    "one",
    "field",
    "called",
    "because",
    "module",
    "string",
    "thread",
    "does",
    "option",
    "memory",
    "pattern",
    "before",
    "package",
    "reference",
    "example",
    "compiler",
    "version",
    "iterator",
    "must",
    "build",
    "after",
    "closure",
    "implementation",
    "argument",
    "feature",
    "pointer",
    "while",
    "manifest",
    "directory",
    "registry",
    "lifetime",
    "workspace",
    "dependency",
    "parameter",
    "variable",
    "expression",
    "statement",
    "structure",
    "allocation",
    "borrowed",
    "generated",
    "configuration",
    "environment",
    "published",
    "semantics",
    "alignment",
    "profile",
    "target",
    "documentation",
    "asynchronous",
    "serialization",
    "synchronization",
    "specialization",
    "interoperability",
];

/// Numbers from a seed by SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A word; the product of two draws makes the first ones frequent.
    fn word(&mut self) -> &'static str {
        let len = WORDS.len() as u64;
        WORDS[(self.below(len) * self.below(len) / len) as usize]
    }

    /// A rare word: an identifier or a number.
    fn rare(&mut self) -> String {
        match self.below(3) {
            0 => format!("`{}_{}`", self.word(), self.word()),
            1 => format!("{}{}", self.word(), self.below(100)),
            _ => self.below(10_000).to_string(),
        }
    }
}

/// Generated Markdown pages of together at least `bytes` bytes: headings, paragraphs, lists, tables, fenced code, links,
/// comments, and one block in twelve that stood on an earlier page. The same for the same arguments.
#[must_use]
pub fn generated_pages(bytes: usize, seed: u64) -> Vec<Page> {
    let mut random = Random(seed);
    let mut pages = Vec::new();
    let mut boilerplate: Vec<String> = Vec::new();
    let mut written = 0;
    while written < bytes {
        let title = (0..3).map(|_| random.word()).collect::<Vec<_>>().join(" ");
        let mut text = format!("# {title}\n\n");
        for _ in 0..8 + random.below(24) {
            let block = match boilerplate.len() {
                1.. if random.below(12) == 0 => {
                    boilerplate[random.below(boilerplate.len() as u64) as usize].clone()
                }
                _ => block(&mut random),
            };
            if boilerplate.len() < 64 {
                boilerplate.push(block.clone());
            }
            text.push_str(&block);
            text.push_str("\n\n");
        }
        written += text.len();
        pages.push(Page { title, text });
    }
    pages
}

/// Generated running text, as pages of together at least `bytes` bytes. The same for the same arguments.
#[must_use]
pub fn natural_pages(bytes: usize, seed: u64) -> Vec<Page> {
    filled(bytes, seed, |random| {
        let sentences = (0..40 + random.below(40)).map(|_| sentence(random));
        sentences.collect::<Vec<_>>().join(" ")
    })
}

/// Generated program text, as pages of together at least `bytes` bytes. The same for the same arguments.
#[must_use]
pub fn code_pages(bytes: usize, seed: u64) -> Vec<Page> {
    filled(bytes, seed, |random| {
        let functions = (0..12 + random.below(12)).map(|_| function(random));
        functions.collect::<Vec<_>>().join("\n\n")
    })
}

/// Generated texts of about this many bytes each: whole sentences, the last one cut. The same for the same arguments.
#[must_use]
pub fn texts(count: usize, bytes: usize, seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let mut text = || {
        let mut text = sentence(&mut random);
        while text.len() < bytes {
            text = text + " " + &sentence(&mut random);
        }
        text.truncate(bytes);
        text
    };
    (0..count).map(|_| text()).collect()
}

fn filled(bytes: usize, seed: u64, body: impl Fn(&mut Random) -> String) -> Vec<Page> {
    let mut random = Random(seed);
    let mut pages = Vec::new();
    let mut written = 0;
    while written < bytes {
        let title = (0..3).map(|_| random.word()).collect::<Vec<_>>().join(" ");
        let text = body(&mut random);
        written += text.len();
        pages.push(Page { title, text });
    }
    pages
}

fn block(random: &mut Random) -> String {
    match random.below(16) {
        0 | 1 => format!("## {} {}", random.word(), random.word()),
        2 => {
            (0..3 + random.below(5)).map(|_| format!("- {}", sentence(random))).collect::<Vec<_>>().join("\n")
        }
        3 => code(random),
        4 => table(random),
        5 => format!("<!-- {} -->", random.word()),
        6 => format!("See [{} {}](https://example.org/{}).", random.word(), random.word(), random.rare()),
        _ => (0..2 + random.below(5)).map(|_| sentence(random)).collect::<Vec<_>>().join(" "),
    }
}

fn sentence(random: &mut Random) -> String {
    let mut text = String::new();
    for idx in 0..8 + random.below(18) {
        let word = if random.below(10) == 0 { random.rare() } else { random.word().to_owned() };
        match idx {
            0 => text.push_str(&(word[..1].to_uppercase() + &word[1..])),
            _ if random.below(9) == 0 => text.extend([", ", &word]),
            _ => text.extend([" ", &word]),
        }
    }
    text + "."
}

fn code(random: &mut Random) -> String {
    format!("```rust\nfn main() {{\n{}\n}}\n```", statements(random))
}

fn statements(random: &mut Random) -> String {
    let lines = (0..3 + random.below(9)).map(|_| {
        format!("    let {}_{} = {}({});", random.word(), random.word(), random.word(), random.below(1000))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn function(random: &mut Random) -> String {
    let (name, argument) = (random.word(), random.word());
    let comment = sentence(random);
    format!("/// {comment}\nfn {name}_{argument}({argument}: u64) -> u64 {{\n{}\n}}", statements(random))
}

fn table(random: &mut Random) -> String {
    let rows = (0..2 + random.below(6)).map(|_| format!("| {} | {} |", random.rare(), sentence(random)));
    format!("| name | meaning |\n|---|---|\n{}", rows.collect::<Vec<_>>().join("\n"))
}

/// Pages of the documentation in the optional folder `../shared/data/docs` beside the project, up to `bytes` bytes in the
/// order of the files; `None` without the folder or if a file there is not as expected.
#[must_use]
pub fn documentation_pages(bytes: usize) -> Option<Vec<Page>> {
    let folder = place::root().join("../shared/data/docs");
    let mut pages = Vec::new();
    let mut read = 0;
    for name in ["rust-book.jsonl", "rust-reference.jsonl", "cargo-docs.jsonl"] {
        for line in std::fs::read_to_string(folder.join(name)).ok()?.lines() {
            let row: serde_json::Value = serde_json::from_str(line).ok()?;
            let text = row["text"].as_str()?.to_owned();
            if text.is_empty() || read + text.len() > bytes {
                continue;
            }
            read += text.len();
            let stem = row["path"].as_str()?.rsplit('/').next()?.trim_end_matches(".md");
            pages.push(Page { title: stem.replace(['-', '_'], " "), text });
        }
    }
    Some(pages)
}

/// File of texts that a bench takes instead of its own: a JSON string a line.
pub const TEXTS_VARIABLE: &str = "PROMPTC_TEXTS";

/// The texts of the file that [`TEXTS_VARIABLE`] names, and its path; `None` if the variable is not set.
///
/// # Panics
/// If the file cannot be read or a line is no JSON string: who gives texts wants these and no others.
#[must_use]
pub fn given_texts() -> Option<(PathBuf, Vec<String>)> {
    let path = PathBuf::from(std::env::var_os(TEXTS_VARIABLE).filter(|path| !path.is_empty())?);
    let lines = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = |(idx, line): (usize, &str)| match serde_json::from_str(line) {
        Ok(text) => text,
        Err(error) => panic!("{}, line {}: {error}", path.display(), idx + 1),
    };
    let texts = lines.lines().enumerate().map(text).collect();
    Some((path, texts))
}

/// What [`program`] begins with.
const PROGRAM_HEAD: &str = r##"//! Pages and questions to prompts, many times over.
edition 2026

param target : ratio = 4x { min = 1x, max = 16x }
param budget : tok   = 2048tok { min = 700tok, max = 16384tok }

type Page = { path: text, text: text, words: u32 }
type Ask  = { qid: text, question: text, crate: text }

source pages : stream<Page> = jsonl("pages.jsonl") { key = path }
source asks : stream<Ask> = jsonl("asks.jsonl") { key = qid }

tokenizer words { kind = word_punct }
embedder e256 { kind = hashed_ngram, dim = 256, ngrams = [3, 4, 5], seed = 7 }
"##;

/// One more corpus with its indexes, its prompt and its outputs: 42 lines.
const PROGRAM_PART: &str = r##"
// Part NN: its pages are cleaned, cut and indexed; each question becomes one prompt.
pipeline corpusNN {
  pages
    |> derive(crate = capture(path, #"^([^/]+)/"#), half = words / 2)
    |> filter(crate != null and words > NN and not contains(path, "license"))
    |> compress(text, stages = [structural])
    |> dedup(text, unit = row, jaccard = 0.8)
    -> docs
  docs
    |> chunk(text, by = heading, max = 256tok)
    |> embed(text, with = e256) as vec
    -> chunks
  docs |> aggregate(by = crate, pages = count(), words = sum(words)) -> crates
  write crates to csv("out/crates_NN.csv", key = crate)
}

index annNN on corpusNN.chunks(vec) { kind = flat }
index bmNN on corpusNN.chunks(text) { kind = bm25 }

prompt howtoNN(question: text, crates: list<text>, passages: list<text>) within budget {
  system (priority = 100) #"Name the crate that answers the question, from the passages only."#
  user (priority = 50, min = 512tok, shrink = keep_head)
    #"{% for p in passages %}[{{ crates[loop.index0] }}] {{ p }}
      {% endfor %}"#
  user (priority = 90, max = 128tok, shrink = keep_head) #"Question: {{ question }}"#
}

pipeline packNN {
  asks
    |> join(corpusNN.crates, on = crate, how = semi)
    |> retrieve(question, from = [annNN, bmNN], fuse = zscore, k = 24) as hits
    |> compress(hits.text, query = question, titles = hits.crate, ratio = target, unit = clause) as passages
    |> assemble(howtoNN, question = question, crates = hits.crate, passages = passages) as prompt
    -> prompts
  prompts
    |> select(qid, prompt, hit_1 = hit_at(hits.crate, crate, 1), rank = reciprocal_rank(hits.crate, crate))
    -> scores
  write scores to jsonl("out/scores_NN.jsonl", key = qid)
}
"##;

/// A program of exactly `lines` lines without a fault: as many corpora with indexes, prompts and outputs as fit, and
/// comments for the rest. `lines` is at least the head's 14.
#[must_use]
pub fn program(lines: usize) -> String {
    let mut text = PROGRAM_HEAD.to_owned();
    let part_lines = PROGRAM_PART.lines().count();
    for part in 0..lines.saturating_sub(PROGRAM_HEAD.lines().count()) / part_lines {
        text.push_str(&PROGRAM_PART.replace("NN", &format!("{part}")));
    }
    for line in text.lines().count()..lines {
        let written = writeln!(text, "// Line {line} has nothing to say.");
        written.expect("invariant: writing to a string does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use promptc_compiler::{Input, check};
    use std::collections::BTreeMap;

    #[test]
    fn programs_have_their_lines_and_no_fault() {
        for lines in [60, 200, 400] {
            let text = program(lines);
            assert_eq!(text.lines().count(), lines);
            let checked = check(Input {
                name: "main.promptc",
                text: &text,
                loader: &mut |_: &str, path: &str| Err(format!("no file {path}")),
                set: BTreeMap::new(),
                environment: &|_| None,
                home: None,
                encoders: &promptc_compiler::no_encoders,
                deny_warnings: true,
            });
            let shown: Vec<_> =
                checked.diagnostics.iter().map(|found| (&found.message, &found.primary)).collect();
            assert!(checked.diagnostics.is_empty(), "{shown:#?}");
        }
    }

    #[test]
    fn texts_are_of_their_length_and_differ() {
        let texts = texts(20, 200, 7);
        assert!(texts.iter().all(|text| text.len() == 200));
        let different: std::collections::BTreeSet<&String> = texts.iter().collect();
        assert_eq!(different.len(), 20);
        for pages in [natural_pages(50_000, 7), code_pages(50_000, 7)] {
            let bytes: usize = pages.iter().map(|page| page.text.len()).sum();
            assert!((50_000..70_000).contains(&bytes), "{bytes}");
        }
        assert_ne!(natural_pages(1, 7), natural_pages(1, 8));
    }

    #[test]
    fn pages_are_of_the_size_and_the_same_each_time() {
        let pages = generated_pages(100_000, 7);
        let bytes: usize = pages.iter().map(|page| page.text.len()).sum();
        assert!((100_000..130_000).contains(&bytes), "{bytes}");
        assert_eq!(pages, generated_pages(100_000, 7));
        assert_ne!(pages, generated_pages(100_000, 8));
        for part in ["\n```rust\n", "\n|---|", "\n- ", "<!-- ", "](https://"] {
            assert!(pages.iter().any(|page| page.text.contains(part)), "{part}");
        }
    }
}
