//! How much of the data one page holds, and what is said of the rest.
//!
//! A page stays below [`PAGE_BYTES_MAX`]: the data is cut to [`Bounds::FULL`], and to half of every bound again while the
//! page made of it is too large. Each cut is a sentence for the reader; none is silent.

use super::data::{HistoryPoint, ReportData, Series};
use super::number::grouped;
use super::rank;

/// Largest page, in bytes: what a mail or a code host still shows.
pub(super) const PAGE_BYTES_MAX: usize = 3 << 20;

/// Characters of a commit's name in a history.
const SHA_CHARS: usize = 12;

/// Characters of a parameter's name.
const NAME_CHARS: usize = 64;

/// Characters of a unit or comparison, which stand where lines do not break.
const UNIT_CHARS: usize = 16;

/// How much of each kind one page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Benchmarks with charts: more than anybody looks at one by one.
    pub(super) series: usize,
    /// Points of one history: one per two pixels of the chart.
    pub(super) points: usize,
    /// Samples of one side: above, density and steps do not change to the eye.
    pub(super) samples: usize,
    /// Rows of one table.
    pub(super) rows: usize,
    /// Characters of one text; of a query ten times as many.
    pub(super) text_chars: usize,
}

impl Bounds {
    /// Where every page begins.
    pub(super) const FULL: Bounds =
        Bounds { series: 40, points: 300, samples: 300, rows: 1000, text_chars: 4000 };

    /// No page is cut below this, and a page of this is within [`PAGE_BYTES_MAX`] whatever the texts are.
    const LEAST: Bounds = Bounds { series: 1, points: 8, samples: 8, rows: 8, text_chars: 64 };

    /// Half of everything; none if nothing is left to halve.
    pub(super) fn halved(self) -> Option<Self> {
        let half = Bounds {
            series: (self.series / 2).max(Self::LEAST.series),
            points: (self.points / 2).max(Self::LEAST.points),
            samples: (self.samples / 2).max(Self::LEAST.samples),
            rows: (self.rows / 2).max(Self::LEAST.rows),
            text_chars: (self.text_chars / 2).max(Self::LEAST.text_chars),
        };
        (half != self).then_some(half)
    }
}

/// The data within bounds, in the order of the report, and what was left out in words.
pub(super) fn bounded(data: &ReportData, bounds: Bounds) -> (ReportData, Vec<String>) {
    let mut left_out = Vec::new();
    // Histories are most of the data, so that only those that stay are copied.
    let mut series = rank::series_in_order(data);
    shorten(&mut series, bounds.series, "benchmarks have charts, the gravest first", &mut left_out);
    let mut cut = ReportData {
        run: data.run.clone(),
        targets: data.targets.clone(),
        verdicts: rank::in_order(&data.verdicts).into_iter().cloned().collect(),
        gates: data.gates.clone(),
        series: series.into_iter().cloned().collect(),
        noise: data.noise.clone(),
        rates: data.rates.clone(),
        queries: data.queries.clone(),
        notes: data.notes.clone(),
    };
    cut.targets.sort_by(|a, b| (a.status, &a.target_id).cmp(&(b.status, &b.target_id)));
    shorten(&mut cut.verdicts, bounds.rows, "verdicts are listed, the gravest first", &mut left_out);
    shorten(&mut cut.targets, bounds.rows, "targets are listed, those not met first", &mut left_out);
    shorten(&mut cut.noise, bounds.rows, "rows of noise are listed", &mut left_out);
    shorten(&mut cut.gates, bounds.rows, "gates are listed", &mut left_out);
    shorten(&mut cut.queries, bounds.rows, "queries are listed", &mut left_out);
    shorten(&mut cut.rates, bounds.rows, "rates are listed", &mut left_out);
    shorten(&mut cut.notes, bounds.rows, "remarks are listed", &mut left_out);
    shorten(&mut cut.run.env, bounds.rows, "facts of the environment are listed", &mut left_out);
    let mut thinned = Thinned::default();
    for series in &mut cut.series {
        thinned.take(series, bounds);
    }
    thinned.tell(bounds, &mut left_out);
    let clipped_count = clip_texts(&mut cut, bounds.text_chars);
    if clipped_count > 0 {
        left_out
            .push(format!("the ends of {} long texts, each marked with …", grouped(clipped_count as i64)));
    }
    (cut, left_out)
}

fn shorten<T>(rows: &mut Vec<T>, row_max: usize, what: &str, left_out: &mut Vec<String>) {
    if rows.len() > row_max {
        left_out.push(format!("{} of {} {what}", grouped(row_max as i64), grouped(rows.len() as i64)));
        rows.truncate(row_max);
    }
}

/// Counts of what charts do not show.
#[derive(Debug, Default)]
struct Thinned {
    long_histories: usize,
    long_sides: usize,
    values_not_finite: usize,
}

impl Thinned {
    fn take(&mut self, series: &mut Series, bounds: Bounds) {
        let is_measured = |value: Option<f64>| value.is_some_and(f64::is_finite);
        let before = series.history.len() + series.base.len() + series.cand.len();
        series.history.retain(|point| is_measured(point.value));
        series.base.retain(|value| value.is_finite());
        series.cand.retain(|value| value.is_finite());
        self.values_not_finite += before - series.history.len() - series.base.len() - series.cand.len();
        let order = |point: &HistoryPoint| (point.commit_seq, point.commit_time);
        series.history.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.sha.cmp(&b.sha)));
        if series.history.len() > bounds.points {
            self.long_histories += 1;
            series.history = thin_history(&series.history, bounds.points);
        }
        for point in &mut series.history {
            point.sha = sha_prefix(&point.sha).to_owned();
        }
        for side in [&mut series.base, &mut series.cand] {
            if side.len() > bounds.samples {
                self.long_sides += 1;
                *side = thin_samples(side, bounds.samples);
            }
        }
    }

    fn tell(&self, bounds: Bounds, left_out: &mut Vec<String>) {
        if self.long_histories > 0 {
            left_out.push(format!(
                "{} long histories are drawn with at most {} points: the lowest and the highest of each stretch, and \
                 change points",
                grouped(self.long_histories as i64),
                bounds.points
            ));
        }
        if self.long_sides > 0 {
            left_out.push(format!(
                "{} large sets of samples are drawn by {} of their quantiles",
                grouped(self.long_sides as i64),
                bounds.samples
            ));
        }
        if self.values_not_finite > 0 {
            left_out.push(format!(
                "{} values that are missing or not finite are not drawn",
                grouped(self.values_not_finite as i64)
            ));
        }
    }
}

/// As much of a commit's name as no two commits share; it is most of the bytes of a history.
fn sha_prefix(sha: &str) -> &str {
    sha.char_indices().nth(SHA_CHARS).map_or(sha, |(end, _)| &sha[..end])
}

/// At most so many points that keep the outline: both ends, change points, and of each stretch the extremes.
fn thin_history(points: &[HistoryPoint], point_max: usize) -> Vec<HistoryPoint> {
    let value = |idx: &usize| points[*idx].value.unwrap_or_default();
    let mut kept: Vec<usize> = vec![0, points.len() - 1];
    kept.extend((0..points.len()).filter(|idx| points[*idx].is_change_point).take(point_max / 2));
    let stretch_count = (point_max.saturating_sub(kept.len()) / 2).max(1);
    for stretch in 0..stretch_count {
        let range = stretch * points.len() / stretch_count..(stretch + 1) * points.len() / stretch_count;
        kept.extend(range.clone().min_by(|a, b| value(a).total_cmp(&value(b))));
        kept.extend(range.max_by(|a, b| value(a).total_cmp(&value(b))));
    }
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|idx| points[idx].clone()).collect()
}

/// Order statistics at even steps, both extremes among them.
fn thin_samples(values: &[f64], sample_max: usize) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    (0..sample_max).map(|idx| sorted[idx * last / (sample_max - 1).max(1)]).collect()
}

/// Cuts every text of the data and counts the cut ones.
fn clip_texts(data: &mut ReportData, char_max: usize) -> usize {
    let mut texts: Vec<(&mut String, usize)> = Vec::new();
    let run = &mut data.run;
    texts.extend([&mut run.id, &mut run.version, &mut run.env_id].map(|text| (text, char_max)));
    texts.extend([&mut run.git.sha, &mut run.git.branch].map(|text| (text, char_max)));
    let options = [&mut run.git.tag, &mut run.base_sha, &mut run.pull_request];
    texts.extend(options.into_iter().flatten().map(|text| (text, char_max)));
    texts.extend(run.env.iter_mut().flat_map(|(name, value)| [(name, char_max), (value, char_max)]));
    texts.extend(data.notes.iter_mut().map(|text| (text, char_max)));
    for target in &mut data.targets {
        let names = [&mut target.target_id, &mut target.seed, &mut target.kind, &mut target.bench_id];
        texts.extend([&mut target.op, &mut target.unit].map(|text| (text, UNIT_CHARS)));
        let details = [&mut target.metric, &mut target.statistic];
        let all = names.into_iter().chain(details).chain(&mut target.reason);
        texts.extend(all.map(|text| (text, char_max)));
    }
    for verdict in &mut data.verdicts {
        texts.push((&mut verdict.unit, UNIT_CHARS));
        let names = [&mut verdict.gate_id, &mut verdict.bench_id, &mut verdict.metric];
        texts.extend(names.into_iter().chain(&mut verdict.reason).map(|text| (text, char_max)));
    }
    for gate in &mut data.gates {
        let names = [&mut gate.id, &mut gate.message, &mut gate.why];
        texts.extend(names.into_iter().chain(&mut gate.file).map(|text| (text, char_max)));
        texts.push((&mut gate.sql, 10 * char_max));
        texts.extend(
            gate.parameters.iter_mut().flat_map(|(name, value)| [(name, NAME_CHARS), (value, char_max)]),
        );
    }
    for query in &mut data.queries {
        texts.extend([&mut query.name, &mut query.question].map(|text| (text, char_max)));
        texts.push((&mut query.sql, 10 * char_max));
        texts.extend(
            query.parameters.iter_mut().flat_map(|(name, value)| [(name, NAME_CHARS), (value, char_max)]),
        );
    }
    for series in &mut data.series {
        texts.push((&mut series.unit, UNIT_CHARS));
        let names = [&mut series.bench_id, &mut series.metric];
        texts.extend(
            names
                .into_iter()
                .chain(series.source.as_mut().map(|place| &mut place.file))
                .map(|text| (text, char_max)),
        );
    }
    for row in &mut data.noise {
        texts.extend([&mut row.bench_id, &mut row.metric, &mut row.state].map(|text| (text, char_max)));
    }
    texts.extend(data.rates.iter_mut().map(|rate| (&mut rate.note, char_max)));
    texts.into_iter().filter_map(|(text, char_max)| clip(text, char_max)).count()
}

/// Cuts a text that has more characters; some if it was cut.
fn clip(text: &mut String, char_max: usize) -> Option<()> {
    let (end, _) = text.char_indices().nth(char_max)?;
    text.truncate(end);
    text.push('…');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(count: u32) -> Vec<HistoryPoint> {
        let point = |idx: u32| HistoryPoint {
            commit_seq: idx,
            value: Some(if idx == 4321 { 9000.0 } else { f64::from(idx % 7) }),
            is_change_point: idx == 5000,
            ..HistoryPoint::default()
        };
        (0..count).map(point).collect()
    }

    #[test]
    fn a_thin_history_keeps_ends_extremes_and_changes() {
        let thin = thin_history(&points(10_000), 100);
        assert!(thin.len() <= 100, "{}", thin.len());
        assert!(thin.len() > 60, "{}", thin.len());
        for kept in [0, 4321, 5000, 9999] {
            assert!(thin.iter().any(|point| point.commit_seq == kept), "{kept}");
        }
        assert!(thin.is_sorted_by_key(|point| point.commit_seq));
    }

    #[test]
    fn thin_samples_keep_both_ends() {
        let values: Vec<f64> = (0..1000).rev().map(f64::from).collect();
        let thin = thin_samples(&values, 5);
        assert_eq!(thin, [0.0, 249.0, 499.0, 749.0, 999.0]);
    }

    #[test]
    fn every_cut_is_told() {
        let series = Series {
            history: points(10_000),
            base: vec![1.0, f64::NAN, f64::INFINITY],
            cand: (0..1000).map(f64::from).collect(),
            ..Series::default()
        };
        let data = ReportData {
            series: vec![series; 3],
            notes: vec!["x".repeat(70), "é".repeat(64)],
            ..ReportData::default()
        };
        let bounds = Bounds { series: 2, points: 100, samples: 50, rows: 8, text_chars: 64 };
        let (cut, left_out) = bounded(&data, bounds);
        assert_eq!(
            left_out,
            [
                "2 of 3 benchmarks have charts, the gravest first",
                "2 long histories are drawn with at most 100 points: the lowest and the highest of each stretch, and \
                 change points",
                "2 large sets of samples are drawn by 50 of their quantiles",
                "4 values that are missing or not finite are not drawn",
                "the ends of 1 long texts, each marked with …",
            ]
        );
        assert_eq!(cut.series[0].base, [1.0]);
        assert_eq!(cut.notes[0].chars().count(), 65);
        assert_eq!(cut.notes[1], "é".repeat(64));
    }

    #[test]
    fn halving_ends() {
        let mut steps = 0;
        let mut bounds = Bounds::FULL;
        while let Some(half) = bounds.halved() {
            bounds = half;
            steps += 1;
        }
        assert!(steps < 12, "{steps}");
        assert_eq!(bounds, Bounds::LEAST);
    }
}
