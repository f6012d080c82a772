//! How long does finding the nearest vectors take, and how many of them are found? One thread.
//!
//! `pattern_search/<rows>`: the ten nearest of so many clustered vectors of 256 numbers, one query at a time, warm, a thousand held-out
//! queries in turn; `pattern_search/uniform_10000`: of vectors without structure. The index chooses its structure at a recall of 0.98
//! that is measured on other queries first; `recall` is that of the timed ones against exact search. `pattern_search/hnsw_<set>`: by a
//! graph of its own name with a beam (ef) of 50, whatever its recall. `pattern_search_batch/100000`: ten queries together.
//! `pattern_index/<rows>`: building the index; `pattern_index/lists_<rows>`: with lists; `pattern_index/hnsw_<set>`: with a graph, once.
//!
//! With `PROMPTC_VECTORS=<folder>` the vectors are those of `<folder>/<set>.{rows,queries}.fvecs`, sets being `clustered_1000` and so
//! on: what peers are given (`peers/search.py`). `PROMPTC_RECALL=0.95` calibrates to another recall (`peers/curves.py`).

use std::collections::HashSet;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput};
use promptc_benches::fixtures::vectors::VectorSet;
use promptc_benches::{Clock, Measurement, Recorder};
use promptc_models::nearest::{
    GraphShape, Metric, NearestOptions, Originals, Scratch, Structure, UNWATCHED, VectorIndex,
};

/// Sets that a graph is measured on as well: two sizes, and the one on which graphs fail.
const GRAPH_SETS: [&str; 3] = ["10000", "100000", "uniform_10000"];
/// Sets by title: rows, and whether they are clustered.
const SETS: [(&str, usize, bool); 4] = [
    ("1000", 1_000, true),
    ("10000", 10_000, true),
    ("100000", 100_000, true),
    ("uniform_10000", 10_000, false),
];
/// Numbers of a vector.
const DIM: usize = 256;
/// Neighbours of a query.
const K: usize = 10;
/// Recall that the index calibrates itself to.
const TARGET: f64 = 0.98;
/// Queries of the calibration; the others are timed.
const SAMPLE: usize = 200;
/// Queries of a batch.
const BATCH: usize = 10;
/// Seed of the rotation.
const SEED: u64 = 7;

/// Vectors whose ids are their places.
struct ByPlace<'a> {
    dim: usize,
    rows: &'a [f32],
}

impl Originals for ByPlace<'_> {
    fn vector(&self, id: u64) -> Option<&[f32]> {
        let start = usize::try_from(id).ok()?.checked_mul(self.dim)?;
        self.rows.get(start..start + self.dim)
    }
}

/// The recall that is asked for.
fn target() -> f64 {
    let asked = std::env::var("PROMPTC_RECALL").ok().and_then(|text| text.parse().ok());
    asked.filter(|recall| (0.0..=1.0).contains(recall)).unwrap_or(TARGET)
}

fn set(title: &str, rows: usize, is_clustered: bool) -> Result<VectorSet, String> {
    let name = if is_clustered { format!("clustered_{title}") } else { title.to_owned() };
    let metric = if is_clustered { Metric::Dot } else { Metric::L2 };
    match std::env::var_os("PROMPTC_VECTORS").map(PathBuf::from) {
        Some(folder) => VectorSet::read(&folder, &name, metric),
        None if is_clustered => Ok(VectorSet::clustered(rows, DIM)),
        None => Ok(VectorSet::uniform(rows, DIM)),
    }
}

fn build(set: &VectorSet, ids: &[u64], structure: Option<Structure>) -> VectorIndex {
    let options = NearestOptions {
        metric: set.metric,
        dim: set.dim,
        seed: SEED,
        structure,
        graph: GraphShape::default(),
    };
    VectorIndex::build(options, ids, &set.rows).expect("invariant: vectors of a set can be compared")
}

/// The exact neighbours of a query.
fn truth(set: &VectorSet, query: &[f32]) -> HashSet<u64> {
    let score = |row: &[f32]| match set.metric {
        Metric::L2 => -promptc_kernels::l2_f32(query, row),
        _ => promptc_kernels::dot_f32(query, row),
    };
    let mut scored: Vec<(f32, u64)> = set.rows.chunks_exact(set.dim).map(score).zip(0..).collect();
    scored.select_nth_unstable_by(K, |left, right| right.0.total_cmp(&left.0));
    scored[..K].iter().map(|(_, id)| *id).collect()
}

fn ids(set: &VectorSet) -> Vec<u64> {
    (0..(set.rows.len() / set.dim) as u64).collect()
}

/// Measures single searches of the queries that were not for calibration, and their recall.
fn search(
    recorder: &mut Recorder,
    criterion: &mut Criterion<Clock>,
    title: &str,
    set: &VectorSet,
    index: &VectorIndex,
) {
    let originals = ByPlace { dim: set.dim, rows: &set.rows };
    let timed: Vec<&[f32]> = set.queries.chunks_exact(set.dim).skip(SAMPLE).collect();
    let mut scratch = Scratch::default();
    let mut find = |query: &[f32]| {
        index
            .search(query, K, None, Some(&originals), &mut scratch)
            .expect("invariant: each row has a vector")
    };
    let full_title = format!("pattern_search/{title}");
    if recorder.wants(&full_title) {
        let found = timed.iter().map(|query| {
            let truth = truth(set, query);
            find(query).iter().filter(|found| truth.contains(&found.id)).count() as f64 / K as f64
        });
        let recall = found.sum::<f64>() / timed.len() as f64;
        let stats = index.stats();
        let recall = Measurement::new(&full_title, "recall", vec![recall]);
        let recall = recall.param("structure", stats.structure.name()).param("reranked", stats.reranked);
        recorder.add(recall.param("lists", stats.lists).param("beam", stats.beam));
        recorder.add(Measurement::new(&full_title, "size_bytes", vec![stats.memory_bytes as f64]));
    }
    let mut turn = timed.iter().cycle();
    let mut group = criterion.benchmark_group("pattern_search");
    group.bench_function(title, |bencher| {
        bencher.iter(|| find(black_box(turn.next().expect("invariant: a cycle does not end"))));
    });
    group.finish();
}

/// Measures batches of queries and the making of the index.
fn batch_and_build(criterion: &mut Criterion<Clock>, title: &str, set: &VectorSet, index: &VectorIndex) {
    let originals = ByPlace { dim: set.dim, rows: &set.rows };
    let timed: Vec<&[f32]> = set.queries.chunks_exact(set.dim).skip(SAMPLE).collect();
    let mut scratch = Scratch::default();
    let mut batches = timed.chunks_exact(BATCH).cycle();
    let mut group = criterion.benchmark_group("pattern_search_batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(title, |bencher| {
        bencher.iter(|| {
            let batch = batches.next().expect("invariant: a cycle does not end");
            index.search_batch(black_box(batch), K, None, Some(&originals), &mut scratch)
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("pattern_index");
    group.sample_size(10);
    let ids = ids(set);
    let lists = format!("lists_{title}");
    for (title, structure) in [(title, None), (lists.as_str(), Some(Structure::Lists))] {
        let title = BenchmarkId::from_parameter(title);
        group.bench_function(title, |bencher| bencher.iter(|| build(set, &ids, structure)));
    }
    group.finish();
}

fn main() -> ExitCode {
    let mut recorder = Recorder::start("patterns");
    recorder.param("threads", 1);
    recorder.param("dim", DIM);
    recorder.param("k", K);
    recorder.param("seed", SEED);
    let is_given = std::env::var_os("PROMPTC_VECTORS").is_some();
    recorder.param("data", if is_given { "given" } else { "generated" });
    let mut criterion = recorder.criterion();
    for (title, rows, is_clustered) in SETS {
        let own = format!("pattern_search/{title}");
        let graph = GRAPH_SETS.contains(&title).then(|| format!("hnsw_{title}"));
        let graph_title = graph.as_ref().map(|graph| format!("pattern_search/{graph}"));
        let together = ["pattern_search_batch/100000", "pattern_index/100000", "pattern_index/lists_100000"];
        let has_batch = title == "100000" && together.iter().any(|title| recorder.wants(title));
        let built_title = graph.as_ref().map(|graph| format!("pattern_index/{graph}"));
        let has_graph = [graph_title, built_title].iter().flatten().any(|title| recorder.wants(title));
        if !(recorder.wants(&own) || has_batch || has_graph) {
            continue;
        }
        let set = match set(title, rows, is_clustered) {
            Ok(set) => set,
            Err(message) => {
                recorder.add(Measurement::failed(own, "wall_ns", &message));
                continue;
            }
        };
        if recorder.wants(&own) || has_batch {
            let mut index = build(&set, &ids(&set), None);
            let sample: Vec<&[f32]> = set.queries.chunks_exact(set.dim).take(SAMPLE).collect();
            let originals = ByPlace { dim: set.dim, rows: &set.rows };
            let calibrated = index.calibrate(&sample, K, target(), &originals, UNWATCHED);
            calibrated.expect("invariant: a set has rows and queries");
            search(&mut recorder, &mut criterion, title, &set, &index);
            if has_batch {
                batch_and_build(&mut criterion, title, &set, &index);
            }
        }
        if let Some(title) = graph.filter(|_| has_graph) {
            let ids = ids(&set);
            let started = Instant::now();
            let index = build(&set, &ids, Some(Structure::Graph));
            let taken = started.elapsed();
            let built = format!("pattern_index/{title}");
            recorder.add(Measurement::new(built, "wall_ns", vec![taken.as_nanos() as f64]).within(taken));
            search(&mut recorder, &mut criterion, &title, &set, &index);
        }
    }
    criterion.final_summary();
    recorder.finish()
}
