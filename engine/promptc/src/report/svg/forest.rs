//! Values with their intervals, one below the other on a common scale.

use super::super::markup::Markup;
use super::super::number::figure;
use super::{Axis, Frame, clipped, horizontal_axis, open, px, stroke, words};

const WIDTH: f64 = 820.0;
const ROW: f64 = 24.0;
const TOP: f64 = 10.0;
/// Room for the axis below the rows.
const FOOT: f64 = 46.0;
/// Where the scale begins and ends: names are to its left, values to its right.
const LEFT: f64 = 210.0;
const RIGHT: f64 = 640.0;
/// Longest name.
const NAME_CHARS_MAX: usize = 30;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct ForestRow<'a> {
    /// What was measured.
    pub(in crate::report) name: &'a str,
    /// Its value.
    pub(in crate::report) value: f64,
    /// Ends of its interval.
    pub(in crate::report) ends: (f64, f64),
}

/// Draws the rows; all are in `unit`, and finite.
pub(in crate::report) fn forest(markup: &mut Markup, title: &str, unit: &str, rows: &[ForestRow<'_>]) {
    let ends = || rows.iter().flat_map(|row| [row.value, row.ends.0, row.ends.1]);
    let (low, high) = (ends().fold(0.0, f64::min), ends().fold(f64::NEG_INFINITY, f64::max));
    let axis = Axis::widened(low, high, unit, 6);
    let bottom = TOP + ROW * rows.len() as f64;
    let frame = Frame { left: LEFT, right: RIGHT, top: TOP, bottom };
    open(markup, (WIDTH, bottom + FOOT), title, "Values with their intervals on a common scale.");
    for (idx, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (idx as f64 + 0.5);
        let x = |value: f64| axis.place(value, LEFT, RIGHT);
        words(markup, (LEFT - 12.0, y + 4.0), "end", "name", &clipped(row.name, NAME_CHARS_MAX));
        stroke(markup, "grid", (LEFT, y), (RIGHT, y));
        stroke(markup, "bar", (x(row.ends.0), y), (x(row.ends.1), y));
        let (cx, cy) = (px(x(row.value)), px(y));
        markup.empty("circle", &[("class", "mark"), ("cx", &cx), ("cy", &cy), ("r", "4")]);
        let shown = |value: f64| figure(Some(value), unit);
        let values = format!("{} [{}, {}]", shown(row.value), shown(row.ends.0), shown(row.ends.1));
        words(markup, (RIGHT + 12.0, y + 4.0), "start", "last", &values);
    }
    horizontal_axis(markup, frame, &axis, 16.0, "value, with the interval of 95 %");
    markup.end();
}

#[cfg(test)]
mod tests {
    use super::super::super::markup::nesting_fault;
    use super::*;

    #[test]
    fn each_row_has_a_name_an_interval_and_a_value() {
        let rows = [
            ForestRow { name: "words", value: 0.685, ends: (0.64, 0.73) },
            ForestRow {
                name: "a name that is far too long for its place",
                value: -0.02,
                ends: (-0.05, 0.01),
            },
        ];
        let mut markup = Markup::new();
        forest(&mut markup, "arms", "ratio", &rows);
        let text = markup.finish();
        assert_eq!(nesting_fault(&text), None);
        assert_eq!(text.matches("<circle").count(), 2);
        assert!(
            text.contains("words") && text.contains("0.685 [0.640, 0.730]") && !text.contains("its place"),
            "{text}"
        );
    }
}
