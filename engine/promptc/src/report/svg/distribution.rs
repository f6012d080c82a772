//! The samples of the two sides against each other: as densities, and as steps of the empirical distribution.
//!
//! Both drawings have the same horizontal axis, which leaves out far outliers and says how many.

use super::super::data::Series;
use super::super::markup::Markup;
use super::super::number::figure;
use super::{Axis, Frame, horizontal_axis, legend_sign, open, path, stroke, vertical_axis, words};

const WIDTH: f64 = 374.0;
const HEIGHT: f64 = 246.0;
const FRAME: Frame = Frame { left: 46.0, right: 362.0, top: 62.0, bottom: 196.0 };

/// Places at which a density is computed: one per three pixels.
const GRID_COUNT: usize = 106;

/// Samples of a side that are drawn one by one below the density.
const RUG_COUNT_MAX: usize = 120;

/// Height of the rows of ticks below the axis.
const RUG_PX: f64 = 16.0;

/// Interquartile ranges around the quartiles beyond which a sample is left out of the axis.
const FAR: f64 = 4.0;

/// Samples of one side in order, and how it is drawn.
struct Side<'a> {
    name: &'static str,
    class: &'static str,
    sorted: Vec<f64>,
    unit: &'a str,
}

/// The sides that have samples: base first.
fn sides(series: &Series) -> Vec<Side<'_>> {
    let side = |name, class, values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Side { name, class, sorted, unit: &series.unit }
    };
    let cand = if series.base.is_empty() { "this run" } else { "candidate" };
    let both = [side("base", "base", &series.base), side(cand, "cand", &series.cand)];
    both.into_iter().filter(|side| !side.sorted.is_empty()).collect()
}

impl Side<'_> {
    /// Linear interpolation between order statistics.
    fn quantile(&self, p: f64) -> f64 {
        let at = p * (self.sorted.len() - 1) as f64;
        let (low, high) = (self.sorted[at.floor() as usize], self.sorted[at.ceil() as usize]);
        low * (1.0 - at.fract()) + high * at.fract()
    }

    /// Bandwidth of the kernel, 0 if all samples are equal.
    ///
    /// Source: Silverman, "Density Estimation for Statistics and Data Analysis", 1986, equation 3.31.
    fn bandwidth(&self) -> f64 {
        let count = self.sorted.len() as f64;
        let mean = self.sorted.iter().map(|value| value / count).sum::<f64>();
        let variance =
            self.sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let quartiles = (self.quantile(0.75) - self.quantile(0.25)) / 1.34;
        let spread = if quartiles > 0.0 { variance.sqrt().min(quartiles) } else { variance.sqrt() };
        let is_flat = !spread.is_finite() || spread <= 1e-9 * mean.abs();
        if is_flat { 0.0 } else { 0.9 * spread * count.powf(-0.2) }
    }

    /// Mean of normal curves around the samples.
    fn density(&self, at: f64, bandwidth: f64) -> f64 {
        let curve = |value: &f64| (-0.5 * ((at - value) / bandwidth).powi(2)).exp();
        let mass = self.sorted.len() as f64 * bandwidth * (2.0 * std::f64::consts::PI).sqrt();
        self.sorted.iter().map(curve).sum::<f64>() / mass
    }

    fn legend(&self, markup: &mut Markup, row: usize) {
        let y = 12.0 + 16.0 * row as f64;
        legend_sign(markup, self.class, (FRAME.left, y - 4.0));
        let median = figure(Some(self.quantile(0.5)), self.unit);
        let text = format!("{}: median {median}, {} samples", self.name, self.sorted.len());
        words(markup, (FRAME.left + 28.0, y), "start", "tick", &text);
    }
}

/// The common horizontal axis, and how many samples lie below and above it.
fn value_axis(sides: &[Side<'_>], unit: &str) -> (Axis, usize, usize) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for side in sides {
        let (q1, q3) = (side.quantile(0.25), side.quantile(0.75));
        let pad = 3.0 * side.bandwidth();
        let fence = |far: f64| FAR * (q3 - q1) + far;
        low = low.min((side.sorted[0] - pad).max(q1 - fence(pad)));
        high = high.max((side.sorted[side.sorted.len() - 1] + pad).min(q3 + fence(pad)));
    }
    // Equal samples beside a far outlier: without a spread there is no fence.
    if low >= high {
        low = sides.iter().map(|side| side.sorted[0]).fold(f64::INFINITY, f64::min);
        high = sides.iter().map(|side| side.sorted[side.sorted.len() - 1]).fold(f64::NEG_INFINITY, f64::max);
    }
    // Curves and steps at the very edge would be taken for the frame.
    let pad = high / 32.0 - low / 32.0;
    let axis = Axis::new(low - pad, high + pad, unit, 5);
    let (first, last) = (axis.low * axis.divisor, axis.high * axis.divisor);
    let count = |is_out: &dyn Fn(f64) -> bool| {
        sides.iter().flat_map(|side| &side.sorted).filter(|value| is_out(**value)).count()
    };
    let slack = (last - first) * 1e-9;
    let (below, above) = (count(&|value| value < first - slack), count(&|value| value > last + slack));
    (axis, below, above)
}

/// How many samples are beyond the axis, at its ends.
fn outliers(markup: &mut Markup, below: usize, above: usize) {
    let y = FRAME.top - 8.0;
    if below > 0 {
        words(markup, (FRAME.left + 14.0, y), "start", "tick", &format!("← {below} below"));
    }
    if above > 0 {
        words(markup, (FRAME.right - 2.0, y), "end", "tick", &format!("{above} above →"));
    }
}

/// Draws the densities of base and candidate. Samples must be finite.
pub(in crate::report) fn density(markup: &mut Markup, series: &Series) {
    let sides = sides(series);
    if sides.is_empty() {
        return;
    }
    let (axis, below, above) = value_axis(&sides, &series.unit);
    let title = format!("Density of {} {}", series.bench_id, series.metric);
    open(
        markup,
        (WIDTH, HEIGHT),
        &title,
        "Kernel density of the samples of each side; each sample is a tick below.",
    );
    horizontal_axis(markup, FRAME, &axis, RUG_PX, &series.metric);
    words(markup, (FRAME.left - 8.0, FRAME.bottom), "end", "tick", "0");
    words(markup, (FRAME.left - 8.0, FRAME.top + 8.0), "end", "tick", "max");
    words(markup, (4.0, FRAME.top - 8.0), "start", "unit", "density");
    let curves: Vec<Vec<(f64, f64)>> = sides.iter().map(|side| curve(side, &axis)).collect();
    let top = curves.iter().flatten().map(|(_, density)| *density).fold(f64::MIN_POSITIVE, f64::max);
    for (row, (side, curve)) in sides.iter().zip(&curves).enumerate() {
        side.legend(markup, row);
        let x = |value| axis.place(value, FRAME.left, FRAME.right);
        if curve.is_empty() {
            let at = x(side.quantile(0.5));
            stroke(markup, side.class, (at, FRAME.bottom), (at, FRAME.top));
        } else {
            let y = |density: f64| FRAME.bottom - density / top * (FRAME.bottom - FRAME.top - 4.0);
            let line = path(curve.iter().map(|(at, density)| (x(*at), y(*density))));
            let area = format!("{line}L{} {}L{} {}Z", FRAME.right, FRAME.bottom, FRAME.left, FRAME.bottom);
            markup.empty("path", &[("class", &format!("area {}", side.class)), ("d", &area)]);
            markup.empty("path", &[("class", &format!("curve {}", side.class)), ("d", &line)]);
            let median = x(side.quantile(0.5));
            let height = y(side.density(side.quantile(0.5), side.bandwidth()));
            stroke(markup, &format!("median {}", side.class), (median, FRAME.bottom), (median, height));
        }
        rug(markup, side, &axis, row);
    }
    outliers(markup, below, above);
    markup.end();
}

/// Value and density over the axis; empty if all samples are equal.
fn curve(side: &Side<'_>, axis: &Axis) -> Vec<(f64, f64)> {
    let bandwidth = side.bandwidth();
    if bandwidth <= 0.0 {
        return Vec::new();
    }
    let step = (axis.high - axis.low) / (GRID_COUNT - 1) as f64;
    let at = |idx: usize| (axis.low + step * idx as f64) * axis.divisor;
    (0..GRID_COUNT).map(|idx| (at(idx), side.density(at(idx), bandwidth))).collect()
}

/// One tick per sample below the axis, a row per side, in one path.
fn rug(markup: &mut Markup, side: &Side<'_>, axis: &Axis, row: usize) {
    if side.sorted.len() > RUG_COUNT_MAX {
        return;
    }
    let y = FRAME.bottom + 3.0 + 7.0 * row as f64;
    let tick = |value: &f64| {
        let x = axis.place(*value, FRAME.left, FRAME.right);
        path([(x, y), (x, y + 5.0)])
    };
    let ticks: String = side.sorted.iter().map(tick).collect();
    markup.empty("path", &[("class", &format!("rug {}", side.class)), ("d", &ticks)]);
}

/// Draws the share of samples up to each value, as steps, for base and candidate. Samples must be finite.
pub(in crate::report) fn steps(markup: &mut Markup, series: &Series) {
    let sides = sides(series);
    if sides.is_empty() {
        return;
    }
    let (axis, below, above) = value_axis(&sides, &series.unit);
    let title = format!("Cumulative distribution of {} {}", series.bench_id, series.metric);
    open(markup, (WIDTH, HEIGHT), &title, "Share of the samples of each side that are at most a value.");
    horizontal_axis(markup, FRAME, &axis, RUG_PX, &series.metric);
    vertical_axis(markup, FRAME, &Axis::new(0.0, 1.0, "share", 4));
    for (row, side) in sides.iter().enumerate() {
        side.legend(markup, row);
        let count = side.sorted.len() as f64;
        let y = |rank: usize| FRAME.bottom - rank as f64 / count * (FRAME.bottom - FRAME.top);
        let x = |value: f64| axis.place(value, FRAME.left, FRAME.right);
        let mut points = vec![(FRAME.left, y(0))];
        for (idx, value) in side.sorted.iter().enumerate() {
            points.extend([(x(*value), y(idx)), (x(*value), y(idx + 1))]);
        }
        points.push((FRAME.right, y(side.sorted.len())));
        markup.empty("path", &[("class", &format!("curve {}", side.class)), ("d", &path(points))]);
        rug(markup, side, &axis, row);
    }
    outliers(markup, below, above);
    markup.end();
}

#[cfg(test)]
mod tests {
    use super::super::super::markup::nesting_fault;
    use super::*;

    fn drawn(base: Vec<f64>, cand: Vec<f64>) -> String {
        let (unit, metric) = ("ns".to_owned(), "wall_ns".to_owned());
        let series = Series { unit, metric, base, cand, ..Series::default() };
        let mut markup = Markup::new();
        density(&mut markup, &series);
        steps(&mut markup, &series);
        let text = markup.finish();
        assert_eq!(nesting_fault(&text), None);
        assert!(!text.contains("NaN") && !text.contains("inf "), "{text}");
        text
    }

    #[test]
    fn both_sides_are_drawn_with_their_medians() {
        let text = drawn(vec![1.0, 2.0, 3.0, 4.0], vec![2.0, 3.0, 4.0, 6.0]);
        assert!(text.contains("base: median 2.50 ns, 4 samples"), "{text}");
        assert!(text.contains("candidate: median 3.50 ns, 4 samples"));
        assert_eq!(text.matches("curve cand").count(), 2);
    }

    #[test]
    fn few_equal_and_missing_samples() {
        assert_eq!(drawn(Vec::new(), Vec::new()), "");
        assert!(!drawn(Vec::new(), vec![5.0]).contains("base"));
        assert!(drawn(vec![5.0; 9], vec![5.0; 9]).contains("5.00 ns, 9 samples"));
        drawn(vec![0.0, 0.0], vec![f64::MAX, f64::MIN]);
    }

    #[test]
    fn a_far_outlier_is_counted_and_not_drawn() {
        let base: Vec<f64> = (0..40).map(|idx| 100.0 + f64::from(idx)).chain([1e6]).collect();
        let text = drawn(base.clone(), base);
        assert_eq!(text.matches("2 above →").count(), 2, "{text}");
    }

    #[test]
    fn the_density_has_mass_one() {
        let side = Side { name: "base", class: "base", sorted: (0..50).map(f64::from).collect(), unit: "ns" };
        let bandwidth = side.bandwidth();
        let mass: f64 = (-2000..4000).map(|at| side.density(f64::from(at) / 20.0, bandwidth) / 20.0).sum();
        assert!((mass - 1.0).abs() < 1e-3, "{mass}");
    }
}
