//! Time against recall of things compared on the same data: the points of an index and its peers.

use std::collections::BTreeMap;

use super::super::data::{ReportData, Series};
use super::super::markup::Markup;
use super::super::svg::{LINES_MAX, TradeoffLine, clipped, tradeoff};
use super::{plural, section};

/// The part of a name that says that its last two parts are what was compared and a point of it.
const MARK: &str = "curve/";
/// Whose line comes first, and is the thickest.
const OURS: &str = "promptc";
/// Longest name of a set.
const TITLE_CHARS_MAX: usize = 120;
/// Most figures of one page.
const FIGURES_MAX: usize = 8;
/// Most points of one line.
const POINTS_MAX: usize = 32;

/// Quality and time of one point, each if measured.
type Point = (Option<f64>, Option<f64>);
/// Points by what is compared and by name.
type Lines<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Point>>;

/// Whether there is a curve to draw.
pub(super) fn has_curves(data: &ReportData) -> bool {
    !figures(data).is_empty()
}

/// A figure for each data set of benchmarks named `curve/SET/COMPARED/POINT` that have a recall and a time. Nothing without such.
pub(super) fn curves(markup: &mut Markup, data: &ReportData) {
    let figures = figures(data);
    if figures.is_empty() {
        return;
    }
    section(markup, data, "curves", "Time against recall", None);
    markup.leaf(
        "p",
        &[("class", "facts")],
        "What a better answer costs: to the right and below is better, and only points of about equal recall can be compared. The \
         order of the lines holds for these vectors and this processor.",
    );
    let left_out = figures.len().saturating_sub(FIGURES_MAX);
    for (title, lines) in figures.into_iter().take(FIGURES_MAX) {
        figure(markup, title, &lines);
    }
    if left_out > 0 {
        markup.leaf("p", &[("class", "none")], &plural(left_out, "further set", "left out."));
    }
    markup.end();
}

fn figure(markup: &mut Markup, title: &str, lines: &[TradeoffLine<'_>]) {
    markup.start("article", &[]);
    let title = clipped(title, TITLE_CHARS_MAX);
    markup.leaf("h3", &[], &title);
    markup.start("figure", &[]);
    tradeoff(markup, &title, lines);
    if lines.len() > LINES_MAX {
        let names: Vec<&str> = lines[LINES_MAX..].iter().map(|line| line.name).collect();
        let names = clipped(&names.join(", "), TITLE_CHARS_MAX);
        markup.leaf("figcaption", &[], &format!("Not drawn: {names}."));
    }
    markup.end();
    markup.end();
    markup.line();
}

/// Sets with their lines.
fn figures(data: &ReportData) -> Vec<(&str, Vec<TradeoffLine<'_>>)> {
    let mut sets: BTreeMap<&str, Lines<'_>> = BTreeMap::new();
    for series in &data.series {
        let Some((title, compared, point)) = parts(&series.bench_id) else { continue };
        let at = sets.entry(title).or_default().entry(compared).or_default().entry(point).or_default();
        match series.metric.as_str() {
            "recall" => at.0 = newest(series),
            "wall_ns" => at.1 = newest(series).filter(|time| *time > 0.0),
            _ => {}
        }
    }
    let drawn = sets.into_iter().map(|(title, lines)| {
        let mut lines: Vec<TradeoffLine<'_>> = lines.into_iter().filter_map(line).collect();
        lines.sort_by_key(|line| line.name != OURS);
        (title, lines)
    });
    drawn.filter(|(_, lines)| !lines.is_empty()).collect()
}

/// One line, its points by recall; none without a whole point.
fn line<'a>((name, points): (&'a str, BTreeMap<&str, Point>)) -> Option<TradeoffLine<'a>> {
    let mut points: Vec<(f64, f64)> =
        points.into_values().filter_map(|(recall, time)| Some((recall?, time?))).take(POINTS_MAX).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    (!points.is_empty()).then_some(TradeoffLine { name, points })
}

/// Set, what is compared, and point.
fn parts(bench_id: &str) -> Option<(&str, &str, &str)> {
    let rest =
        bench_id.strip_prefix(MARK).or_else(|| bench_id.split_once("/curve/").map(|(_, rest)| rest))?;
    let (rest, point) = rest.rsplit_once('/')?;
    let (set, compared) = rest.rsplit_once('/')?;
    Some((set, compared, point))
}

/// What this run measured, the median; else the newest of the past.
fn newest(series: &Series) -> Option<f64> {
    let mut values = series.cand.clone();
    values.sort_by(f64::total_cmp);
    let measured = values.get(values.len() / 2).copied();
    measured.or_else(|| series.history.last()?.value).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::super::super::data::HistoryPoint;
    use super::*;

    fn series(bench_id: &str, metric: &str, value: f64) -> Series {
        // A run outside a repository has no history, one that only reports another has no values.
        let history = [HistoryPoint { value: Some(value), ..HistoryPoint::default() }];
        let is_past = metric == "recall";
        Series {
            bench_id: bench_id.to_owned(),
            metric: metric.to_owned(),
            history: if is_past { history.to_vec() } else { Vec::new() },
            cand: if is_past { Vec::new() } else { vec![value, value * 2.0, value / 2.0] },
            ..Series::default()
        }
    }

    #[test]
    fn points_are_of_their_set_and_line_and_need_both_values() {
        let data = ReportData {
            series: vec![
                series("peers/curve/100000/hnswlib/ef_50", "recall", 0.98),
                series("peers/curve/100000/hnswlib/ef_50", "wall_ns", 9e4),
                series("curve/100000/hnswlib/ef_10", "recall", 0.9),
                series("curve/100000/hnswlib/ef_10", "wall_ns", 4e4),
                series("peers/curve/100000/promptc/0.98", "recall", 0.981),
                series("peers/curve/100000/promptc/0.98", "wall_ns", 3e4),
                series("peers/curve/100000/promptc/0.99", "recall", 0.992),
                series("patterns/pattern_search/100000", "recall", 0.98),
                series("patterns/pattern_search/100000", "wall_ns", 3e4),
            ],
            ..ReportData::default()
        };
        let figures = figures(&data);
        assert_eq!(figures.len(), 1);
        let (title, lines) = &figures[0];
        assert_eq!(*title, "100000");
        let found: Vec<(&str, usize)> = lines.iter().map(|line| (line.name, line.points.len())).collect();
        assert_eq!(found, [("promptc", 1), ("hnswlib", 2)]);
        assert_eq!(lines[1].points[0], (0.9, 4e4));
    }
}
