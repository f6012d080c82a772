//! How much slower than a copy, or than splitting into tokens, is each stage of semantic compression?
//!
//! Absolute speed depends on the machine; so every stage is divided by a reference that is measured beside it: `copy` (the same
//! warm bytes, one thread) or `tok` (`WordPunct::boundaries`). In each round every stage runs once, in turn, so that what
//! disturbs the machine disturbs stage and reference alike; the ratio of a stage is the median over the rounds. criterion
//! gives the throughput of each stage; the tables after it the ratios, beside the promises of `targets.toml`. The ratios need all
//! stages, so they are measured when `compression/two_threads` is among those asked for.
//!
//! A row is a page as one text, its title the query. Stages with a query include what a call of them does: counting the
//! row's tokens, splitting into sentences (also for passages, which are made of them), scoring, sorting. The last stage, `two_threads`, is a speed-up, not a ratio of times.
//!
//! With `PROMPTC_TEXTS=<file>`, a JSON string a line, the rows are these texts: what a peer is given (`peers/minhash.py`).

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use promptc_benches::fixtures::{self, Page};
use promptc_benches::{Clock, Measurement, Recorder};
use promptc_models::compress::structural::{self, Links};
use promptc_models::compress::{Options, Ranking, Row, Scorer, Stages, Target, TextStats, Unit, ratio_cap};
use promptc_models::dedup::{self, ShingleOptions, SignatureOptions};
use promptc_models::tokenize::{Tokenizer, WordPunct};

/// Bytes of text.
const BYTES: usize = 2 << 20;
/// Seed of the generated text, used where no documentation is at hand.
const SEED: u64 = 7;
/// Rounds of the table.
const ROUNDS: usize = 15;
/// Passes for the times of single rows.
const ROW_PASSES: usize = 3;
/// Compression of the stages with a query.
const RATIO: f64 = 4.0;
/// Compression of the token stage, its limit.
const TOKEN_RATIO: f64 = 1.25;

/// The rows, and what the stages need of them beforehand.
struct Corpus {
    pages: Vec<Page>,
    /// First byte of every row if they stand one after the other.
    starts: Vec<usize>,
    bytes: usize,
    stats: TextStats,
    rankings: Vec<Ranking>,
}

/// What a stage does with one row. The buffers are the caller's, so that no reference pays for memory.
type Work = fn(&Corpus, usize, &mut Buffers);

#[derive(Default)]
struct Buffers {
    bytes: Vec<u8>,
    tokens: Vec<(u32, u32)>,
}

struct Stage {
    name: &'static str,
    reference: &'static str,
    work: Work,
}

/// References first.
const STAGES: [Stage; 11] = [
    Stage { name: "copy", reference: "copy", work: copy },
    Stage { name: "tok", reference: "tok", work: tok },
    Stage {
        name: "structural",
        reference: "copy",
        work: |corpus, row, _| {
            black_box(structural::clean(&corpus.pages[row].text, Links::Keep));
        },
    },
    Stage { name: "exact_dedup", reference: "copy", work: |corpus, row, _| signatures(corpus, row, false) },
    Stage { name: "minhash", reference: "tok", work: |corpus, row, _| signatures(corpus, row, true) },
    Stage {
        name: "passage_score",
        reference: "tok",
        work: |corpus, row, _| rank(corpus, row, Unit::Passage),
    },
    Stage {
        name: "sentence_score",
        reference: "tok",
        work: |corpus, row, _| rank(corpus, row, Unit::Sentence),
    },
    Stage { name: "clause_score", reference: "tok", work: |corpus, row, _| rank(corpus, row, Unit::Clause) },
    Stage { name: "linear_scorer", reference: "sentence_score", work: linear },
    Stage {
        name: "selection",
        reference: "sentence_score",
        work: |corpus, row, _| {
            let ranking = &corpus.rankings[row];
            black_box(ranking.cut(ratio_cap(ranking.tokens_in(), RATIO), &WordPunct));
        },
    },
    Stage { name: "token_unigram", reference: "tok", work: token_unigram },
];

fn copy(corpus: &Corpus, row: usize, buffers: &mut Buffers) {
    let (text, start) = (corpus.pages[row].text.as_bytes(), corpus.starts[row]);
    // One destination for the whole corpus: it is warm, and each row has a place of its own as in a column.
    buffers.bytes[start..start + text.len()].copy_from_slice(black_box(text));
    black_box(&mut buffers.bytes);
}

fn tok(corpus: &Corpus, row: usize, buffers: &mut Buffers) {
    buffers.tokens.clear();
    WordPunct.boundaries(black_box(&corpus.pages[row].text), &mut buffers.tokens);
    black_box(&mut buffers.tokens);
}

fn signatures(corpus: &Corpus, row: usize, near: bool) {
    let shingle = ShingleOptions::new(5, 128).expect("invariant: the usual shingles are allowed");
    let options = SignatureOptions { unit: dedup::Unit::Block, near, shingle, min_words: 12 };
    black_box(dedup::signatures(&corpus.pages[row].text, &options));
}

/// The stages down to this unit, without the structural one, which is measured by itself.
fn options(unit: Unit) -> Options {
    let stages = Stages { structural: false, ..Stages::down_to(unit) };
    Options { stages, ..Options::with_query(unit, Target::Ratio(RATIO)) }
}

fn ranking(page: &Page, options: &Options) -> Ranking {
    let row = Row { texts: &[&page.text], titles: None, query: Some(&page.title), similarities: None };
    Ranking::new(&row, options, &WordPunct, None)
}

fn rank(corpus: &Corpus, row: usize, unit: Unit) {
    black_box(ranking(&corpus.pages[row], &options(unit)));
}

fn linear(corpus: &Corpus, row: usize, _: &mut Buffers) {
    // Which weights does not matter to the time.
    let scorer = Scorer::Linear(std::array::from_fn(|idx| 1.0 / (idx + 1) as f64));
    black_box(ranking(&corpus.pages[row], &Options { scorer, ..options(Unit::Sentence) }));
}

fn token_unigram(corpus: &Corpus, row: usize, _: &mut Buffers) {
    let stages = Stages { structural: false, passage: false, sentence: false, clause: false, token: true };
    let options = Options { stages, ..Options::with_query(Unit::Token, Target::Ratio(TOKEN_RATIO)) };
    let text = corpus.pages[row].text.as_str();
    let row = Row { texts: &[text], titles: None, query: None, similarities: None };
    let ranking = Ranking::new(&row, &options, &WordPunct, Some(&corpus.stats));
    black_box(ranking.cut(ratio_cap(ranking.tokens_in(), TOKEN_RATIO), &WordPunct));
}

impl Corpus {
    fn new(pages: Vec<Page>) -> Self {
        let mut stats = TextStats::new();
        for page in &pages {
            stats.add(&page.text);
            stats.add_tokens(&page.text, &WordPunct);
        }
        let rankings = pages.iter().map(|page| ranking(page, &options(Unit::Clause))).collect();
        let mut bytes = 0;
        let mut starts = Vec::with_capacity(pages.len());
        for page in &pages {
            starts.push(bytes);
            bytes += page.text.len();
        }
        Self { pages, starts, bytes, stats, rankings }
    }

    fn buffers(&self) -> Buffers {
        Buffers { bytes: vec![0; self.bytes], tokens: Vec::new() }
    }

    /// One pass of a stage over all rows.
    fn pass(&self, stage: &Stage, buffers: &mut Buffers) -> Duration {
        let start = Instant::now();
        (0..self.pages.len()).for_each(|row| (stage.work)(self, row, buffers));
        start.elapsed()
    }

    /// Times of single rows in microseconds, ascending, over several passes. Apart from [`Corpus::pass`], since asking the clock
    /// takes as long as a tenth of a row's copy.
    fn row_times_us(&self, stage: &Stage, buffers: &mut Buffers) -> Vec<f64> {
        let rows = (0..ROW_PASSES).flat_map(|_| 0..self.pages.len());
        let mut times: Vec<f64> = rows
            .map(|row| {
                let start = Instant::now();
                (stage.work)(self, row, buffers);
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times
    }
}

/// The clause stage over all rows with this many threads, each with every n-th row.
fn threaded(corpus: &Corpus, threads: usize) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || {
                for row in (first..corpus.pages.len()).step_by(threads) {
                    rank(corpus, row, Unit::Clause);
                }
            });
        }
    });
    start.elapsed()
}

/// Times and throughput of all stages as text; their ratios, measured in turn, go to the recorder.
fn table(corpus: &Corpus, recorder: &mut Recorder) -> String {
    let mut buffers = corpus.buffers();
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    let mut speedups = Vec::new();
    for _ in 0..recorder.rounds(ROUNDS) {
        rounds.push(STAGES.iter().map(|stage| corpus.pass(stage, &mut buffers).as_secs_f64()).collect());
        speedups.push(threaded(corpus, 1).as_secs_f64() / threaded(corpus, 2).as_secs_f64());
    }
    let mut table = line("stage", "MB/s", "p50 us", "p99 us", "ratio to");
    for (idx, stage) in STAGES.iter().enumerate() {
        let reference = STAGES.iter().position(|other| other.name == stage.reference);
        let reference = reference.expect("invariant: references are stages");
        let ratios = rounds.iter().map(|round| round[idx] / round[reference]).collect();
        let ratio = Measurement::new(format!("compression/{}", stage.name), "ratio", ratios).better(-1);
        recorder.add(ratio.param("reference", stage.reference));
        let seconds: Vec<f64> = rounds.iter().map(|round| round[idx]).collect();
        let seconds = Measurement::new("", "wall_ns", seconds).median().unwrap_or(f64::NAN);
        let times = corpus.row_times_us(stage, &mut buffers);
        let quantile = |share: f64| format!("{:.1}", times[((times.len() - 1) as f64 * share) as usize]);
        let speed = format!("{:.0}", corpus.bytes as f64 / 1e6 / seconds);
        table.push_str(&line(stage.name, &speed, &quantile(0.5), &quantile(0.99), stage.reference));
    }
    recorder.add(Measurement::new("compression/two_threads", "ratio", speedups).better(1));
    table
}

fn line(name: &str, speed: &str, p50: &str, p99: &str, reference: &str) -> String {
    format!("{name:<16} {speed:>9} {p50:>9} {p99:>9}  {reference}\n")
}

fn throughput(criterion: &mut Criterion<Clock>, corpus: &Corpus) {
    let mut group = criterion.benchmark_group("compression");
    group.sample_size(10).throughput(Throughput::Bytes(corpus.bytes as u64));
    let mut buffers = corpus.buffers();
    for stage in &STAGES {
        group.bench_function(stage.name, |bencher| {
            bencher.iter(|| (0..corpus.pages.len()).for_each(|row| (stage.work)(corpus, row, &mut buffers)));
        });
    }
    group.finish();
}

/// The pages, and where they are from.
fn pages() -> (&'static str, Vec<Page>) {
    if let Some((_, texts)) = fixtures::given_texts() {
        return ("given", texts.into_iter().map(|text| Page { title: String::new(), text }).collect());
    }
    match fixtures::documentation_pages(BYTES) {
        Some(pages) => ("documentation", pages),
        None => ("generated", fixtures::generated_pages(BYTES, SEED)),
    }
}

fn main() -> ExitCode {
    let mut recorder = Recorder::start("compression");
    let (source, pages) = pages();
    let corpus = Corpus::new(pages);
    recorder.param("data", source);
    recorder.param("seed", SEED);
    recorder.param("bytes", corpus.bytes);
    let mut criterion = recorder.criterion();
    throughput(&mut criterion, &corpus);
    criterion.final_summary();
    if recorder.wants("compression/two_threads") {
        println!("\n{source} pages: {} bytes in {} rows, {ROUNDS} rounds", corpus.bytes, corpus.pages.len());
        println!("{}", table(&corpus, &mut recorder));
    }
    recorder.finish()
}
