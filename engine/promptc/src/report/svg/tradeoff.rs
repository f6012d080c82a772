//! Time against quality: one line per thing compared, its points from least to most effort.

use super::super::markup::Markup;
use super::super::number::figure;
use super::{Axis, Frame, clipped, horizontal_axis, open, path, px, stroke, words};

const WIDTH: f64 = 760.0;
const FRAME: Frame = Frame { left: 74.0, right: 560.0, top: 26.0, bottom: 330.0 };
/// Room for the horizontal axis.
const FOOT: f64 = 46.0;
/// Distance between names of the legend.
const LEGEND_PX: f64 = 22.0;
/// Longest name of the legend.
const NAME_CHARS_MAX: usize = 26;
/// Lines that can be told apart; each has a class of its own in the style sheet.
pub(in crate::report) const LINES_MAX: usize = 8;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct TradeoffLine<'a> {
    /// What was compared.
    pub(in crate::report) name: &'a str,
    /// Quality and time of each point, in the order of quality.
    pub(in crate::report) points: Vec<(f64, f64)>,
}

/// Draws the lines, at most [`LINES_MAX`]: quality as a share to the right, time in ns upwards on a logarithmic scale. Times must be
/// finite and above zero, shares finite.
pub(in crate::report) fn tradeoff(markup: &mut Markup, title: &str, lines: &[TradeoffLine<'_>]) {
    let shares = || lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
    let low = shares().fold(1.0, f64::min);
    let axis = Axis::widened(low, shares().fold(low, f64::max), "ratio", 6);
    let time = LogAxis::over(lines.iter().flat_map(|line| line.points.iter().map(|point| point.1)));
    open(
        markup,
        (WIDTH, FRAME.bottom + FOOT),
        title,
        "Time against recall; to the right and below is better.",
    );
    for tick in time.ticks() {
        let y = time.place(tick);
        stroke(markup, "grid", (FRAME.left, y), (FRAME.right, y));
        words(markup, (FRAME.left - 8.0, y + 4.0), "end", "tick", &figure(Some(tick), "ns"));
    }
    horizontal_axis(markup, FRAME, &axis, 6.0, "recall");
    for (idx, line) in lines.iter().take(LINES_MAX).enumerate() {
        let class = format!("curve c{idx}");
        let at = |point: &(f64, f64)| (axis.place(point.0, FRAME.left, FRAME.right), time.place(point.1));
        markup.empty("path", &[("class", &class), ("d", &path(line.points.iter().map(at)))]);
        for point in &line.points {
            let (x, y) = at(point);
            markup.start(
                "circle",
                &[("class", &format!("dot c{idx}")), ("cx", &px(x)), ("cy", &px(y)), ("r", "3")],
            );
            markup.leaf(
                "title",
                &[],
                &format!(
                    "{}: {} at {}",
                    line.name,
                    figure(Some(point.1), "ns"),
                    figure(Some(point.0), "ratio")
                ),
            );
            markup.end();
        }
        let y = FRAME.top + 12.0 + LEGEND_PX * idx as f64;
        stroke(markup, &class, (FRAME.right + 18.0, y - 4.0), (FRAME.right + 40.0, y - 4.0));
        words(markup, (FRAME.right + 48.0, y), "start", "name", &clipped(line.name, NAME_CHARS_MAX));
    }
    markup.end();
}

/// A logarithmic axis of times in ns, from bottom to top.
struct LogAxis {
    /// Decadic logarithms of the ends.
    low: f64,
    high: f64,
}

impl LogAxis {
    /// The axis that holds all values, with a little room.
    fn over(values: impl Iterator<Item = f64> + Clone) -> Self {
        let logs = values.map(f64::log10);
        let low = logs.clone().fold(f64::INFINITY, f64::min);
        let high = logs.fold(f64::NEG_INFINITY, f64::max);
        LogAxis { low: low - 0.1, high: high + 0.1 }
    }

    /// 1, 2 and 5 times powers of ten.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (first, last) = (self.low.floor() as i32, self.high.ceil() as i32);
        let (low, high) = (self.low, self.high);
        let all = (first..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
        all.filter(move |tick| (low..=high).contains(&tick.log10()))
    }

    fn place(&self, value: f64) -> f64 {
        FRAME.bottom - (value.log10() - self.low) / (self.high - self.low) * (FRAME.bottom - FRAME.top)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::markup::nesting_fault;
    use super::*;

    #[test]
    fn faster_is_lower_and_better_recall_is_to_the_right() {
        let lines = [
            TradeoffLine { name: "ours", points: vec![(0.95, 20_000.0), (0.99, 60_000.0)] },
            TradeoffLine { name: "theirs", points: vec![(0.9, 90_000.0)] },
        ];
        let mut markup = Markup::new();
        tradeoff(&mut markup, "100000", &lines);
        let text = markup.finish();
        assert_eq!(nesting_fault(&text), None);
        let places = |name: &str| -> Vec<f64> {
            let values =
                text.split("<circle").skip(1).filter_map(|part| part.split_once(&format!("{name}=\"")));
            values.map(|(_, rest)| rest.split('"').next().unwrap().parse().unwrap()).collect()
        };
        let (x, y) = (places("cx"), places("cy"));
        assert!(x[0] < x[1] && x[2] < x[0], "{x:?}");
        assert!(y[0] > y[1] && y[1] > y[2], "{y:?}");
        assert!(text.contains("20.0 µs") && text.contains("50.0 µs"), "{text}");
    }
}
