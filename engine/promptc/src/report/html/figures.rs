//! The charts of the page: one card per benchmark and metric.

use super::super::data::{ReportData, Section, Series, TargetRow, Verdict};
use super::super::markup::Markup;
use super::super::number::{change_within, figure};
use super::super::{rank, svg};
use super::section;
use super::tables::{badge, class, limit};

/// Samples of a side below which there is no distribution to draw.
const DRAWN_MIN: usize = 5;

/// The name of the place where a benchmark's charts are; none if it has none on this page.
pub(super) fn anchor(cut: &ReportData, bench_id: &str, metric: &str) -> Option<String> {
    let is_it = |series: &Series| series.bench_id == bench_id && series.metric == metric;
    cut.series.iter().position(is_it).map(|idx| format!("series-{idx}"))
}

/// A card per series, in the order of the report.
pub(super) fn figures(markup: &mut Markup, cut: &ReportData) {
    section(markup, cut, "series", "Charts", Some(Section::Series));
    if cut.series.is_empty() {
        markup.leaf("p", &[("class", "none")], "There is nothing to draw.");
    }
    let gravest = rank::gravest(cut);
    for (idx, series) in cut.series.iter().enumerate() {
        let verdict = gravest.get(&(series.bench_id.as_str(), series.metric.as_str())).copied();
        markup.start("article", &[("id", &format!("series-{idx}"))]);
        heading(markup, series, verdict);
        let target = promise(cut, series);
        markup.start("figure", &[]);
        svg::history(markup, series, target);
        if let Some(target) = target {
            markup.leaf(
                "figcaption",
                &[],
                &format!(
                    "Target {} for the {}: {}.",
                    limit(target),
                    target.statistic,
                    target.status.as_str()
                ),
            );
        }
        markup.end();
        let most = series.base.len().max(series.cand.len());
        if (1..DRAWN_MIN).contains(&most) {
            few_values(markup, series);
        } else if most > 0 {
            markup.start("figure", &[("class", "pair")]);
            svg::density(markup, series);
            svg::steps(markup, series);
            markup.end();
        }
        markup.end();
        markup.line();
    }
    markup.end();
}

/// The values of sides that have too few for a drawing.
fn few_values(markup: &mut Markup, series: &Series) {
    let named = if series.base.is_empty() { "this run" } else { "candidate" };
    for (side, values) in [("base", &series.base), (named, &series.cand)] {
        if !values.is_empty() {
            let figures: Vec<String> =
                values.iter().map(|value| figure(Some(*value), &series.unit)).collect();
            markup.leaf("p", &[("class", "facts")], &format!("Values of {side}: {}.", figures.join(", ")));
        }
    }
}

/// Name, verdict and figures of one card.
fn heading(markup: &mut Markup, series: &Series, verdict: Option<&Verdict>) {
    markup.start("h3", &[]);
    markup.text(&series.bench_id);
    markup.text(" ");
    markup.leaf("span", &[("class", "metric")], &series.metric);
    markup.text(" ");
    if let Some(verdict) = verdict {
        badge(markup, class(verdict.decision), verdict.decision.sign(), verdict.decision.words());
    }
    markup.end();
    let better = match series.direction {
        -1 => "lower is better",
        1 => "higher is better",
        _ => "for information",
    };
    let mut line = better.to_owned();
    if let Some(verdict) = verdict {
        let (base, cand) = (figure(verdict.base, &verdict.unit), figure(verdict.cand, &verdict.unit));
        let rel = change_within(verdict.rel, verdict.ci_low, verdict.ci_high);
        if [verdict.base, verdict.cand, verdict.rel].iter().any(Option::is_some) {
            line = format!("{base} → {cand}, change {rel}, + is worse; {better}");
        }
    }
    if let Some(place) = &series.source {
        line = format!("{line}; {}:{}", place.file, place.line);
    }
    markup.leaf("p", &[("class", "facts")], &line);
}

/// The promise about a series that is drawn: of this project first, about the median first.
fn promise<'a>(cut: &'a ReportData, series: &Series) -> Option<&'a TargetRow> {
    let mine = |target: &&TargetRow| {
        target.bench_id == series.bench_id && target.metric == series.metric && target.bound.is_finite()
    };
    let key =
        |target: &&TargetRow| (target.statistic != "median", target.kind != "ours", target.target_id.clone());
    cut.targets.iter().filter(mine).min_by_key(key)
}
