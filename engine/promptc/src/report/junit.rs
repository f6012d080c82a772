//! JUnit XML: a suite per gate, a case per benchmark and metric that it judged.
//!
//! A regression is a `failure` where the gate's severity is error, and text otherwise; what is undecided is `skipped`, which
//! no reader counts as passed; a gate that could not run is an `error`.

use super::data::{Decision, Gate, GateOutcome, ReportData, Severity, Verdict};
use super::markup::Markup;
use super::number::{Utc, change, change_within, figure};
use super::rank;

/// How a case ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Passed,
    Failed,
    Error,
    Skipped,
}

/// One case of a suite.
struct Case {
    name: String,
    end: End,
    message: String,
    detail: String,
}

/// The file, ending in a line break. Deterministic.
pub(crate) fn junit(data: &ReportData) -> String {
    let suites: Vec<(&Gate, Vec<Case>)> = data.gates.iter().map(|gate| (gate, cases(data, gate))).collect();
    let count = |end| suites.iter().flat_map(|(_, cases)| cases).filter(|case| case.end == end).count();
    let total: usize = suites.iter().map(|(_, cases)| cases.len()).sum();
    let mut markup = Markup::new();
    markup.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    markup.start(
        "testsuites",
        &[
            ("name", "promptc gate"),
            ("tests", &total.to_string()),
            ("failures", &count(End::Failed).to_string()),
            ("errors", &count(End::Error).to_string()),
            ("skipped", &count(End::Skipped).to_string()),
        ],
    );
    markup.line();
    for (gate, cases) in &suites {
        suite(&mut markup, data, gate, cases);
    }
    markup.end();
    markup.line();
    markup.finish()
}

/// The cases of a gate; one for the gate itself if it judged nothing or could not run.
fn cases(data: &ReportData, gate: &Gate) -> Vec<Case> {
    let mine = rank::in_order(&data.verdicts).into_iter().filter(|verdict| verdict.gate_id == gate.id);
    let mut cases: Vec<Case> = mine.map(|verdict| case(gate, verdict)).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    let is_covered = |end| cases.iter().any(|case| case.end == end);
    let whole = match (gate.outcome, gate.severity) {
        (GateOutcome::NotRun, _) => Some(End::Error),
        (GateOutcome::Failed, Severity::Error) if !is_covered(End::Failed) => Some(End::Failed),
        (GateOutcome::Undecided, _) if !is_covered(End::Skipped) => Some(End::Skipped),
        _ if cases.is_empty() => Some(End::Passed),
        _ => None,
    };
    if let Some(end) = whole {
        let (name, message) = ("the gate as a whole".to_owned(), gate.message.clone());
        cases.insert(0, Case { name, end, message, detail: gate.why.clone() });
    }
    cases
}

fn case(gate: &Gate, verdict: &Verdict) -> Case {
    let end = match (verdict.is_failure(), gate.severity) {
        (true, Severity::Error) => End::Failed,
        _ if verdict.decision == Decision::CannotTell => End::Skipped,
        _ => End::Passed,
    };
    let words = verdict.decision.words();
    let missing = verdict.missing_pairs().filter(|missing| *missing > 0 && end == End::Skipped);
    let wait = missing.map_or_else(String::new, |missing| format!(", {missing} more pairs needed"));
    let figures = format!(
        "base {}, candidate {}, change {}, positive is worse",
        figure(verdict.base, &verdict.unit),
        figure(verdict.cand, &verdict.unit),
        change_within(verdict.rel, verdict.ci_low, verdict.ci_high),
    );
    let has_figures = [verdict.base, verdict.cand, verdict.rel].iter().any(Option::is_some);
    let lines: Vec<&str> =
        has_figures.then_some(figures.as_str()).into_iter().chain(verdict.reason.as_deref()).collect();
    let what = match (verdict.rel, &verdict.reason) {
        (None, Some(reason)) => format!("{words}: {reason}"),
        _ => format!("{words} {}", change(verdict.rel)),
    };
    Case {
        name: format!("{} {}", verdict.bench_id, verdict.metric),
        end,
        message: format!("{what}{wait}"),
        detail: lines.join("\n"),
    }
}

fn suite(markup: &mut Markup, data: &ReportData, gate: &Gate, cases: &[Case]) {
    let count = |end| cases.iter().filter(|case| case.end == end).count().to_string();
    markup.start(
        "testsuite",
        &[
            ("name", &gate.id),
            ("tests", &cases.len().to_string()),
            ("failures", &count(End::Failed)),
            ("errors", &count(End::Error)),
            ("skipped", &count(End::Skipped)),
            ("timestamp", &Utc::of(data.run.started_at).iso()),
        ],
    );
    markup.line();
    markup.start("properties", &[]);
    let severity = gate.severity.as_str().to_owned();
    let run = [
        ("run", &data.run.id),
        ("commit", &data.run.git.sha),
        ("env_id", &data.run.env_id),
        ("severity", &severity),
    ];
    for (name, value) in run {
        markup.empty("property", &[("name", name), ("value", value)]);
    }
    markup.end();
    markup.line();
    for case in cases {
        markup.start("testcase", &[("classname", &gate.id), ("name", &case.name)]);
        match case.end {
            End::Passed => markup.leaf("system-out", &[], &format!("{}\n{}", case.message, case.detail)),
            End::Failed => {
                markup.leaf("failure", &[("message", &case.message), ("type", "regression")], &case.detail)
            }
            End::Error => markup.leaf("error", &[("message", &case.message), ("type", "gate")], &case.detail),
            End::Skipped => markup.empty("skipped", &[("message", &case.message)]),
        }
        markup.end();
        markup.line();
    }
    markup.end();
    markup.line();
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn one_case_per_gate_and_benchmark() {
        let text = junit(&sample::data());
        insta::assert_snapshot!(text, @r##"
<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="promptc gate" tests="5" failures="1" errors="0" skipped="1">
<testsuite name="paired" tests="4" failures="1" errors="0" skipped="1" timestamp="2026-07-14T13:05:09">
<properties><property name="run" value="01JZX3N5E8QK4T7W9YB2CDFGHJ"/><property name="commit" value="3f2a1b9c4d5e6f708192a3b4c5d6e7f801234567"/><property name="env_id" value="5f0c1d2e3a4b59687766554433221100"/><property name="severity" value="error"/></properties>
<testcase classname="paired" name="compile/check/200_lines wall_ns"><failure message="regression +12.3 %" type="regression">base 4.20 ms, candidate 4.72 ms, change +12.3 % (+9.9 to +14.7 %), positive is worse</failure></testcase>
<testcase classname="paired" name="compression/mixed/0.5 throughput"><system-out>improvement −18.2 %
base 582 MiB/s, candidate 688 MiB/s, change −18.2 % (−20.2 to −16.2 %), positive is worse</system-out></testcase>
<testcase classname="paired" name="embedding/static/32 wall_ns"><system-out>no change +0.4 %
base 1.60 ms, candidate 1.61 ms, change +0.4 % (−0.8 to +1.6 %), positive is worse</system-out></testcase>
<testcase classname="paired" name="storage/single_write/1kb wall_ns"><skipped message="cannot tell +3.1 %, 40 more pairs needed"/></testcase>
</testsuite>
<testsuite name="quality_floor" tests="1" failures="0" errors="0" skipped="0" timestamp="2026-07-14T13:05:09">
<properties><property name="run" value="01JZX3N5E8QK4T7W9YB2CDFGHJ"/><property name="commit" value="3f2a1b9c4d5e6f708192a3b4c5d6e7f801234567"/><property name="env_id" value="5f0c1d2e3a4b59687766554433221100"/><property name="severity" value="error"/></properties>
<testcase classname="quality_floor" name="the gate as a whole"><system-out>no failures
quality is below its floor, whatever the speed</system-out></testcase>
</testsuite>
</testsuites>
"##);
    }

    #[test]
    fn warnings_pass_and_say_so_and_missing_figures_are_not_dashes() {
        let mut data = sample::data();
        let reason = Some("no rate was measured".to_owned());
        for verdict in &mut data.verdicts {
            let (base, cand, rel) = (None, None, None);
            *verdict = Verdict {
                decision: Decision::Warning,
                reason: reason.clone(),
                base,
                cand,
                rel,
                ..verdict.clone()
            };
        }
        data.gates[0].outcome = GateOutcome::Passed;
        let text = junit(&data);
        assert!(text.contains("failures=\"0\"") && !text.contains("base –"), "{text}");
        assert!(text.contains("<system-out>warning: no rate was measured"), "{text}");
    }

    #[test]
    fn hostile_names_stay_attributes() {
        let text = junit(&sample::hostile());
        assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
        assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{text}");
    }

    #[test]
    fn a_gate_that_could_not_run_or_failed_without_rows_never_passes() {
        let gate = |outcome, severity| Gate { id: "g".to_owned(), outcome, severity, ..Gate::default() };
        let ends = |gate: Gate| -> Vec<End> {
            cases(&ReportData::default(), &gate).iter().map(|case| case.end).collect()
        };
        assert_eq!(ends(gate(GateOutcome::NotRun, Severity::Warn)), [End::Error]);
        assert_eq!(ends(gate(GateOutcome::Failed, Severity::Error)), [End::Failed]);
        assert_eq!(ends(gate(GateOutcome::Undecided, Severity::Error)), [End::Skipped]);
        assert_eq!(ends(gate(GateOutcome::Passed, Severity::Error)), [End::Passed]);
        assert!(junit(&ReportData::default()).contains("tests=\"0\""));
    }
}
