//! Centres of clusters, from the 8-bit codes of rows.
//!
//! Lloyd, "Least squares quantization in PCM" (1982), from random rows, for a fixed number of rounds. A row is compared with all
//! centres by whole numbers, the centres being coded as rows are, so that every processor puts it into the same cluster; the
//! error of both codes is a hundredth of the distances that matter. The means are of `f32`, added in the order of the rows.

use promptc_kernels::{BLOCK_ROWS, Kernels, Scoring};

use super::bits::mixed;
use super::bytes::{ByteCodes, ByteQuery, Layout};

/// Rounds of assigning rows and taking means. With 4 of them, searches take the same time at a recall that is 0.001 less.
const ROUNDS: usize = 6;
/// Rows that are looked at for each centre.
const SAMPLED: usize = 32;

/// Centres as codes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Centres {
    pub(super) codes: ByteCodes,
    pub(super) count: usize,
    /// `-|c|²/2` of each, up to whole blocks: with it the nearest centre has the greatest score.
    half_squares: Vec<f32>,
}

/// Room for the scores of all centres.
#[derive(Debug, Clone, Default)]
pub(super) struct CentreScores {
    sums: Vec<i32>,
    pub(super) scores: Vec<f32>,
    masks: Vec<u64>,
}

impl Centres {
    /// `count` centres of the first `rows` rows of `bytes`; one centre at the origin if there are no rows.
    pub(super) fn train(bytes: &ByteCodes, rows: usize, dim: usize, count: usize, seed: u64) -> Self {
        let count = count.clamp(1, rows.max(1));
        let mut values = vec![0.0; count * dim];
        if rows == 0 {
            return Self::of(&values, dim);
        }
        let sampled = (count * SAMPLED).min(rows);
        let sample: Vec<usize> = (0..sampled).map(|idx| idx * rows / sampled).collect();
        let any = |round: u64, centre: usize| {
            sample[(mixed(seed, round << 32 | centre as u64) % sampled as u64) as usize]
        };
        for (centre, value) in values.chunks_exact_mut(dim).enumerate() {
            bytes.decode(any(0, centre), value);
        }
        let (mut room, mut row_query) = (CentreScores::default(), ByteQuery::default());
        let mut row_values = vec![0.0; dim];
        for round in 1..=ROUNDS as u64 {
            let centres = Self::of(&values, dim);
            let mut counts = vec![0_u32; count];
            values.fill(0.0);
            for row in &sample {
                row_query.set_row(bytes, *row);
                let nearest = centres.nearest(&row_query, &mut room);
                counts[nearest] += 1;
                bytes.decode(*row, &mut row_values);
                let sums = &mut values[nearest * dim..(nearest + 1) * dim];
                sums.iter_mut().zip(&row_values).for_each(|(sum, value)| *sum += value);
            }
            for (centre, (value, members)) in values.chunks_exact_mut(dim).zip(counts).enumerate() {
                match members {
                    // A centre that no row is nearest to moves to some row.
                    0 => bytes.decode(any(round, centre), value),
                    _ => value.iter_mut().for_each(|sum| *sum /= members as f32),
                }
            }
        }
        Self::of(&values, dim)
    }

    fn of(values: &[f32], dim: usize) -> Self {
        let count = values.len() / dim;
        let mut codes = ByteCodes::new(Layout::Blocks, dim);
        codes.resize(count);
        let mut half_squares = vec![f32::NEG_INFINITY; count.next_multiple_of(BLOCK_ROWS)];
        let mut decoded = vec![0.0; dim];
        for (centre, values) in values.chunks_exact(dim).enumerate() {
            codes.set(centre, values);
            codes.decode(centre, &mut decoded);
            half_squares[centre] = (-0.5 * Kernels::best().dot_f32f64(&decoded, &decoded)) as f32;
        }
        Self { codes, count, half_squares }
    }

    /// The centre with the least distance; the first of equal ones. Cost: one pass over the codes of the centres.
    pub(super) fn nearest(&self, row: &ByteQuery, room: &mut CentreScores) -> usize {
        self.score(row, &self.half_squares, room);
        let scores = &room.scores[..self.count];
        let greatest = greatest(scores);
        scores.iter().position(|score| *score == greatest).unwrap_or(0)
    }

    /// Leaves in `room`, for each centre, the inner product with the query plus the centre's number of `offsets`.
    pub(super) fn score(&self, query: &ByteQuery, offsets: &[f32], room: &mut CentreScores) {
        let padded = offsets.len();
        room.sums.resize(padded, 0);
        room.scores.resize(padded, 0.0);
        room.masks.resize(padded / BLOCK_ROWS, 0);
        self.codes.scan(query, 0, &mut room.sums);
        let scoring =
            Scoring { factors: &self.codes.scales, offsets, scale: query.scale, shift: query.shift };
        Kernels::best().scores_above(&room.sums, &scoring, f32::INFINITY, &mut room.scores, &mut room.masks);
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.codes.memory_bytes() + self.half_squares.capacity() * size_of::<f32>()
    }
}

/// The greatest of some numbers; the lanes are what the compiler turns into vector code.
fn greatest(values: &[f32]) -> f32 {
    let greater = |left: f32, right: f32| if left > right { left } else { right };
    let (lanes, rest) = values.as_chunks::<16>();
    let mut most = [f32::NEG_INFINITY; 16];
    for lane in lanes {
        most.iter_mut().zip(lane).for_each(|(most, value)| *most = greater(*most, *value));
    }
    most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, greater)
}
