//! Charts as inline SVG: scales, axes, and one file per chart.
//!
//! Colours are classes of the page's style sheet, so that one drawing serves light, dark and paper. What a colour says is
//! also said by a dash, a shape or a word. Sizes are in the drawing's own units, one per pixel at full width.

mod distribution;
mod forest;
mod history;
mod interval;
mod tradeoff;

pub(super) use distribution::{density, steps};
pub(super) use forest::{ForestRow, forest};
pub(super) use history::history;
pub(super) use interval::{Span, interval};
pub(super) use tradeoff::{LINES_MAX, TradeoffLine, tradeoff};

use super::markup::Markup;
use super::number::{self, Scale};

/// Mean width of a character of the small text of charts; generous, as fonts differ.
const CHARACTER_PX: f64 = 6.3;

/// Beyond this no difference of two values can overflow.
const VALUE_MAX: f64 = 1e150;

/// Share of a step by which rounding may move a tick, so that none at an end is lost.
const SLACK: f64 = 1e-9;

/// The part of a drawing that data is drawn into.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// A linear axis with round ticks in a unit of display.
#[derive(Debug, Clone, PartialEq)]
struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
    divisor: f64,
    unit: String,
    decimal_count: usize,
}

impl Axis {
    /// An axis from `low` to `high` in a column's unit, with about `tick_count` ticks. Both ends must be finite.
    fn new(low: f64, high: f64, unit: &str, tick_count: usize) -> Self {
        let (low, high, scale) = shown_range(low, high, unit);
        Axis::with_step(low, high, round_step((high - low) / tick_count.max(1) as f64), &scale)
    }

    /// The same, from tick to tick.
    fn widened(low: f64, high: f64, unit: &str, tick_count: usize) -> Self {
        let (low, high, scale) = shown_range(low, high, unit);
        let step = round_step((high - low) / tick_count.max(1) as f64);
        let (first, last) = ((low / step + SLACK).floor(), (high / step - SLACK).ceil());
        Axis::with_step(first * step, last * step, step, &scale)
    }

    fn with_step(low: f64, high: f64, step: f64, scale: &Scale<'_>) -> Self {
        let first = (low / step - SLACK).ceil();
        let count = ((high / step + SLACK).floor() - first).clamp(0.0, 50.0) as usize;
        let ticks = (0..=count).map(|idx| (first + idx as f64) * step).collect();
        let decimal_count = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        // A step of 2.5 needs one digit more than its order of size.
        let has_half = (step / 10f64.powf(step.log10().floor()) - 2.5).abs() < 1e-6;
        let unit = scale.name.trim_start().to_owned();
        let divisor = scale.divisor;
        Axis { low, high, ticks, divisor, unit, decimal_count: decimal_count + usize::from(has_half) }
    }

    /// Where a value of the column lies between two places, which may be in either order. Values outside lie at the end.
    fn place(&self, value: f64, from: f64, to: f64) -> f64 {
        self.place_shown(value.clamp(-VALUE_MAX, VALUE_MAX) / self.divisor, from, to)
    }

    /// Where a tick lies.
    fn place_shown(&self, tick: f64, from: f64, to: f64) -> f64 {
        from + ((tick - self.low) / (self.high - self.low)).clamp(0.0, 1.0) * (to - from)
    }

    /// The text of a tick.
    fn label(&self, tick: f64) -> String {
        let tick = if tick == 0.0 { 0.0 } else { tick };
        if tick.abs() >= 1e7 {
            return format!("{tick:.1e}");
        }
        format!("{tick:.*}", self.decimal_count).replace('-', "−")
    }
}

/// A range that is not empty, in the unit in which it reads best.
fn shown_range<'a>(low: f64, high: f64, unit: &'a str) -> (f64, f64, Scale<'a>) {
    let (mut low, mut high) = (low.clamp(-VALUE_MAX, VALUE_MAX), high.clamp(-VALUE_MAX, VALUE_MAX));
    if low >= high {
        let pad = if low == 0.0 { 1.0 } else { low.abs() * 0.05 };
        (low, high) = (low - pad, low + pad);
    }
    let scale = number::scale(unit, low.abs().max(high.abs()));
    (low / scale.divisor, high / scale.divisor, scale)
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let fraction = step / power;
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|round| fraction <= round + 1e-9).unwrap_or(10.0);
    round * power
}

/// A length or place with one decimal at most.
fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Points as the `d` of a path; empty for none.
fn path(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut text = String::new();
    for (x, y) in points {
        text.push(if text.is_empty() { 'M' } else { 'L' });
        text.push_str(&px(x));
        text.push(' ');
        text.push_str(&px(y));
    }
    text
}

/// Small text at a place; `anchor` is `start`, `middle` or `end`.
fn words(markup: &mut Markup, place: (f64, f64), anchor: &str, class: &str, text: &str) {
    let attributes = [("x", &*px(place.0)), ("y", &*px(place.1)), ("text-anchor", anchor), ("class", class)];
    markup.leaf("text", &attributes, text);
}

/// A straight line.
fn stroke(markup: &mut Markup, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ends = [("x1", from.0), ("y1", from.1), ("x2", to.0), ("y2", to.1)].map(|(name, at)| (name, px(at)));
    let mut attributes = vec![("class", class)];
    attributes.extend(ends.iter().map(|(name, at)| (*name, at.as_str())));
    markup.empty("line", &attributes);
}

/// The sign of a legend: a short line, or a swatch where the thing is an area.
fn legend_sign(markup: &mut Markup, class: &str, at: (f64, f64)) {
    if class == "band" {
        let (x, y) = (px(at.0), px(at.1 - 5.0));
        markup.empty("rect", &[("class", class), ("x", &x), ("y", &y), ("width", "22"), ("height", "10")]);
    } else {
        stroke(markup, class, at, (at.0 + 22.0, at.1));
    }
}

/// A name that fits a place on a chart.
pub(super) fn clipped(text: &str, char_max: usize) -> String {
    if text.chars().count() <= char_max {
        return text.to_owned();
    }
    text.chars().take(char_max - 1).chain(['…']).collect()
}

/// Grid lines and labels of the vertical axis, its unit above.
fn vertical_axis(markup: &mut Markup, frame: Frame, axis: &Axis) {
    for tick in &axis.ticks {
        let y = axis.place_shown(*tick, frame.bottom, frame.top);
        stroke(markup, "grid", (frame.left, y), (frame.right, y));
        words(markup, (frame.left - 8.0, y + 4.0), "end", "tick", &axis.label(*tick));
    }
    if !axis.unit.is_empty() {
        words(markup, (frame.left - 8.0, frame.top - 12.0), "end", "unit", &axis.unit);
    }
}

/// The horizontal axis of values: line, ticks, labels below `label_gap`, and what it measures.
fn horizontal_axis(markup: &mut Markup, frame: Frame, axis: &Axis, label_gap: f64, what: &str) {
    stroke(markup, "axis", (frame.left, frame.bottom), (frame.right, frame.bottom));
    let y = frame.bottom + label_gap;
    for tick in &axis.ticks {
        let x = axis.place_shown(*tick, frame.left, frame.right);
        stroke(markup, "grid", (x, frame.top), (x, frame.bottom));
        words(markup, (x, y + 12.0), "middle", "tick", &axis.label(*tick));
    }
    let middle = (frame.left + frame.right) / 2.0;
    let unit = if axis.unit.is_empty() { String::new() } else { format!(" ({})", axis.unit) };
    words(markup, (middle, y + 30.0), "middle", "unit", &format!("{what}{unit}"));
}

/// Opens a drawing that scales with the page and names itself to those who cannot see it.
fn open(markup: &mut Markup, size: (f64, f64), title: &str, description: &str) {
    let view_box = format!("0 0 {} {}", px(size.0), px(size.1));
    markup
        .start("svg", &[("viewBox", &view_box), ("width", &px(size.0)), ("role", "img"), ("class", "chart")]);
    markup.leaf("title", &[], title);
    markup.leaf("desc", &[], description);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_ticks_in_a_readable_unit() {
        let axis = Axis::new(1_130_000.0, 1_870_000.0, "ns", 5);
        let labels: Vec<String> = axis.ticks.iter().map(|tick| axis.label(*tick)).collect();
        assert_eq!(axis.unit, "ms");
        assert_eq!(labels, ["1.2", "1.4", "1.6", "1.8"]);
        let wide = Axis::widened(1_130_000.0, 1_870_000.0, "ns", 5);
        assert!((wide.low - 1.0).abs() < 1e-9 && (wide.high - 2.0).abs() < 1e-9, "{wide:?}");
        assert_eq!(wide.ticks.len(), 6);
        let quarter = Axis::new(0.0, 1.0, "ratio", 4);
        let labels: Vec<String> = quarter.ticks.iter().map(|tick| quarter.label(*tick)).collect();
        assert_eq!(labels, ["0.00", "0.25", "0.50", "0.75", "1.00"]);
    }

    #[test]
    fn odd_ranges_still_give_an_axis() {
        for (low, high) in
            [(0.0, 0.0), (5.0, 5.0), (-3.0, -3.0), (f64::MIN, f64::MAX), (1e-300, 2e-300), (1.0, 0.0)]
        {
            for axis in [Axis::new(low, high, "ns", 5), Axis::widened(low, high, "ns", 5)] {
                assert!(axis.high > axis.low, "{low} {high}: {axis:?}");
                assert!(!axis.ticks.is_empty() && axis.ticks.len() < 60, "{low} {high}: {axis:?}");
                let place = axis.place(low, 10.0, 20.0);
                assert!((10.0..=20.0).contains(&place), "{low} {high}: {place}");
            }
        }
    }

    #[test]
    fn places_are_short() {
        assert_eq!([px(-0.01), px(1.0), px(1.26)], ["0", "1", "1.3"]);
        assert_eq!(path([(0.0, 1.0), (2.5, 3.0)]), "M0 1L2.5 3");
        assert_eq!(path([]), "");
    }
}
