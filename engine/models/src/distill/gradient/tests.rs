use super::*;
use crate::distill::OneWorker;

/// Sizes of the example: large enough that no two indexes can be taken for each other.
const SOURCE_DIM: usize = 11;
const DIM: usize = 7;
const IDS: usize = 13;
const TEXTS: usize = 5;
const LOSS: Loss = Loss { temperature: 0.2, decay: 0.3 };

struct Example {
    pieces: Vec<f32>,
    map: Vec<f32>,
    rows: Vec<f32>,
    log_weights: Vec<f32>,
    batch: Batch,
}

fn example() -> Example {
    let mut state = 5_u64;
    let mut draw = |count: usize| -> Vec<f32> {
        let mut next = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    };
    let mut targets = draw(TEXTS * DIM);
    targets.chunks_exact_mut(DIM).for_each(crate::embed::normalize);
    // A piece twice in a text, one in several texts, one in none, texts of different lengths.
    let texts: [&[u32]; TEXTS] = [&[1, 2, 2, 9], &[3], &[1, 4, 5, 6, 7, 8, 10], &[12, 1], &[0, 3, 3]];
    let mut batch = Batch { targets, ..Batch::default() };
    for text in texts {
        batch.ids.extend(text);
        batch.ends.push(batch.ids.len());
    }
    Example {
        pieces: draw(IDS * SOURCE_DIM),
        map: draw(SOURCE_DIM * DIM),
        rows: draw(IDS * DIM),
        log_weights: draw(IDS),
        batch,
    }
}

impl Example {
    fn student(&self) -> Student<'_> {
        Student {
            pieces: &self.pieces,
            source_dim: SOURCE_DIM,
            dim: DIM,
            map: self.map.clone(),
            rows: self.rows.clone(),
            log_weights: self.log_weights.clone(),
        }
    }
}

/// Parameters in `f64`, one after the other: M, D, log w.
fn parameters(example: &Example) -> Vec<f64> {
    let all = example.map.iter().chain(&example.rows).chain(&example.log_weights);
    all.map(|value| f64::from(*value)).collect()
}

/// The loss by its definition, in `f64`.
fn loss_of(example: &Example, parameters: &[f64]) -> f64 {
    let (map, rest) = parameters.split_at(SOURCE_DIM * DIM);
    let (rows, log_weights) = rest.split_at(IDS * DIM);
    let batch = &example.batch;
    let mut units = Vec::new();
    for text in 0..TEXTS {
        let ids = batch.text(text);
        let mut vector = [0.0; DIM];
        for id in ids {
            let id = *id as usize;
            for (column, value) in vector.iter_mut().enumerate() {
                let mapped: f64 = (0..SOURCE_DIM)
                    .map(|depth| {
                        f64::from(example.pieces[id * SOURCE_DIM + depth]) * map[depth * DIM + column]
                    })
                    .sum();
                *value += log_weights[id].exp() * (mapped + rows[id * DIM + column]);
            }
        }
        // The square root of the number of pieces is a factor, which the length takes out.
        let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        units.push(vector.map(|value| value / length));
    }
    let targets: Vec<[f64; DIM]> = (0..TEXTS)
        .map(|text| std::array::from_fn(|column| f64::from(batch.targets[text * DIM + column])))
        .collect();
    let dot = |left: &[f64; DIM], right: &[f64; DIM]| {
        left.iter().zip(right).map(|(left, right)| left * right).sum::<f64>()
    };
    let shares = |vectors: &[[f64; DIM]], text: usize| -> Vec<f64> {
        let powers: Vec<f64> = (0..TEXTS)
            .map(|other| match other == text {
                true => 0.0,
                false => (dot(&vectors[text], &vectors[other]) / f64::from(LOSS.temperature)).exp(),
            })
            .collect();
        let total: f64 = powers.iter().sum();
        powers.into_iter().map(|power| power / total).collect()
    };
    let mut loss = 0.0;
    for text in 0..TEXTS {
        loss += (1.0 - dot(&units[text], &targets[text])) / TEXTS as f64;
        for (wanted, found) in shares(&targets, text).into_iter().zip(shares(&units, text)) {
            if wanted > 0.0 {
                loss += wanted * (wanted / found).ln() / TEXTS as f64;
            }
        }
    }
    let square = |id: &u32| rows[*id as usize * DIM..][..DIM].iter().map(|value| value * value).sum::<f64>();
    loss + f64::from(LOSS.decay) * batch.ids.iter().map(square).sum::<f64>() / batch.ids.len() as f64
}

/// All derivatives of the gradient, in the order of [`parameters`].
fn spread(gradient: &Gradient) -> Vec<f64> {
    let (mut rows, mut log_weights) = (vec![0.0; IDS * DIM], vec![0.0; IDS]);
    for (place, id) in gradient.ids.iter().enumerate() {
        rows[*id as usize * DIM..][..DIM].copy_from_slice(&gradient.rows[place * DIM..][..DIM]);
        log_weights[*id as usize] = gradient.log_weights[place];
    }
    gradient.map.iter().chain(&rows).chain(&log_weights).map(|value| f64::from(*value)).collect()
}

#[test]
fn derivatives_are_those_of_finite_differences() {
    let example = example();
    let base = parameters(&example);
    for kernels in [Kernels::REFERENCE, Kernels::PORTABLE, Kernels::best()] {
        let gradient = example.student().gradient(&kernels, &example.batch, LOSS, &OneWorker);
        let loss = loss_of(&example, &base);
        assert!((gradient.loss - loss).abs() < 1e-5, "{} {loss}", gradient.loss);
        let found = spread(&gradient);
        let mut moving = 0;
        for (idx, found) in found.iter().enumerate() {
            let step = 1e-5;
            let at = |step: f64| {
                let mut moved = base.clone();
                moved[idx] += step;
                loss_of(&example, &moved)
            };
            let wanted = (at(step) - at(-step)) / (2.0 * step);
            assert!((found - wanted).abs() < 1e-5 + 1e-4 * wanted.abs(), "parameter {idx}: {found} {wanted}");
            moving += usize::from(wanted.abs() > 1e-3);
        }
        // All of M, and D and log w of the twelve ids that a text has, but for what is small by chance.
        assert!(moving > 150, "{moving} of {}", base.len());
    }
}

#[test]
fn a_step_against_the_gradient_lowers_the_loss() {
    let example = example();
    let base = parameters(&example);
    let gradient = spread(&example.student().gradient(&Kernels::best(), &example.batch, LOSS, &OneWorker));
    let square: f64 = gradient.iter().map(|value| value * value).sum();
    let step = 1e-4;
    let moved: Vec<f64> = base.iter().zip(&gradient).map(|(value, slope)| value - step * slope).collect();
    let gain = loss_of(&example, &base) - loss_of(&example, &moved);
    assert!((gain - step * square).abs() < 0.02 * step * square, "{gain} {}", step * square);
}
