//! Qualities of the run beside each other: the arms of an evaluation with their intervals.

use std::collections::BTreeMap;

use super::super::data::{Estimate, ReportData, Series};
use super::super::markup::Markup;
use super::super::svg::{ForestRow, clipped, forest};
use super::{plural, section};

/// Fewest values of a drawing: one alone has its own chart.
const ROWS_MIN: usize = 2;
/// Most rows of a drawing.
const ROWS_MAX: usize = 40;
/// Longest name of a benchmark.
const TITLE_CHARS_MAX: usize = 120;
/// Most drawings of a page.
const FIGURES_MAX: usize = 16;

/// A figure for each benchmark whose metrics are means over rows. Nothing without such.
pub(super) fn quality(markup: &mut Markup, data: &ReportData) {
    let groups = groups(data);
    if groups.is_empty() {
        return;
    }
    section(markup, data, "quality", "Quality", None);
    markup.leaf(
        "p",
        &[("class", "facts")],
        "Means over the rows of an evaluation. An interval says how much of a value is the choice of these rows: drawn again from the \
         same kind of rows (bootstrap, 2,000 times), 95 of 100 values would lie in it. It knows nothing of rows of another kind, and \
         two intervals that overlap may still belong to arms that differ row by row: a metric of the difference shows that.",
    );
    let left_out = groups.len().saturating_sub(FIGURES_MAX);
    for ((bench_id, unit), rows) in groups.into_iter().take(FIGURES_MAX) {
        markup.start("article", &[]);
        markup.leaf("h3", &[], &clipped(bench_id, TITLE_CHARS_MAX));
        markup.start("figure", &[]);
        forest(markup, &clipped(bench_id, TITLE_CHARS_MAX), unit, &rows);
        markup.end();
        markup.end();
        markup.line();
    }
    if left_out > 0 {
        markup.leaf("p", &[("class", "none")], &plural(left_out, "further benchmark", "left out."));
    }
    markup.end();
}

/// Whether there is something to draw.
pub(super) fn has_quality(data: &ReportData) -> bool {
    !groups(data).is_empty()
}

/// Benchmarks and units with their rows.
fn groups(data: &ReportData) -> BTreeMap<(&str, &str), Vec<ForestRow<'_>>> {
    let mut groups: BTreeMap<(&str, &str), Vec<ForestRow<'_>>> = BTreeMap::new();
    for series in &data.series {
        if let Some(row) = row(series) {
            groups.entry((series.bench_id.as_str(), series.unit.as_str())).or_default().push(row);
        }
    }
    groups.retain(|_, rows| rows.len() >= ROWS_MIN);
    groups.values_mut().for_each(|rows| rows.truncate(ROWS_MAX));
    groups
}

/// What the run found, if it has an interval: whether or not the run may ever be compared with others.
fn row(series: &Series) -> Option<ForestRow<'_>> {
    let Estimate { value, low, high } = series.estimate?;
    let is_quality = matches!(series.unit.as_str(), "ratio" | "share");
    let is_finite = [value, low, high].iter().all(|number| number.is_finite());
    (is_quality && is_finite).then_some(ForestRow { name: &series.metric, value, ends: (low, high) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_of_a_run_outside_a_repository_are_drawn_with_what_the_run_found() {
        let series = |metric: &str, value: f64| Series {
            bench_id: "retrieval/arms/found".to_owned(),
            metric: metric.to_owned(),
            unit: "ratio".to_owned(),
            estimate: Some(Estimate { value, low: value - 0.01, high: value + 0.01 }),
            ..Series::default()
        };
        let unsure = Series { estimate: None, ..series("unsure", 0.5) };
        let data = ReportData {
            series: vec![series("words", 0.685), series("both", 0.728), series("broken", f64::NAN), unsure],
            ..ReportData::default()
        };
        let groups = groups(&data);
        let rows = &groups[&("retrieval/arms/found", "ratio")];
        let drawn: Vec<(&str, f64)> = rows.iter().map(|row| (row.name, row.value)).collect();
        assert_eq!(drawn, [("words", 0.685), ("both", 0.728)]);
    }
}
