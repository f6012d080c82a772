//! Vectors to search, and the truth about them.

use std::collections::BTreeMap;

use promptc_models::nearest::{
    GraphShape, Metric, NearestOptions, Neighbour, Originals, Scratch, Structure, VectorIndex,
};

/// Numbers from a seed: SplitMix64, and Box-Muller for normal ones.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(super) fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(super) fn normal(&mut self) -> f32 {
        ((-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()) as f32
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }
}

/// Vectors by id, and the truth.
#[derive(Clone)]
pub(super) struct Vectors {
    pub(super) metric: Metric,
    pub(super) by_id: BTreeMap<u64, Vec<f32>>,
}

impl Originals for Vectors {
    fn vector(&self, id: u64) -> Option<&[f32]> {
        self.by_id.get(&id).map(Vec::as_slice)
    }
}

impl Vectors {
    pub(super) fn score(&self, query: &[f32], vector: &[f32]) -> f64 {
        let pairs = || query.iter().zip(vector).map(|(q, v)| (f64::from(*q), f64::from(*v)));
        let norm = |vector: &[f32]| vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let dot: f64 = pairs().map(|(q, v)| q * v).sum();
        match self.metric {
            Metric::Dot => dot,
            Metric::L2 => -pairs().map(|(q, v)| (q - v).powi(2)).sum::<f64>(),
            Metric::Cosine if norm(query) * norm(vector) == 0.0 => 0.0,
            Metric::Cosine => dot / (norm(query) * norm(vector)),
        }
    }

    /// Scores of the `k` best among the allowed ids, best first.
    pub(super) fn best(&self, query: &[f32], k: usize, is_allowed: impl Fn(u64) -> bool) -> Vec<f64> {
        let allowed = self.by_id.iter().filter(|(id, _)| is_allowed(**id));
        let mut scores: Vec<f64> = allowed.map(|(_, vector)| self.score(query, vector)).collect();
        scores.sort_by(|left, right| right.total_cmp(left));
        scores.truncate(k);
        scores
    }

    pub(super) fn flat(&self) -> (Vec<u64>, Vec<f32>) {
        (self.by_id.keys().copied().collect(), self.by_id.values().flatten().copied().collect())
    }
}

/// Clustered vectors with a spectrum that falls, like embeddings; then queries of the same kind.
pub(super) fn clustered(metric: Metric, rows: usize, dim: usize, queries: usize) -> (Vectors, Vec<Vec<f32>>) {
    let mut numbers = Numbers(7 + dim as u64);
    let centres: Vec<Vec<f32>> = (0..32).map(|_| (0..dim).map(|_| numbers.normal()).collect()).collect();
    let mut one = || {
        let centre = numbers.below(centres.len());
        let value = |place: usize, numbers: &mut Numbers| {
            0.7 * centres[centre][place] + numbers.normal() * 2.0 / ((place + 1) as f32).powf(0.25)
        };
        (0..dim).map(|place| value(place, &mut numbers)).collect::<Vec<f32>>()
    };
    let queries = (0..queries).map(|_| one()).collect();
    let by_id = (0..rows as u64).map(|idx| (idx * 3 + 1, one())).collect();
    (Vectors { metric, by_id }, queries)
}

pub(super) fn options(metric: Metric, dim: usize, structure: Structure) -> NearestOptions {
    NearestOptions { metric, dim, seed: 11, structure: Some(structure), graph: GraphShape::default() }
}

pub(super) fn build(vectors: &Vectors, dim: usize, structure: Structure) -> VectorIndex {
    let (ids, flat) = vectors.flat();
    VectorIndex::build(options(vectors.metric, dim, structure), &ids, &flat).unwrap()
}

/// Share of the true neighbours that are found, a row as good as the last of them counting; checks order and scores on the way.
pub(super) fn recall(index: &VectorIndex, vectors: &Vectors, queries: &[Vec<f32>], k: usize) -> f64 {
    let mut scratch = Scratch::default();
    let (mut found, mut wanted) = (0, 0);
    for query in queries {
        let truth = vectors.best(query, k, |_| true);
        let neighbours = index.search(query, k, None, Some(vectors), &mut scratch).unwrap();
        check(vectors, query, &neighbours);
        let least = truth.last().map_or(f64::INFINITY, |least| least - 1e-9 * least.abs());
        found += neighbours.iter().filter(|neighbour| neighbour.score >= least).count();
        wanted += truth.len();
    }
    found as f64 / wanted as f64
}

/// Best first, ties by id, no id twice, and the scores are those of the vectors.
pub(super) fn check(vectors: &Vectors, query: &[f32], neighbours: &[Neighbour]) {
    for pair in neighbours.windows(2) {
        let is_ordered =
            pair[0].score > pair[1].score || pair[0].score == pair[1].score && pair[0].id < pair[1].id;
        assert!(is_ordered, "{pair:?}");
    }
    for neighbour in neighbours {
        let wanted = vectors.score(query, &vectors.by_id[&neighbour.id]);
        assert!((neighbour.score - wanted).abs() <= 1e-9 * (1.0 + wanted.abs()), "{neighbour:?} is {wanted}");
    }
}

pub(super) const STRUCTURES: [Structure; 4] =
    [Structure::Scan, Structure::Bits, Structure::Lists, Structure::Graph];
pub(super) const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];
