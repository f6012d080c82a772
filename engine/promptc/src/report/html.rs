//! The page: one file that needs no network and no script, for screen and paper, light and dark.
//!
//! ```text
//!   outcome and counts | what the gates decided | promises | qualities | time against recall | charts | how far to trust the gate | noise | machine | SQL
//! ```
//!
//! Whoever decides about a release reads the first screen; everything below says why, down to the text of each query.
//! The data itself stands in `<script type="application/json" id="promptc-report">`.

mod curves;
mod figures;
mod gates;
mod quality;
mod tables;

pub(super) use tables::limit;

use serde::Serialize;

use super::bounds::{Bounds, PAGE_BYTES_MAX, bounded};
use super::data::{
    Decision, Gate, GateOutcome, Overall, Rate, RateKind, ReportData, Section, Severity, TargetStatus,
    Verdict,
};
use super::markup::{Markup, script_safe};
use super::number::{self, Utc};
use super::rank;

/// Version of the embedded data; a change of names or meaning raises it.
const DATA_VERSION: u32 = 1;

/// The embedded data: what the page shows, and what it leaves out.
#[derive(Serialize)]
struct Embedded<'a> {
    version: u32,
    left_out: &'a [String],
    data: &'a ReportData,
}

/// The whole page, below 3 MiB whatever the data. Deterministic.
pub(crate) fn html(data: &ReportData) -> String {
    let mut bounds = Bounds::FULL;
    loop {
        let (cut, left_out) = bounded(data, bounds);
        let page = page(data, &cut, &left_out);
        if page.len() < PAGE_BYTES_MAX {
            return page;
        }
        match bounds.halved() {
            Some(half) => bounds = half,
            None => return page,
        }
    }
}

/// The page of `cut`; counts are those of all `data`.
fn page(data: &ReportData, cut: &ReportData, left_out: &[String]) -> String {
    let mut markup = Markup::new();
    markup.raw("<!DOCTYPE html>\n");
    markup.start("html", &[("lang", "en")]);
    head(&mut markup, cut);
    markup.start("body", &[]);
    header(&mut markup, data, cut);
    markup.start("main", &[]);
    cards(&mut markup, data);
    remarks(&mut markup, cut, left_out);
    tables::verdicts(&mut markup, cut);
    gates::gates(&mut markup, cut);
    tables::targets(&mut markup, cut);
    quality::quality(&mut markup, data);
    curves::curves(&mut markup, data);
    figures::figures(&mut markup, cut);
    tables::rates(&mut markup, cut);
    tables::noise(&mut markup, cut);
    tables::environment(&mut markup, cut);
    gates::queries(&mut markup, cut);
    markup.end();
    footer(&mut markup, cut);
    let embedded = Embedded { version: DATA_VERSION, left_out, data: cut };
    let json = serde_json::to_string(&embedded).expect("invariant: texts and numbers always serialise");
    markup.start("script", &[("type", "application/json"), ("id", "promptc-report")]);
    markup.raw(&script_safe(&json));
    markup.end();
    markup.end();
    markup.end();
    markup.line();
    markup.finish()
}

fn head(markup: &mut Markup, cut: &ReportData) {
    markup.start("head", &[]);
    markup.empty("meta", &[("charset", "utf-8")]);
    markup.empty("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
    markup.empty("meta", &[("name", "color-scheme"), ("content", "light dark")]);
    let commit = number::short_sha(&cut.run.git.sha);
    markup.leaf("title", &[], &format!("Benchmarks of {commit}: {}", verdict_words(cut)));
    markup.start("style", &[]);
    markup.raw(include_str!("html/page.css"));
    markup.end();
    markup.end();
    markup.line();
}

/// The outcome in words.
pub(super) fn verdict_words(data: &ReportData) -> String {
    let count = |outcome| data.gates.iter().filter(|gate| gate.outcome == outcome).count();
    match data.overall() {
        Overall::Passed => "all gates passed".to_owned(),
        Overall::Failed => {
            let is_failed =
                |gate: &&Gate| gate.outcome == GateOutcome::Failed && gate.severity == Severity::Error;
            plural(data.gates.iter().filter(is_failed).count(), "gate", "failed")
        }
        Overall::Undecided => "cannot tell yet".to_owned(),
        Overall::NotRun => plural(count(GateOutcome::NotRun), "gate", "could not run"),
        Overall::NoGate => "no gate was run".to_owned(),
    }
}

/// As `2 gates failed`.
pub(super) fn plural(count: usize, noun: &str, rest: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending} {rest}", number::grouped(count as i64))
}

fn header(markup: &mut Markup, data: &ReportData, cut: &ReportData) {
    let (class, sign) = match data.overall() {
        Overall::Passed => ("better", "✓"),
        Overall::Failed => ("worse", "✗"),
        Overall::Undecided => ("unknown", "?"),
        Overall::NotRun => ("worse", "!"),
        Overall::NoGate => ("unknown", "–"),
    };
    markup.start("header", &[]);
    markup.leaf("p", &[("class", "kicker")], "promptc benchmark report");
    markup.start("h1", &[("class", class)]);
    markup.leaf("span", &[("class", "sign")], sign);
    markup.text(" ");
    markup.text(&capitalised(&verdict_words(data)));
    markup.end();
    markup.leaf("p", &[("class", "lead")], &sentence(data));
    let run = &cut.run;
    markup.start("p", &[("class", "facts")]);
    fact(markup, "commit", number::short_sha(&run.git.sha));
    if let Some(base) = &run.base_sha {
        fact(markup, "against", number::short_sha(base));
    }
    if !run.git.branch.is_empty() {
        fact(markup, "branch", &run.git.branch);
    }
    for (name, value) in [("tag", &run.git.tag), ("pull request", &run.pull_request)] {
        if let Some(value) = value {
            fact(markup, name, value);
        }
    }
    fact(markup, "run", &run.id);
    fact(markup, "measured", &Utc::of(run.started_at).minute());
    markup.end();
    if run.git.is_dirty {
        let warning = "The work tree had changes that are not in the commit: this run is shown and never becomes a baseline.";
        markup.leaf("p", &[("class", "warning")], warning);
    }
    contents(markup, data);
    markup.end();
    markup.line();
}

fn contents(markup: &mut Markup, data: &ReportData) {
    let parts = [
        ("#verdicts", "What changed"),
        ("#gates", "Gates"),
        ("#targets", "Targets"),
        ("#quality", "Quality"),
        ("#curves", "Time against recall"),
        ("#series", "Charts"),
        ("#rates", "Trust in the gate"),
        ("#noise", "Noise"),
        ("#environment", "Machine"),
        ("#queries", "SQL"),
    ];
    markup.start("nav", &[]);
    let is_there = |place: &str| match place {
        "#quality" => quality::has_quality(data),
        "#curves" => curves::has_curves(data),
        _ => true,
    };
    for (place, text) in parts.into_iter().filter(|(place, _)| is_there(place)) {
        markup.leaf("a", &[("href", place)], text);
    }
    markup.end();
}

fn fact(markup: &mut Markup, name: &str, value: &str) {
    markup.start("span", &[("class", "fact")]);
    markup.leaf("span", &[("class", "name")], name);
    markup.text(" ");
    markup.leaf("code", &[], if value.is_empty() { number::MISSING } else { value });
    markup.end();
    markup.text(" ");
}

/// The counts as a sentence.
fn sentence(data: &ReportData) -> String {
    if data.verdicts.is_empty() {
        return "No benchmark was judged in this run.".to_owned();
    }
    let worse = rank::count(data, Decision::Regression) + rank::count(data, Decision::Failure);
    let undecided = rank::count(data, Decision::CannotTell);
    let open = rank::subjects_in_order(data).into_iter();
    let open = open.filter(|verdict| verdict.decision == Decision::CannotTell);
    let pairs = open.filter_map(Verdict::missing_pairs).max().filter(|pairs| *pairs > 0);
    let wait = pairs.map_or_else(String::new, |pairs| format!(" (up to {pairs} more pairs would decide)"));
    let warned = match rank::count(data, Decision::Warning) {
        0 => String::new(),
        warned => format!(" {warned} with a warning,"),
    };
    format!(
        "{} worse or below a floor, {undecided} undecided{wait},{warned} {} better, {} unchanged.",
        plural(worse, "benchmark", "").trim_end(),
        rank::count(data, Decision::Improvement),
        rank::count(data, Decision::NoChange)
    )
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn cards(markup: &mut Markup, data: &ReportData) {
    let count = |decision| rank::count(data, decision);
    let worse = count(Decision::Regression) + count(Decision::Failure);
    let measured = data.target_count(TargetStatus::Met) + data.target_count(TargetStatus::NotMet);
    let not_met = data.target_count(TargetStatus::NotMet);
    markup.start("section", &[("class", "cards"), ("aria-label", "Summary")]);
    card(markup, if worse > 0 { "worse" } else { "" }, &worse.to_string(), "worse");
    let undecided = count(Decision::CannotTell);
    card(markup, if undecided > 0 { "unknown" } else { "" }, &undecided.to_string(), "undecided");
    let warned = count(Decision::Warning);
    if warned > 0 {
        card(markup, "unknown", &warned.to_string(), "with a warning");
    }
    let better = count(Decision::Improvement);
    card(markup, if better > 0 { "better" } else { "" }, &better.to_string(), "better");
    card(markup, "", &count(Decision::NoChange).to_string(), "unchanged");
    let met = match measured {
        0 => number::MISSING.to_owned(),
        _ => format!("{}/{measured}", data.target_count(TargetStatus::Met)),
    };
    let missing = data.targets.len() - measured;
    let what =
        if missing > 0 { format!("targets met, {missing} not measured") } else { "targets met".to_owned() };
    card(markup, if not_met > 0 { "worse" } else { "" }, &met, &what);
    rate_card(markup, data, RateKind::FalseAlarm, None, "false alarms of the gate");
    rate_card(markup, data, RateKind::Power, Some(0.1), "of +10 % slow-downs found");
    markup.end();
    markup.line();
}

/// The measured share of a property of the gate, or that it was not measured.
fn rate_card(markup: &mut Markup, data: &ReportData, kind: RateKind, injected: Option<f64>, what: &str) {
    let is_it = |rate: &&Rate| rate.kind == kind && rate.injected_rel == injected && rate.total > 0;
    match data.rates.iter().find(is_it) {
        Some(rate) => card(markup, "", &number::percent(Some(rate.count as f64 / rate.total as f64)), what),
        None => card(markup, "", number::MISSING, &format!("{what}: not measured")),
    }
}

fn card(markup: &mut Markup, class: &str, figure: &str, what: &str) {
    markup.start("div", &[("class", &*format!("card {class}"))]);
    markup.leaf("strong", &[], figure);
    markup.leaf("span", &[], what);
    markup.end();
}

/// What the reader must know about the data, and what the page leaves out.
fn remarks(markup: &mut Markup, cut: &ReportData, left_out: &[String]) {
    if cut.notes.is_empty() && left_out.is_empty() {
        return;
    }
    markup.start("section", &[("class", "remarks")]);
    markup.start("ul", &[]);
    for note in &cut.notes {
        markup.leaf("li", &[], note);
    }
    for what in left_out {
        markup.leaf("li", &[], &format!("Left out of this page: {what}."));
    }
    markup.end();
    markup.end();
    markup.line();
}

/// Opens a section with its heading and the queries that fill it; the caller closes it.
fn section(markup: &mut Markup, cut: &ReportData, id: &str, title: &str, filled: Option<Section>) {
    markup.line();
    markup.start("section", &[("id", id)]);
    markup.start("h2", &[]);
    markup.text(title);
    let queries = cut.queries.iter().enumerate();
    for (idx, query) in queries.filter(|(_, query)| filled.is_some() && query.section == filled) {
        markup.text(" ");
        markup.leaf("a", &[("class", "query"), ("href", &*format!("#query-{idx}"))], &query.name);
    }
    markup.end();
}

fn footer(markup: &mut Markup, cut: &ReportData) {
    markup.start("footer", &[]);
    markup.text(&format!("promptc {}, environment ", cut.run.version));
    markup.leaf("code", &[], if cut.run.env_id.is_empty() { "unknown" } else { &cut.run.env_id });
    markup.text(". Changes are relative; positive is worse, whatever the direction of the metric. ");
    markup.text("Values of different environments are never compared as such.");
    markup.end();
    markup.line();
}

#[cfg(test)]
mod tests {
    use super::super::markup::nesting_fault;
    use super::super::sample;
    use super::*;

    /// The page with style and data taken out, which are no markup.
    fn checked(data: &ReportData) -> String {
        let page = html(data);
        assert!(page.len() < PAGE_BYTES_MAX, "{}", page.len());
        assert_eq!(nesting_fault(&page), None);
        assert!(!page.contains("NaN") && !page.contains(">null<"));
        page
    }

    fn embedded(page: &str) -> serde_json::Value {
        let start = "<script type=\"application/json\" id=\"promptc-report\">";
        let json = page.split_once(start).expect("embedded data").1;
        serde_json::from_str(json.split_once("</script>").expect("end of the data").0).expect("JSON")
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = checked(&sample::data());
        for foreign in ["http://", "https://", "src=", "@import", "url(", "<link", "onclick"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page, html(&sample::data()));
    }

    #[test]
    fn every_part_and_every_number_is_there() {
        let page = checked(&sample::data());
        for part in ["verdicts", "gates", "targets", "series", "rates", "noise", "environment", "queries"] {
            assert!(page.contains(&format!("<section id=\"{part}\"")), "{part}");
        }
        for text in
            ["1 gate failed", "+12.3 %", "40\u{a0}more", "not measured here", "0 of 100", "SELECT bench_id"]
        {
            assert!(page.contains(text), "{text}");
        }
        let data = embedded(&page);
        assert_eq!(data["version"], 1);
        assert_eq!(data["data"]["verdicts"][0]["rel"], 0.123);
        assert_eq!(data["data"]["series"][0]["history"]["change_point_idx"][0], 8);
    }

    #[test]
    fn an_empty_report_is_a_page_that_passes_nothing() {
        let page = checked(&ReportData::default());
        assert!(page.contains("No gate was run"));
        assert!(page.contains("No benchmark was judged"));
        assert!(!page.contains("passed"));
    }

    #[test]
    fn hostile_texts_stay_texts() {
        let page = checked(&sample::hostile());
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("</script").count(), 1);
        assert!(!page.contains("<img"), "text became an element");
        assert!(!page.chars().any(|character| character.is_control() && character != '\n'));
        assert_eq!(embedded(&page)["data"]["series"][0]["bench_id"], sample::HOSTILE);
    }

    #[test]
    fn long_texts_do_not_make_a_large_page() {
        let mut data = sample::large(1000, 2);
        for verdict in &mut data.verdicts {
            verdict.reason = Some("<\u{1b}&".repeat(2000));
        }
        let gate = super::super::data::Gate { sql: "<".repeat(100_000), ..data.gates[0].clone() };
        data.gates = vec![gate; 500];
        let page = checked(&data);
        assert!(
            page.contains("500 gates are listed"),
            "{:.4000}",
            page.split("remarks").nth(3).unwrap_or_default()
        );
    }

    #[test]
    fn whatever_the_size_the_page_stays_small_and_says_what_it_leaves_out() {
        let page = checked(&sample::large(300, 10_000));
        assert!(page.contains("benchmarks have charts"));
        assert!(page.contains("long histories are drawn"));
        assert!(!embedded(&page)["left_out"].as_array().expect("a list").is_empty());
    }
}
