//! The interval of one relative change on a common scale, to be read down a column of a table.

use super::super::markup::Markup;
use super::super::number::change_interval;
use super::{path, px, stroke};

const WIDTH: f64 = 150.0;
const HEIGHT: f64 = 18.0;

/// Half width of the column's scale: 0.2 shows changes from -20 % to +20 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct Span(f64);

impl Span {
    /// A round half width for a table's changes, between 10 % and 100 %, so that one wild row does not flatten the others.
    pub(in crate::report) fn over(changes: impl Iterator<Item = f64>) -> Self {
        let largest =
            changes.filter(|rel| rel.is_finite()).fold(0.0, |largest: f64, rel| largest.max(rel.abs()));
        let round = [0.1, 0.2, 0.3, 0.5].into_iter().find(|round| *round >= largest * 1.02);
        Span(round.unwrap_or(1.0))
    }

    /// The half width.
    pub(in crate::report) fn half_width(self) -> f64 {
        self.0
    }
}

/// Draws a change and its interval; worse is to the right. What lies beyond the scale ends in an arrow.
pub(in crate::report) fn interval(
    markup: &mut Markup,
    span: Span,
    class: &str,
    rel: f64,
    ends: Option<(f64, f64)>,
) {
    let middle = HEIGHT / 2.0;
    let place = |rel: f64| WIDTH / 2.0 + (rel / span.0).clamp(-1.0, 1.0) * (WIDTH / 2.0 - 8.0);
    let view_box = format!("0 0 {} {}", px(WIDTH), px(HEIGHT));
    markup.start(
        "svg",
        &[
            ("viewBox", &view_box),
            ("width", &px(WIDTH)),
            ("height", &px(HEIGHT)),
            ("role", "img"),
            ("class", "interval"),
        ],
    );
    let text = ends.map_or_else(String::new, |(low, high)| change_interval(Some(low), Some(high)));
    markup.leaf("title", &[], &text);
    stroke(markup, "axis", (place(0.0), 1.0), (place(0.0), HEIGHT - 1.0));
    if let Some((low, high)) = ends.filter(|(low, high)| !low.is_nan() && !high.is_nan()) {
        stroke(markup, class, (place(low), middle), (place(high), middle));
        let arrow = |tip: f64, back: f64| {
            format!("{}Z", path([(tip, middle), (tip + back, middle - 4.0), (tip + back, middle + 4.0)]))
        };
        if low < -span.0 {
            markup.empty("path", &[("class", class), ("d", &arrow(1.0, 7.0))]);
        }
        if high > span.0 {
            markup.empty("path", &[("class", class), ("d", &arrow(WIDTH - 1.0, -7.0))]);
        }
    }
    if rel.is_finite() && rel.abs() <= span.0 {
        markup
            .empty("circle", &[("class", class), ("cx", &px(place(rel))), ("cy", &px(middle)), ("r", "3.6")]);
    }
    markup.end();
}

#[cfg(test)]
mod tests {
    use super::super::super::markup::nesting_fault;
    use super::*;

    #[test]
    fn the_scale_covers_the_changes_up_to_one_hundred_percent() {
        assert_eq!(Span::over([0.01, -0.04].into_iter()), Span(0.1));
        assert_eq!(Span::over([0.01, -0.25].into_iter()), Span(0.3));
        assert_eq!(Span::over([7.0, f64::NAN, f64::INFINITY].into_iter()), Span(1.0));
        assert_eq!(Span::over(std::iter::empty()), Span(0.1));
    }

    #[test]
    fn ends_beyond_the_scale_are_arrows() {
        let draw = |ends| {
            let mut markup = Markup::new();
            interval(&mut markup, Span(0.1), "regression", 0.05, ends);
            let text = markup.finish();
            assert_eq!(nesting_fault(&text), None);
            text.matches("<path").count()
        };
        assert_eq!(draw(Some((0.01, 0.09))), 0);
        assert_eq!(draw(Some((f64::NEG_INFINITY, f64::INFINITY))), 2);
        assert_eq!(draw(Some((f64::NAN, 1.0))), 0);
        assert_eq!(draw(None), 0);
    }
}
