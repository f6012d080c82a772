//! The past of one benchmark: medians with their intervals over commits, and where the level changed.
//!
//! Commits stand at their position on the main line, not at their time: work comes in bursts, and on an axis of time a busy
//! afternoon would be one pixel. The ticks name the date.

use super::super::data::{HistoryPoint, Series, TargetRow};
use super::super::markup::Markup;
use super::super::number::{self, Utc, figure};
use super::{Axis, CHARACTER_PX, Frame, legend_sign, open, path, px, stroke, vertical_axis, words};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 268.0;
const FRAME: Frame = Frame { left: 62.0, right: 670.0, top: 62.0, bottom: 214.0 };

/// Points that get a mark and a tooltip each; more would run together.
const MARK_COUNT_MAX: usize = 80;

/// Least height of the vertical axis, relative to the values: noise of a percent must not look like a cliff.
const SPAN_MIN: f64 = 0.06;

/// Distance between labels of the horizontal axis.
const LABEL_PX: f64 = 92.0;

/// All measurements of one commit as one point of the line.
#[derive(Debug, Clone, PartialEq)]
struct Commit<'a> {
    point: &'a HistoryPoint,
    value: f64,
    interval: Option<(f64, f64)>,
    change: Option<Option<f64>>,
}

/// Draws the history of a series. Its points must have finite values and be in the order of commits.
pub(in crate::report) fn history(markup: &mut Markup, series: &Series, target: Option<&TargetRow>) {
    let commits = commits(&series.history);
    let (Some(first), Some(last)) = (commits.first(), commits.last()) else {
        markup.leaf("p", &[("class", "none")], "No history of this benchmark on this machine.");
        return;
    };
    let chart = Chart {
        axis: axis(&commits, target, &series.unit),
        first_seq: f64::from(first.point.commit_seq),
        last_seq: f64::from(last.point.commit_seq),
    };
    let change_count = commits.iter().filter(|commit| commit.change.is_some()).count();
    let described = format!(
        "{} commits from {} to {}, last value {}, {change_count} change points",
        commits.len(),
        Utc::of(first.point.commit_time).date(),
        Utc::of(last.point.commit_time).date(),
        figure(Some(last.value), &series.unit)
    );
    open(markup, (WIDTH, HEIGHT), &format!("History of {} {}", series.bench_id, series.metric), &described);
    vertical_axis(markup, FRAME, &chart.axis);
    chart.commit_axis(markup, &commits);
    chart.target(markup, target);
    chart.band(markup, &commits);
    let line = commits.iter().map(|commit| chart.at(commit.point, commit.value));
    markup.empty("path", &[("class", "line"), ("d", &path(line))]);
    chart.marks(markup, series, &commits);
    chart.changes(markup, &commits, series.direction);
    let (x, y) = chart.at(last.point, last.value);
    words(markup, (x + 9.0, y + 4.0), "start", "last", &figure(Some(last.value), &series.unit));
    let has_band = commits.iter().any(|commit| commit.interval.is_some());
    legend(markup, has_band, change_count > 0, target.filter(|target| chart.shows(target.bound)).is_some());
    markup.end();
}

/// One point per commit: the median of its measurements and the widest of their intervals.
fn commits(history: &[HistoryPoint]) -> Vec<Commit<'_>> {
    let mut commits = Vec::new();
    for same in history.chunk_by(|a, b| a.commit_seq == b.commit_seq) {
        let mut values: Vec<f64> = same.iter().filter_map(|point| point.value).collect();
        values.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) =
            (values.get((values.len().max(1) - 1) / 2), values.get(values.len() / 2))
        else {
            continue;
        };
        let ends = same.iter().filter_map(|point| Some((point.ci_low?, point.ci_high?)));
        let finite = ends.filter(|(low, high)| low.is_finite() && high.is_finite());
        let interval = finite.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let change = same.iter().find(|point| point.is_change_point).map(|point| point.change_rel);
        commits.push(Commit { point: &same[0], value: low / 2.0 + high / 2.0, interval, change });
    }
    commits
}

/// The vertical axis over values, intervals and, if it is near, the promise.
fn axis(commits: &[Commit<'_>], target: Option<&TargetRow>, unit: &str) -> Axis {
    let ends = commits.iter().flat_map(|commit| {
        let (low, high) = commit.interval.unwrap_or((commit.value, commit.value));
        [commit.value, low, high]
    });
    let (mut low, mut high) = bounds(ends);
    let missing = (SPAN_MIN * high.abs().max(low.abs()) - (high - low)) / 2.0;
    if missing > 0.0 {
        (low, high) = (low - missing, high + missing);
    }
    let span = high - low;
    if let Some(bound) = target.map(|target| target.bound).filter(|bound| bound.is_finite())
        && bound > low - span * 0.7
        && bound < high + span * 0.7
    {
        (low, high) = (low.min(bound), high.max(bound));
    }
    Axis::widened(low, high, unit, 4)
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// Scales of one drawing.
struct Chart {
    axis: Axis,
    first_seq: f64,
    last_seq: f64,
}

impl Chart {
    fn at(&self, point: &HistoryPoint, value: f64) -> (f64, f64) {
        let span = self.last_seq - self.first_seq;
        let share = if span > 0.0 { (f64::from(point.commit_seq) - self.first_seq) / span } else { 0.5 };
        let x = FRAME.left + 10.0 + share * (FRAME.right - FRAME.left - 20.0);
        (x, self.axis.place(value, FRAME.bottom, FRAME.top))
    }

    fn shows(&self, bound: f64) -> bool {
        let shown = bound / self.axis.divisor;
        shown >= self.axis.low && shown <= self.axis.high
    }

    /// Dates and commits below the axis, as many as fit, the last always.
    fn commit_axis(&self, markup: &mut Markup, commits: &[Commit<'_>]) {
        stroke(markup, "axis", (FRAME.left, FRAME.bottom), (FRAME.right, FRAME.bottom));
        let x = |commit: &Commit<'_>| self.at(commit.point, commit.value).0;
        let mut shown: Vec<&Commit<'_>> = Vec::new();
        for commit in commits.iter().rev() {
            if shown.last().is_none_or(|right| x(right) - x(commit) >= LABEL_PX) {
                shown.push(commit);
            }
        }
        let day = |commit: &Commit<'_>| Utc::of(commit.point.commit_time).date();
        let is_one_day = commits.first().map(day) == commits.last().map(day);
        for commit in shown {
            let time = Utc::of(commit.point.commit_time);
            let when = if is_one_day && commits.len() > 1 { time.time() } else { time.date() };
            stroke(markup, "axis", (x(commit), FRAME.bottom), (x(commit), FRAME.bottom + 4.0));
            words(markup, (x(commit), FRAME.bottom + 17.0), "middle", "tick", &when);
            let sha = super::clipped(number::short_sha(&commit.point.sha), 12);
            words(markup, (x(commit), FRAME.bottom + 31.0), "middle", "tick sha", &sha);
        }
        let what = match commits.first() {
            Some(first) if is_one_day && commits.len() > 1 => {
                format!("commit of the main line, {} UTC", day(first))
            }
            _ => "commit of the main line".to_owned(),
        };
        words(markup, ((FRAME.left + FRAME.right) / 2.0, FRAME.bottom + 49.0), "middle", "unit", &what);
    }

    /// The promise as a line, if it is within the axis.
    fn target(&self, markup: &mut Markup, target: Option<&TargetRow>) {
        let Some(target) = target.filter(|target| self.shows(target.bound)) else {
            return;
        };
        let y = self.axis.place(target.bound, FRAME.bottom, FRAME.top);
        stroke(markup, "target", (FRAME.left, y), (FRAME.right, y));
    }

    /// The intervals as a band, broken where a commit has none; a lone interval is a bar.
    fn band(&self, markup: &mut Markup, commits: &[Commit<'_>]) {
        for run in commits.split(|commit| commit.interval.is_none()) {
            let ends = |commit: &Commit<'_>| commit.interval.unwrap_or((commit.value, commit.value));
            if let [commit] = run {
                let (low, high) = ends(commit);
                stroke(markup, "bar", self.at(commit.point, low), self.at(commit.point, high));
                continue;
            }
            let upper = run.iter().map(|commit| self.at(commit.point, ends(commit).1));
            let lower = run.iter().rev().map(|commit| self.at(commit.point, ends(commit).0));
            let outline = path(upper.chain(lower));
            if !outline.is_empty() {
                markup.empty("path", &[("class", "band"), ("d", &format!("{outline}Z"))]);
            }
        }
    }

    /// Where the level changed: a line, a diamond, and how far, in two rows so that neighbours do not touch.
    fn changes(&self, markup: &mut Markup, commits: &[Commit<'_>], direction: i8) {
        let mut row_ends = [f64::NEG_INFINITY; 2];
        for commit in commits {
            let Some(rel) = commit.change else { continue };
            let (x, y) = self.at(commit.point, commit.value);
            let class = match rel.map(|rel| rel * f64::from(direction)) {
                Some(gain) if gain > 0.0 => "change better",
                Some(gain) if gain < 0.0 => "change worse",
                _ => "change",
            };
            stroke(markup, class, (x, FRAME.top - 6.0), (x, FRAME.bottom));
            let diamond = path([(x, y - 6.0), (x + 6.0, y), (x, y + 6.0), (x - 6.0, y)]);
            markup.start("path", &[("class", class), ("d", &format!("{diamond}Z"))]);
            let sha = number::short_sha(&commit.point.sha);
            let label = number::change(rel);
            markup.leaf("title", &[], &format!("change point at {sha}: {label}"));
            markup.end();
            // Bold, so wider than other text.
            let half = label.chars().count() as f64 * CHARACTER_PX * 0.6;
            if let Some(row) = row_ends.iter().position(|end| x - half > end + 6.0) {
                row_ends[row] = x + half;
                words(markup, (x, FRAME.top - 10.0 - 14.0 * row as f64), "middle", class, &label);
            }
        }
    }

    /// A mark with a tooltip per commit; only the last one where there are many.
    fn marks(&self, markup: &mut Markup, series: &Series, commits: &[Commit<'_>]) {
        let skipped = if commits.len() > MARK_COUNT_MAX { commits.len() - 1 } else { 0 };
        for commit in &commits[skipped..] {
            let (x, y) = self.at(commit.point, commit.value);
            markup.start("circle", &[("class", "mark"), ("cx", &px(x)), ("cy", &px(y)), ("r", "2.6")]);
            let interval = commit.interval.map_or_else(String::new, |(low, high)| {
                format!(" ({} to {})", figure(Some(low), &series.unit), figure(Some(high), &series.unit))
            });
            let when = Utc::of(commit.point.commit_time).minute();
            let sha = number::short_sha(&commit.point.sha);
            let text = format!("{sha}, {when}: {}{interval}", figure(Some(commit.value), &series.unit));
            markup.leaf("title", &[], &text);
            markup.end();
        }
    }
}

/// What each sign means, in one row above the chart.
fn legend(markup: &mut Markup, has_band: bool, has_change: bool, has_target: bool) {
    let items = [
        (true, "line", "median"),
        (has_band, "band", "interval of the median"),
        (has_change, "change", "change point"),
        (has_target, "target", "target"),
    ];
    let mut x = FRAME.left;
    for (_, class, text) in items.into_iter().filter(|(is_shown, ..)| *is_shown) {
        legend_sign(markup, class, (x, 11.0));
        words(markup, (x + 28.0, 15.0), "start", "tick", text);
        x += 28.0 + text.chars().count() as f64 * CHARACTER_PX + 18.0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::markup::nesting_fault;
    use super::*;

    fn point(commit_seq: u32, value: f64) -> HistoryPoint {
        let commit_time = i64::from(commit_seq) * 86_400_000_000;
        let (low, high) = (Some(value * 0.98), Some(value * 1.02));
        let sha = format!("{commit_seq:040x}");
        HistoryPoint {
            commit_seq,
            commit_time,
            sha,
            value: Some(value),
            ci_low: low,
            ci_high: high,
            ..HistoryPoint::default()
        }
    }

    fn drawn(history: Vec<HistoryPoint>) -> String {
        let series = Series { unit: "ns".to_owned(), direction: -1, history, ..Series::default() };
        let mut markup = Markup::new();
        super::history(&mut markup, &series, None);
        let text = markup.finish();
        assert_eq!(nesting_fault(&text), None);
        assert!(!text.contains("NaN") && !text.contains("inf\""), "{text}");
        text
    }

    #[test]
    fn a_change_point_is_marked_and_judged_by_the_direction() {
        let mut points: Vec<HistoryPoint> =
            (0..30).map(|idx| point(idx, if idx < 15 { 1e6 } else { 1.2e6 })).collect();
        points[15].is_change_point = true;
        points[15].change_rel = Some(0.2);
        let text = drawn(points);
        assert!(text.contains("class=\"change worse\""), "{text}");
        assert!(text.contains(">+20.0 %<"), "{text}");
        assert_eq!(text.matches("<circle").count(), 30);
    }

    #[test]
    fn nothing_one_point_and_many_measurements_of_one_commit() {
        assert!(drawn(Vec::new()).contains("No history"));
        assert_eq!(drawn(vec![point(7, 5.0)]).matches("<circle").count(), 1);
        let same = vec![point(7, 4.0), point(7, 6.0), point(7, 5.0)];
        let text = drawn(same);
        assert!(text.contains("5.00 ns (3.92 ns to 6.12 ns)"), "{text}");
    }

    #[test]
    fn a_gap_in_the_intervals_is_a_gap_in_the_band() {
        let mut points: Vec<HistoryPoint> = (0..9).map(|idx| point(idx, 1e6)).collect();
        points[3].ci_low = None;
        points[5].ci_high = Some(f64::NAN);
        let text = drawn(points);
        let drawing = &text[..text.find("class=\"mark\"").unwrap()];
        assert_eq!(drawing.matches("class=\"band\"").count(), 2, "{drawing}");
        assert_eq!(drawing.matches("class=\"bar\"").count(), 1, "{drawing}");
    }

    #[test]
    fn ten_thousand_points_stay_small() {
        let points: Vec<HistoryPoint> =
            (0..10_000).map(|idx| point(idx, f64::from(idx % 13) + 1.0)).collect();
        let text = drawn(points);
        assert_eq!(text.matches("<circle").count(), 1);
    }
}
