//! How much is saved, and how fast: three kinds of compression that are often named in one breath and are different things.
//!
//! `compression_performance/<text>/lossless`: zstd level 3 over pages joined to 64 KiB, two threads, back to the same bytes.
//! `compression_performance/<text>/structural`: white space, comments and markup that carry nothing go; one thread.
//! `compression_performance/<text>/<kept>`: this share of a page's tokens is kept, those that its title asks for; one thread.
//!
//! Texts are `technical` (Markdown), `code` (functions), `natural` (running text) and `mixed`, all generated, so that every machine
//! measures the same bytes: the speeds say something about real texts, the shares saved by `lossless` little. What is kept of the
//! answers is a matter of real questions and stands in the quality tests of the models.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use promptc_benches::fixtures::{self, Page};
use promptc_benches::measurement::times_ns;
use promptc_benches::{Measurement, Recorder};
use promptc_models::compress::structural::{self, Links};
use promptc_models::compress::{Options, Ranking, Row, Stages, Target, Unit, ratio_cap};
use promptc_models::tokenize::WordPunct;

/// Kinds of text.
const TEXTS: [&str; 4] = ["technical", "code", "natural", "mixed"];
/// Bytes of text of each kind: quick, full.
const BYTES: (usize, usize) = (256 << 10, 4 << 20);
/// Bytes that are compressed at once.
const PART_BYTES: usize = 64 << 10;
/// Passes over the texts.
const ROUNDS: usize = 20;
/// Seed of the texts.
const SEED: u64 = 7;
/// Level of zstd.
const LEVEL: i32 = 3;
/// Threads of the lossless kind.
const THREADS: usize = 2;
/// Share of the tokens that is kept, as in the title.
const KEPT: [(&str, f64); 3] = [("0.3", 0.3), ("0.5", 0.5), ("0.7", 0.7)];

fn pages(kind: &str, bytes: usize) -> Vec<Page> {
    match kind {
        "technical" => fixtures::generated_pages(bytes, SEED),
        "code" => fixtures::code_pages(bytes, SEED),
        "natural" => fixtures::natural_pages(bytes, SEED),
        _ => TEXTS[..3].iter().flat_map(|kind| pages(kind, bytes / 3)).collect(),
    }
}

/// All pages one after the other, cut into parts.
fn parts(pages: &[Page]) -> Vec<Vec<u8>> {
    let joined: Vec<u8> = pages.iter().flat_map(|page| page.text.bytes()).collect();
    joined.chunks(PART_BYTES).map(<[u8]>::to_vec).collect()
}

/// Compresses all parts, each thread every second one; the compressed bytes in the order of the parts.
fn compress(parts: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let compressed =
        |part: &Vec<u8>| zstd::bulk::compress(part, LEVEL).expect("invariant: memory is written to");
    let mut done: Vec<(usize, Vec<u8>)> = std::thread::scope(|scope| {
        let of_thread = |first: usize| {
            let every = (first..parts.len()).step_by(THREADS);
            scope.spawn(move || every.map(|idx| (idx, compressed(&parts[idx]))).collect::<Vec<_>>())
        };
        let threads: Vec<_> = (0..THREADS).map(of_thread).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().expect("invariant: the threads do not panic"));
        joined.flatten().collect()
    });
    done.sort();
    done.into_iter().map(|(_, bytes)| bytes).collect()
}

fn options(kept: f64) -> Options {
    let stages = Stages { structural: false, ..Stages::down_to(Unit::Clause) };
    Options { stages, ..Options::with_query(Unit::Clause, Target::Ratio(1.0 / kept)) }
}

/// Tokens of a page before and after the selection.
fn select(page: &Page, kept: f64) -> (u64, u64) {
    let row = Row { texts: &[&page.text], titles: None, query: Some(&page.title), similarities: None };
    let ranking = Ranking::new(&row, &options(kept), &WordPunct, None);
    let cut = ranking.cut(ratio_cap(ranking.tokens_in(), 1.0 / kept), &WordPunct);
    (cut.tokens_in, cut.tokens_out)
}

/// Speed and share saved of one kind of compression.
fn record(
    recorder: &mut Recorder,
    title: &str,
    pages: &[Page],
    threads: usize,
    mut saved: impl FnMut() -> f64,
) {
    if !recorder.wants(title) {
        return;
    }
    let bytes: usize = pages.iter().map(|page| page.text.len()).sum();
    let share = saved();
    let start = Instant::now();
    let times = times_ns(recorder.rounds(ROUNDS), |_| black_box(saved()));
    let speeds = times.iter().map(|wall_ns| bytes as f64 * 1e9 / wall_ns).collect();
    let speed = Measurement::new(title, "bytes_per_second", speeds).within(start.elapsed());
    let share = Measurement::new(title, "saved_ratio", vec![share]);
    for measurement in [speed, share] {
        recorder.add(measurement.param("threads", threads).param("bytes", bytes));
    }
}

fn main() -> ExitCode {
    let mut recorder = Recorder::start("compression_performance");
    recorder.param("data", "generated");
    recorder.param("seed", SEED);
    let bytes = recorder.scale().pick(BYTES.0, BYTES.1);
    for kind in TEXTS {
        let pages = pages(kind, bytes);
        let total: usize = pages.iter().map(|page| page.text.len()).sum();
        let parts = parts(&pages);
        for (part, compressed) in parts.iter().zip(compress(&parts)) {
            let whole = zstd::bulk::decompress(&compressed, part.len()).ok();
            assert_eq!(whole.as_deref(), Some(part.as_slice()), "lossless means the same bytes");
        }
        record(&mut recorder, &format!("compression_performance/{kind}/lossless"), &pages, THREADS, || {
            let compressed: usize = compress(&parts).iter().map(Vec::len).sum();
            1.0 - compressed as f64 / total as f64
        });
        record(&mut recorder, &format!("compression_performance/{kind}/structural"), &pages, 1, || {
            let cleaned = |page: &Page| structural::clean(&page.text, Links::Keep).text.len();
            1.0 - pages.iter().map(cleaned).sum::<usize>() as f64 / total as f64
        });
        for (name, kept) in KEPT {
            record(&mut recorder, &format!("compression_performance/{kind}/{name}"), &pages, 1, || {
                let tokens = pages.iter().map(|page| select(page, kept));
                let (before, after) = tokens.fold((0, 0), |sum, page| (sum.0 + page.0, sum.1 + page.1));
                1.0 - after as f64 / before as f64
            });
        }
    }
    recorder.finish()
}
