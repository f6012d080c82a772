//! The tables of the page: verdicts, promises, rates, noise, machine.

use super::super::data::{
    Decision, NoiseRow, Rate, RateKind, ReportData, Section, TargetRow, TargetStatus, Verdict,
};
use super::super::markup::Markup;
use super::super::number::{change, change_interval, figure, percent, probability};
use super::super::svg::{Span, interval};
use super::figures::anchor;
use super::section;

/// Opens a table that scrolls by itself where it is too wide; closed by [`table_end`].
pub(super) fn table_start(markup: &mut Markup, class: &str, columns: &[(&str, &str)]) {
    markup.start("div", &[("class", "wide")]);
    markup.start("table", &[("class", class)]);
    markup.start("thead", &[]);
    markup.start("tr", &[]);
    for (class, title) in columns {
        markup.leaf("th", &[("scope", "col"), ("class", class)], title);
    }
    markup.end();
    markup.end();
    markup.start("tbody", &[]);
}

/// Closes what [`table_start`] opened.
pub(super) fn table_end(markup: &mut Markup) {
    for _ in 0..3 {
        markup.end();
    }
    markup.line();
}

/// The class of the style sheet for a decision.
pub(super) fn class(decision: Decision) -> &'static str {
    match decision {
        Decision::Regression | Decision::Failure => "worse",
        Decision::CannotTell | Decision::Warning => "unknown",
        Decision::Improvement => "better",
        Decision::NoChange => "same",
    }
}

/// A word with its sign on a coloured ground.
pub(super) fn badge(markup: &mut Markup, class: &str, sign: &str, words: &str) {
    markup.leaf("span", &[("class", &format!("badge {class}"))], &format!("{sign} {words}"));
}

/// What the gates decided: changes first, unchanged benchmarks folded.
pub(super) fn verdicts(markup: &mut Markup, cut: &ReportData) {
    section(markup, cut, "verdicts", "What changed", Some(Section::Verdicts));
    let (same, moved): (Vec<&Verdict>, Vec<&Verdict>) =
        cut.verdicts.iter().partition(|verdict| verdict.decision == Decision::NoChange);
    if cut.verdicts.is_empty() {
        markup.leaf("p", &[("class", "none")], "No benchmark was judged in this run.");
    } else if moved.is_empty() {
        markup.leaf("p", &[("class", "none")], "No benchmark changed.");
    }
    let ends = cut.verdicts.iter().flat_map(|verdict| [verdict.rel, verdict.ci_low, verdict.ci_high]);
    let span = Span::over(ends.flatten());
    if !moved.is_empty() {
        verdict_table(markup, cut, &moved, span);
    }
    if !same.is_empty() {
        markup.start("details", &[]);
        markup.leaf("summary", &[], &super::plural(same.len(), "verdict", "without a change"));
        verdict_table(markup, cut, &same, span);
        markup.end();
    }
    markup.end();
}

fn verdict_table(markup: &mut Markup, cut: &ReportData, verdicts: &[&Verdict], span: Span) {
    let scale = format!("−{0:.0} % … +{0:.0} %", span.half_width() * 100.0);
    let columns = [
        ("", "verdict"),
        ("", "benchmark"),
        ("number", "change, + is worse"),
        ("scale", &scale),
        ("number", "base"),
        ("number", "candidate"),
        ("number", "q"),
        ("number", "pairs"),
        ("", "gate and reason"),
    ];
    table_start(markup, "verdicts", &columns);
    for verdict in verdicts {
        verdict_row(markup, cut, verdict, span);
    }
    table_end(markup);
}

fn verdict_row(markup: &mut Markup, cut: &ReportData, verdict: &Verdict, span: Span) {
    let class = class(verdict.decision);
    let number = |markup: &mut Markup, text: &str| markup.leaf("td", &[("class", "number")], text);
    markup.start("tr", &[]);
    markup.start("td", &[]);
    badge(markup, class, verdict.decision.sign(), verdict.decision.words());
    markup.end();
    markup.start("td", &[("class", "subject")]);
    subject(markup, cut, &verdict.bench_id, &verdict.metric, "");
    markup.end();
    markup.start("td", &[("class", &format!("number {class}"))]);
    markup.leaf("strong", &[], &change(verdict.rel));
    if verdict.ci_low.is_some() && verdict.ci_high.is_some() {
        markup.empty("br", &[]);
        markup.leaf("span", &[("class", "metric")], &change_interval(verdict.ci_low, verdict.ci_high));
    }
    markup.end();
    markup.start("td", &[("class", "scale")]);
    if let Some(rel) = verdict.rel {
        interval(markup, span, class, rel, verdict.ci_low.zip(verdict.ci_high));
    }
    markup.end();
    number(markup, &figure(verdict.base, &verdict.unit));
    number(markup, &figure(verdict.cand, &verdict.unit));
    markup.start("td", &[("class", "number"), ("title", &format!("p {}", probability(verdict.p)))]);
    markup.text(&probability(verdict.q));
    markup.end();
    markup.leaf("td", &[("class", "number pairs")], &pairs(verdict));
    markup.start("td", &[("class", "reason")]);
    markup.leaf("code", &[], &verdict.gate_id);
    if let Some(reason) = &verdict.reason {
        markup.text(" ");
        markup.text(reason);
    }
    markup.end();
    markup.end();
    markup.line();
}

/// Benchmark and metric, as a link to the charts if there are any; a statistic stands before the metric.
fn subject(markup: &mut Markup, cut: &ReportData, bench_id: &str, metric: &str, statistic: &str) {
    match anchor(cut, bench_id, metric) {
        Some(anchor) => {
            markup.start("a", &[("href", &format!("#{anchor}"))]);
            path(markup, bench_id);
            markup.end();
        }
        None => path(markup, bench_id),
    }
    markup.text(" ");
    markup.leaf("span", &[("class", "metric")], format!("{statistic} {metric}").trim_start());
}

/// A name that may break after its slashes.
fn path(markup: &mut Markup, name: &str) {
    for part in name.split_inclusive('/') {
        markup.text(part);
        if part.ends_with('/') {
            markup.empty("wbr", &[]);
        }
    }
}

/// How many pairs there were, and how many more would decide.
fn pairs(verdict: &Verdict) -> String {
    let had = verdict.pair_count.map_or_else(|| "–".to_owned(), |count| count.to_string());
    match verdict.missing_pairs().filter(|_| verdict.decision == Decision::CannotTell) {
        Some(missing) if missing > 0 => format!("{had}, {missing}\u{a0}more needed"),
        _ => had,
    }
}

/// Promises: those that were measured, and folded those that were not.
pub(super) fn targets(markup: &mut Markup, cut: &ReportData) {
    section(markup, cut, "targets", "Targets", Some(Section::Targets));
    let is_measured = |target: &&TargetRow| matches!(target.status, TargetStatus::Met | TargetStatus::NotMet);
    let (measured, missing): (Vec<&TargetRow>, Vec<&TargetRow>) = cut.targets.iter().partition(is_measured);
    if cut.targets.is_empty() {
        markup.leaf("p", &[("class", "none")], "No targets were given.");
    } else if measured.is_empty() {
        markup.leaf("p", &[("class", "none")], "None of the targets was measured on this machine.");
    }
    if !measured.is_empty() {
        target_table(markup, cut, &measured);
    }
    if !missing.is_empty() {
        markup.start("details", &[]);
        markup.leaf("summary", &[], &super::plural(missing.len(), "target", "not measured here or skipped"));
        target_table(markup, cut, &missing);
        markup.end();
    }
    markup.end();
}

fn target_table(markup: &mut Markup, cut: &ReportData, targets: &[&TargetRow]) {
    let columns = [
        ("", "metric"),
        ("number", "target"),
        ("number", "actual"),
        ("", "status"),
        ("", "benchmark"),
        ("", "promised by"),
    ];
    table_start(markup, "targets", &columns);
    for target in targets {
        let (class, sign) = match target.status {
            TargetStatus::NotMet => ("worse", "✗"),
            TargetStatus::Met => ("better", "✓"),
            TargetStatus::Skipped | TargetStatus::NotMeasuredHere => ("same", "–"),
        };
        markup.start("tr", &[]);
        markup.leaf("td", &[("class", "subject")], &target.target_id);
        markup.leaf("td", &[("class", "number")], &limit(target));
        markup.leaf("td", &[("class", "number")], &figure(target.actual, &target.unit));
        markup.start("td", &[]);
        badge(markup, class, sign, target.status.as_str());
        if let Some(reason) = &target.reason {
            markup.text(" ");
            markup.leaf("span", &[("class", "metric")], reason);
        }
        markup.end();
        markup.start("td", &[("class", "subject")]);
        subject(markup, cut, &target.bench_id, &target.metric, &target.statistic);
        markup.end();
        let by = if target.seed.is_empty() || target.seed == "none" { "this project" } else { &target.seed };
        let kind = if target.kind.is_empty() { String::new() } else { format!(" ({})", target.kind) };
        markup.leaf("td", &[], &format!("{by}{kind}"));
        markup.end();
        markup.line();
    }
    table_end(markup);
}

/// A promise as `≤ 5.00 ms`.
pub(in crate::report) fn limit(target: &TargetRow) -> String {
    let op = match target.op.as_str() {
        "<=" => "≤",
        ">=" => "≥",
        other => other,
    };
    format!("{op} {}", figure(Some(target.bound), &target.unit))
}

/// How often the gate is wrong and how often it finds what is there.
pub(super) fn rates(markup: &mut Markup, cut: &ReportData) {
    section(markup, cut, "rates", "How far this gate can be trusted", Some(Section::Rates));
    let has = |kind| cut.rates.iter().any(|rate| rate.kind == kind && rate.total > 0);
    if !has(RateKind::FalseAlarm) {
        markup.leaf(
            "p",
            &[("class", "none")],
            "The false-alarm rate was not measured in this history; promptc bench aa measures it.",
        );
    }
    if !has(RateKind::Power) {
        markup.leaf(
            "p",
            &[("class", "none")],
            "The power was not measured in this history; promptc bench aa with --inject measures it.",
        );
    }
    if cut.rates.is_empty() {
        markup.end();
        return;
    }
    let columns = [
        ("", "property"),
        ("number", "counted"),
        ("number", "share"),
        ("number", "95 % interval"),
        ("number", "bar"),
        ("", "status"),
        ("", "of what"),
    ];
    table_start(markup, "rates", &columns);
    for rate in &cut.rates {
        rate_row(markup, rate);
    }
    table_end(markup);
    markup.end();
}

fn rate_row(markup: &mut Markup, rate: &Rate) {
    let number = |markup: &mut Markup, text: &str| markup.leaf("td", &[("class", "number")], text);
    let share = (rate.total > 0).then(|| rate.count as f64 / rate.total as f64);
    let (what, op) = match rate.kind {
        RateKind::FalseAlarm => ("false alarms".to_owned(), "≤"),
        RateKind::Power => (format!("finds a slow-down of {}", change(rate.injected_rel)), "≥"),
    };
    markup.start("tr", &[]);
    markup.leaf("td", &[("class", "property")], &what);
    number(markup, &format!("{} of {}", rate.count, rate.total));
    number(markup, &percent(share));
    let ends = rate
        .low
        .zip(rate.high)
        .map(|(low, high)| format!("{} to {}", percent(Some(low)), percent(Some(high))));
    number(markup, ends.as_deref().unwrap_or("–"));
    number(markup, &rate.bar.map_or_else(|| "–".to_owned(), |bar| format!("{op} {}", percent(Some(bar)))));
    markup.start("td", &[]);
    if let Some((class, sign, words)) = rate_status(rate, share) {
        badge(markup, class, sign, words);
    }
    markup.end();
    markup.leaf("td", &[], &rate.note);
    markup.end();
    markup.line();
}

/// Whether the share keeps its bar, and whether there were enough runs to be sure of it.
fn rate_status(rate: &Rate, share: Option<f64>) -> Option<(&'static str, &'static str, &'static str)> {
    let (bar, share) = (rate.bar?, share?);
    let (is_within, is_sure) = match rate.kind {
        RateKind::FalseAlarm => (share <= bar, rate.high.is_some_and(|high| high <= bar)),
        RateKind::Power => (share >= bar, rate.low.is_some_and(|low| low >= bar)),
    };
    Some(match (is_within, is_sure) {
        (true, true) => ("better", "✓", "met"),
        (true, false) => ("unknown", "?", "met so far, too few runs to be sure"),
        (false, _) => ("worse", "✗", "not met"),
    })
}

/// Which benchmarks can be trusted on this machine.
pub(super) fn noise(markup: &mut Markup, cut: &ReportData) {
    section(markup, cut, "noise", "Noise on this machine", Some(Section::Noise));
    if cut.noise.is_empty() {
        markup.leaf("p", &[("class", "none")], "There are no runs to judge the noise by.");
        markup.end();
        return;
    }
    let columns = [
        ("", "benchmark"),
        ("number", "runs"),
        ("number", "between runs"),
        ("number", "within a run"),
        ("number", "load"),
        ("number", "stolen"),
        ("", "state"),
    ];
    table_start(markup, "noise", &columns);
    for row in &cut.noise {
        noise_row(markup, cut, row);
    }
    table_end(markup);
    markup.end();
}

fn noise_row(markup: &mut Markup, cut: &ReportData, row: &NoiseRow) {
    let number = |markup: &mut Markup, text: &str| markup.leaf("td", &[("class", "number")], text);
    markup.start("tr", &[]);
    markup.start("td", &[("class", "subject")]);
    subject(markup, cut, &row.bench_id, &row.metric, "");
    markup.end();
    number(markup, &row.run_count.to_string());
    number(markup, &percent(row.between_run_cv));
    number(markup, &percent(row.within_run_cv));
    number(markup, &figure(row.load1, ""));
    number(markup, &figure(row.steal_ms, "ms"));
    markup.start("td", &[]);
    let (class, sign) = match row.state.as_str() {
        "stable" => ("better", "✓"),
        "unstable" => ("worse", "✗"),
        _ => ("unknown", "?"),
    };
    badge(markup, class, sign, &row.state);
    markup.end();
    markup.end();
    markup.line();
}

/// The machine and the build.
pub(super) fn environment(markup: &mut Markup, cut: &ReportData) {
    section(markup, cut, "environment", "Machine and build", Some(Section::Environment));
    if cut.run.env.is_empty() {
        markup.leaf("p", &[("class", "none")], "Nothing is known about the environment.");
    } else {
        markup.start("dl", &[]);
        for (name, value) in &cut.run.env {
            markup.start("div", &[]);
            markup.leaf("dt", &[], name);
            let size = name.ends_with("_bytes").then(|| value.parse().ok()).flatten();
            let shown = size.map_or_else(|| value.clone(), |size| figure(Some(size), "bytes"));
            markup.leaf("dd", &[], if shown.is_empty() { "–" } else { &shown });
            markup.end();
        }
        markup.end();
    }
    markup.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_met_only_when_its_interval_is() {
        let rate = |kind, count, total, low, high, bar| Rate {
            kind,
            count,
            total,
            low: Some(low),
            high: Some(high),
            bar: Some(bar),
            ..Rate::default()
        };
        let word = |rate: &Rate| {
            let share = (rate.total > 0).then(|| rate.count as f64 / rate.total as f64);
            rate_status(rate, share).map(|(_, _, words)| words)
        };
        assert_eq!(word(&rate(RateKind::FalseAlarm, 0, 1000, 0.0, 0.004, 0.01)), Some("met"));
        let unsure = "met so far, too few runs to be sure";
        assert_eq!(word(&rate(RateKind::FalseAlarm, 0, 100, 0.0, 0.037, 0.01)), Some(unsure));
        assert_eq!(word(&rate(RateKind::FalseAlarm, 5, 100, 0.02, 0.11, 0.01)), Some("not met"));
        assert_eq!(word(&rate(RateKind::Power, 99, 100, 0.94, 0.99, 0.95)), Some(unsure));
        assert_eq!(word(&rate(RateKind::Power, 90, 100, 0.82, 0.94, 0.95)), Some("not met"));
        assert_eq!(word(&rate(RateKind::Power, 0, 0, 0.0, 1.0, 0.95)), None);
    }

    #[test]
    fn pairs_still_needed_are_said_of_the_undecided_alone() {
        let verdict = Verdict { needed_pairs: Some(60), pair_count: Some(20), ..Verdict::default() };
        assert_eq!(pairs(&verdict), "20, 40\u{a0}more needed");
        assert_eq!(pairs(&Verdict { decision: Decision::NoChange, ..verdict }), "20");
        assert_eq!(pairs(&Verdict::default()), "–");
    }
}
