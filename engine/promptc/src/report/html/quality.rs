//! Qualities of the run beside each other: the arms of an evaluation with their intervals.

use std::collections::BTreeMap;

use super::super::data::{ReportData, Series};
use super::super::markup::Markup;
use super::super::svg::{ForestRow, forest};
use super::section;

/// Fewest values of a drawing: one alone has its own chart.
const ROWS_MIN: usize = 2;

/// A figure for each benchmark whose metrics are means over rows. Nothing without such.
pub(super) fn quality(markup: &mut Markup, cut: &ReportData) {
    let mut groups: BTreeMap<(&str, &str), Vec<ForestRow<'_>>> = BTreeMap::new();
    for series in &cut.series {
        if let Some(row) = row(series) {
            groups.entry((series.bench_id.as_str(), series.unit.as_str())).or_default().push(row);
        }
    }
    groups.retain(|_, rows| rows.len() >= ROWS_MIN);
    if groups.is_empty() {
        return;
    }
    section(markup, cut, "quality", "Quality", None);
    markup.leaf(
        "p",
        &[("class", "facts")],
        "Means over the rows of an evaluation. An interval says how much of a value is the choice of these rows: drawn again from the \
         same kind of rows (bootstrap, 2,000 times), 95 of 100 values would lie in it. It knows nothing of rows of another kind, and \
         two intervals that overlap may still belong to arms that differ row by row: a metric of the difference shows that.",
    );
    for ((bench_id, unit), rows) in groups {
        markup.start("article", &[]);
        markup.leaf("h3", &[], bench_id);
        markup.start("figure", &[]);
        forest(markup, bench_id, unit, &rows);
        markup.end();
        markup.end();
        markup.line();
    }
    markup.end();
}

/// The newest value of a series, if it has an interval.
fn row(series: &Series) -> Option<ForestRow<'_>> {
    let last = series.history.last()?;
    let (value, low, high) = (last.value?, last.ci_low?, last.ci_high?);
    let is_quality = matches!(series.unit.as_str(), "ratio" | "share");
    let is_finite = [value, low, high].iter().all(|number| number.is_finite());
    (is_quality && is_finite).then_some(ForestRow { name: &series.metric, value, ends: (low, high) })
}
