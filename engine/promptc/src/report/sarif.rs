//! SARIF 2.1.0: a rule per gate, a result per failure, at the line where the benchmark is written.
//!
//! Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0". What is undecided is a result of kind
//! `open`, what did not change is left out, a gate that could not run is a notification and makes the run unsuccessful.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::data::{Decision, Gate, GateOutcome, Place, ReportData, Severity, Verdict};
use super::markup::visible;
use super::number::{change_within, figure};
use super::rank;

/// Most results of one run that code hosts take.
const RESULT_COUNT_MAX: usize = 5000;

/// The log, ending in a line break. Deterministic.
pub(crate) fn sarif(data: &ReportData) -> String {
    let gates: BTreeMap<&str, usize> =
        data.gates.iter().enumerate().map(|(idx, gate)| (gate.id.as_str(), idx)).collect();
    let rules: Vec<Value> = data.gates.iter().map(rule).collect();
    let open = rank::in_order(&data.verdicts).into_iter();
    let is_told = |verdict: &&Verdict| {
        verdict.is_failure() || matches!(verdict.decision, Decision::CannotTell | Decision::Warning)
    };
    let open = open.filter(is_told);
    let mut results: Vec<Value> =
        open.map(|verdict| result(data, verdict, gates.get(verdict.gate_id.as_str()).copied())).collect();
    let dropped = results.len().saturating_sub(RESULT_COUNT_MAX);
    results.truncate(RESULT_COUNT_MAX);
    let mut notifications: Vec<Value> =
        data.gates.iter().filter(|gate| gate.outcome == GateOutcome::NotRun).map(unrun).collect();
    let is_successful = notifications.is_empty();
    if dropped > 0 {
        let text = format!("{dropped} results beyond {RESULT_COUNT_MAX} are left out");
        notifications.push(json!({"level": "warning", "message": {"text": text}}));
    }
    let run = json!({
        "tool": {"driver": {"name": "promptc gate", "version": data.run.version, "rules": rules}},
        "automationDetails": {"id": format!("promptc-gate/{}", visible(&data.run.id))},
        "columnKind": "unicodeCodePoints",
        "invocations": [{
            "executionSuccessful": is_successful,
            "toolExecutionNotifications": notifications,
        }],
        "results": results,
        "properties": {"commit": data.run.git.sha, "base": data.run.base_sha, "envId": data.run.env_id},
    });
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    });
    serde_json::to_string_pretty(&log).expect("invariant: texts and numbers always serialise") + "\n"
}

fn rule(gate: &Gate) -> Value {
    let why = if gate.why.is_empty() { &gate.id } else { &gate.why };
    let parameters: Map<String, Value> =
        gate.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({
        "id": gate.id,
        "shortDescription": {"text": why},
        "defaultConfiguration": {"level": level(gate.severity)},
        "properties": {"sql": gate.sql, "parameters": parameters},
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warn => "warning",
    }
}

fn unrun(gate: &Gate) -> Value {
    json!({
        "level": "error",
        "message": {"text": format!("gate {} could not run: {}", gate.id, gate.message)},
        "associatedRule": {"id": gate.id},
    })
}

fn result(data: &ReportData, verdict: &Verdict, rule_idx: Option<usize>) -> Value {
    let gate = rule_idx.map(|idx| &data.gates[idx]);
    let is_open = verdict.decision == Decision::CannotTell;
    let severity = match verdict.decision {
        Decision::Warning => Severity::Warn,
        _ => gate.map_or(Severity::Error, |gate| gate.severity),
    };
    let mut result = json!({
        "ruleId": verdict.gate_id,
        "kind": if is_open { "open" } else { "fail" },
        "level": if is_open { "none" } else { level(severity) },
        "message": {"text": message(verdict)},
        "locations": [location(data, verdict, gate)],
        "partialFingerprints": {
            "promptcBench/v1": format!("{} {} {}", verdict.gate_id, verdict.bench_id, verdict.metric),
        },
        "properties": {
            "base": verdict.base, "candidate": verdict.cand, "unit": verdict.unit, "rel": verdict.rel,
            "p": verdict.p, "q": verdict.q, "pairCount": verdict.pair_count, "neededPairs": verdict.needed_pairs,
        },
    });
    if let Some(idx) = rule_idx {
        result["ruleIndex"] = json!(idx);
    }
    result
}

fn message(verdict: &Verdict) -> String {
    let missing = verdict.missing_pairs().filter(|_| verdict.decision == Decision::CannotTell);
    let wait = match missing {
        Some(missing) if missing > 0 => format!(", {missing} more pairs needed"),
        _ => String::new(),
    };
    let reason = verdict.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let figures = match [verdict.base, verdict.cand, verdict.rel] {
        [None, None, None] => String::new(),
        _ => format!(
            ": {} to {}, change {}, positive is worse",
            figure(verdict.base, &verdict.unit),
            figure(verdict.cand, &verdict.unit),
            change_within(verdict.rel, verdict.ci_low, verdict.ci_high),
        ),
    };
    let words = verdict.decision.words();
    format!("{words} of {} {}{figures}{wait}{reason}", verdict.bench_id, verdict.metric)
}

/// The benchmark's line, else the gate's file, and always the benchmark by name.
fn location(data: &ReportData, verdict: &Verdict, gate: Option<&Gate>) -> Value {
    let is_it = |bench_id: &str, metric: &str| bench_id == verdict.bench_id && metric == verdict.metric;
    let series = data.series.iter().filter(|series| series.source.is_some());
    let exact = series.clone().find(|series| is_it(&series.bench_id, &series.metric));
    let same_bench =
        || data.series.iter().find(|series| series.bench_id == verdict.bench_id && series.source.is_some());
    let written = exact.or_else(same_bench).and_then(|series| series.source.clone());
    let gate_file = || gate.and_then(|gate| gate.file.clone()).map(|file| Place { file, line: 1 });
    let name = format!("{} {}", verdict.bench_id, verdict.metric);
    let mut location = json!({"logicalLocations": [{"fullyQualifiedName": name, "kind": "benchmark"}]});
    if let Some(place) = written.or_else(gate_file) {
        location["physicalLocation"] = json!({
            "artifactLocation": {"uri": uri(&place.file), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": place.line.max(1)},
        });
    }
    location
}

/// A path as a relative reference: everything but what stands for itself is written as `%XX`.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for byte in path.trim_start_matches("./").bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn run(data: &ReportData) -> Value {
        let log: Value = serde_json::from_str(&sarif(data)).unwrap();
        assert_eq!(log["version"], "2.1.0");
        log["runs"][0].clone()
    }

    #[test]
    fn a_regression_points_at_the_line_of_its_benchmark() {
        let run = run(&sample::data());
        let first = &run["results"][0];
        assert_eq!(first["ruleId"], "paired");
        assert_eq!(first["ruleIndex"], 0);
        assert_eq!((&first["kind"], &first["level"]), (&json!("fail"), &json!("error")));
        let place = &first["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "benches/compile.rs");
        assert_eq!(place["region"]["startLine"], 31);
        let text = first["message"]["text"].as_str().unwrap();
        assert!(text.contains("+12.3 %") && text.contains("compile/check/200_lines"), "{text}");
    }

    #[test]
    fn the_undecided_are_open_and_the_unchanged_are_left_out() {
        let run = run(&sample::data());
        let results = run["results"].as_array().unwrap();
        let open: Vec<&Value> = results.iter().filter(|result| result["kind"] == "open").collect();
        assert_eq!(open.len(), 1);
        assert_eq!(open[0]["level"], "none");
        assert!(open[0]["message"]["text"].as_str().unwrap().contains("40 more pairs needed"));
        assert!(
            !results
                .iter()
                .any(|result| result["message"]["text"].as_str().unwrap().starts_with("no change"))
        );
    }

    #[test]
    fn a_gate_that_could_not_run_makes_the_run_unsuccessful() {
        let mut data = sample::data();
        assert_eq!(run(&data)["invocations"][0]["executionSuccessful"], true);
        data.gates[0].outcome = GateOutcome::NotRun;
        let run = run(&data);
        assert_eq!(run["invocations"][0]["executionSuccessful"], false);
        assert_eq!(run["invocations"][0]["toolExecutionNotifications"][0]["associatedRule"]["id"], "paired");
    }

    #[test]
    fn odd_data_is_still_a_log() {
        assert_eq!(run(&ReportData::default())["results"], json!([]));
        run(&sample::hostile());
        assert_eq!(uri("./benches/a b%é.rs"), "benches/a%20b%25%C3%A9.rs");
    }
}
