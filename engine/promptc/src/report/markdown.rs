//! The comment on a pull request: what changed, what is still open, and everything folded below.
//!
//! At most [`LINES_MAX`] lines. Names stand in `<code>`, where code hosts neither link nor notify; other text is escaped.

use super::data::{Decision, GateOutcome, Overall, ReportData, Severity, TargetStatus, Verdict};
use super::markup::visible;
use super::number::{change, change_interval, figure, grouped, probability, short_sha};
use super::rank;

/// Longest comment, in lines.
const LINES_MAX: usize = 60;

/// Rows of each table above the fold; together with all headings they stay within half of [`LINES_MAX`].
const WORSE_ROWS: usize = 8;
const UNDECIDED_ROWS: usize = 6;
const WARNING_ROWS: usize = 4;
const BETTER_ROWS: usize = 4;

/// Gates that are named when they did not pass.
const GATE_LINES: usize = 4;

/// Remarks that are shown.
const NOTE_LINES: usize = 3;

/// Longest comment, in bytes; code hosts refuse 65,536 characters.
const BYTES_MAX: usize = 60_000;

/// Longest name or reason, in characters.
const TEXT_CHARS: usize = 160;

/// The comment, ending in a line break. Deterministic.
pub(crate) fn markdown(data: &ReportData) -> String {
    let mut lines = vec![heading(data), String::new(), facts(data)];
    lines.extend(gate_lines(data));
    lines.extend(note_lines(data));
    let verdicts = rank::subjects_in_order(data);
    let of = |decisions: &[Decision]| -> Vec<&Verdict> {
        verdicts.iter().copied().filter(|verdict| decisions.contains(&verdict.decision)).collect()
    };
    part(&mut lines, "Worse", &of(&[Decision::Regression, Decision::Failure]), WORSE_ROWS);
    part(&mut lines, "Undecided", &of(&[Decision::CannotTell]), UNDECIDED_ROWS);
    part(&mut lines, "Warnings", &of(&[Decision::Warning]), WARNING_ROWS);
    part(&mut lines, "Better", &of(&[Decision::Improvement]), BETTER_ROWS);
    let room = BYTES_MAX.saturating_sub(lines.iter().map(|line| line.len() + 1).sum());
    fold(&mut lines, &verdicts, room);
    lines.push(String::new());
    lines.join("\n")
}

fn heading(data: &ReportData) -> String {
    let words = match data.overall() {
        Overall::Passed => "✅ Benchmarks: all gates passed",
        Overall::Failed => "❌ Benchmarks: a gate failed",
        Overall::Undecided => "❔ Benchmarks: cannot tell yet",
        Overall::NotRun => "❗ Benchmarks: a gate could not run",
        Overall::NoGate => "❔ Benchmarks: no gate was run",
    };
    format!("### {words}")
}

fn facts(data: &ReportData) -> String {
    let worse = rank::count(data, Decision::Regression) + rank::count(data, Decision::Failure);
    let against = match &data.run.base_sha {
        Some(base) => format!(" against {}", code(short_sha(base))),
        None => String::new(),
    };
    let dirty = if data.run.git.is_dirty { ", uncommitted changes" } else { "" };
    let measured = data.target_count(TargetStatus::Met) + data.target_count(TargetStatus::NotMet);
    format!(
        "{}{against}, run {}{dirty}: **{worse} worse**, {} undecided, {} better, {} unchanged; {} of {measured} measured \
         targets met.",
        code(short_sha(&data.run.git.sha)),
        code(&data.run.id),
        rank::count(data, Decision::CannotTell),
        rank::count(data, Decision::Improvement),
        rank::count(data, Decision::NoChange),
        data.target_count(TargetStatus::Met),
    )
}

/// The gates that did not pass, one line each.
fn gate_lines(data: &ReportData) -> Vec<String> {
    let mut open = rank::gates_in_order(data);
    open.retain(|gate| gate.outcome != GateOutcome::Passed);
    let mut lines = Vec::new();
    if open.is_empty() {
        return lines;
    }
    lines.push(String::new());
    for gate in open.iter().take(GATE_LINES) {
        let warning = if gate.severity == Severity::Warn && !gate.is_warning() { " (warning)" } else { "" };
        let words = gate.words();
        lines.push(format!("- {}{warning} {words}: {}", code(&gate.id), plain(&gate.message)));
    }
    if open.len() > GATE_LINES {
        lines.push(format!("- and {} more gates", grouped((open.len() - GATE_LINES) as i64)));
    }
    lines
}

/// What the reader must know about the data: measurements without a value, for example.
fn note_lines(data: &ReportData) -> Vec<String> {
    let mut lines: Vec<String> =
        data.notes.iter().take(NOTE_LINES).map(|note| format!("- {}", plain(note))).collect();
    if data.notes.len() > NOTE_LINES {
        lines.push(format!("- and {} more remarks", grouped((data.notes.len() - NOTE_LINES) as i64)));
    }
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

/// One table above the fold with its heading; nothing if it has no rows.
fn part(lines: &mut Vec<String>, title: &str, verdicts: &[&Verdict], row_max: usize) {
    if verdicts.is_empty() {
        return;
    }
    lines.push(String::new());
    let more = verdicts.len().saturating_sub(row_max);
    let note = if more > 0 { format!(" ({} more below)", grouped(more as i64)) } else { String::new() };
    lines.push(format!("**{title}**{note}"));
    lines.push(String::new());
    lines.push("| benchmark | base | candidate | change, + is worse | interval | note |".to_owned());
    lines.push("|---|--:|--:|--:|--:|---|".to_owned());
    for verdict in verdicts.iter().take(row_max) {
        lines.push(format!("| {} |", cells(verdict).join(" | ")));
    }
}

/// Everything in one fold: as lines of a table while they fit, else as one line of HTML up to `room` bytes.
fn fold(lines: &mut Vec<String>, verdicts: &[&Verdict], room: usize) {
    if verdicts.is_empty() {
        return;
    }
    let count = verdicts.len();
    lines.push(String::new());
    let noun = if count == 1 { "result" } else { "results" };
    lines.push(format!("<details><summary>All {} {noun}</summary>", grouped(count as i64)));
    lines.push(String::new());
    const HEAD: [&str; 8] = ["verdict", "benchmark", "base", "candidate", "change", "interval", "note", "q"];
    let row = |verdict: &Verdict| {
        let mut row = vec![verdict.decision.words().to_owned()];
        row.extend(cells(verdict));
        row.push(probability(verdict.q));
        row
    };
    // The table's two head lines, an empty line and the end of the fold.
    if lines.len() + count + 4 <= LINES_MAX {
        lines.push(format!("| {} |", HEAD.join(" | ")));
        lines.push("|---|---|--:|--:|--:|--:|---|--:|".to_owned());
        lines.extend(verdicts.iter().map(|verdict| format!("| {} |", row(verdict).join(" | "))));
        lines.push(String::new());
        lines.push("</details>".to_owned());
        return;
    }
    let mut table = format!("<table><tr><th>{}</th></tr>", HEAD.join("</th><th>"));
    let mut shown = 0;
    for verdict in verdicts {
        let row = format!("<tr><td>{}</td></tr>", row(verdict).join("</td><td>"));
        if table.len() + row.len() + 200 > room {
            break;
        }
        table.push_str(&row);
        shown += 1;
    }
    table.push_str("</table>");
    lines.push(table);
    if shown < count {
        lines.push(String::new());
        lines.push(format!("{} more are in the HTML report.", grouped((count - shown) as i64)));
    }
    lines.push("</details>".to_owned());
}

/// Benchmark, base, candidate, change, interval, note.
fn cells(verdict: &Verdict) -> Vec<String> {
    let missing = verdict.missing_pairs().filter(|_| verdict.decision == Decision::CannotTell);
    let mut note: Vec<String> = Vec::new();
    if let Some(missing) = missing.filter(|missing| *missing > 0) {
        note.push(format!("{missing} more pairs needed ({} so far)", verdict.pair_count.unwrap_or(0)));
    }
    if let Some(reason) = &verdict.reason {
        note.push(plain(reason));
    }
    vec![
        format!("{} {}", code(&verdict.bench_id), code(&verdict.metric)),
        plain(&figure(verdict.base, &verdict.unit)),
        plain(&figure(verdict.cand, &verdict.unit)),
        change(verdict.rel),
        change_interval(verdict.ci_low, verdict.ci_high),
        note.join("; "),
    ]
}

/// A name as code: neither formatted, linked nor notified.
fn code(text: &str) -> String {
    let escaped = escaped(text);
    if escaped.is_empty() { "–".to_owned() } else { format!("<code>{escaped}</code>") }
}

/// Text without formatting. A mention is split by an empty comment, which code hosts do not join again.
fn plain(text: &str) -> String {
    escaped(text).replace("&#64;", "&#64;<!-- -->").replace("&#35;", "&#35;<!-- -->")
}

/// One line of at most [`TEXT_CHARS`] characters in which nothing is markup, a link or a mention.
fn escaped(text: &str) -> String {
    let text = visible(text);
    let text: Vec<char> = text.trim().chars().collect();
    let is_word = |idx: usize| text.get(idx).is_some_and(|character| character.is_alphanumeric());
    let mut out = String::new();
    for (idx, character) in text.iter().copied().take(TEXT_CHARS).enumerate() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // Inside a word an underscore formats nothing, and names are full of them.
            '_' if idx > 0 && is_word(idx - 1) && is_word(idx + 1) => out.push('_'),
            // What makes `https://` and `www.` a link.
            ':' if text.get(idx + 1) != Some(&'/') => out.push(':'),
            '.' if idx == 0 || !matches!(text[idx - 1], 'w' | 'W') => out.push('.'),
            '"' | '\'' | '|' | '`' | '*' | '[' | ']' | '~' | '\\' | '!' | '#' | '$' | '@' | '_' | ':'
            | '.' => {
                out.push_str(&format!("&#{};", u32::from(character)));
            }
            _ => out.push(character),
        }
    }
    if text.len() > TEXT_CHARS {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn checked(data: &ReportData) -> String {
        let text = markdown(data);
        assert!(text.lines().count() <= LINES_MAX, "{} lines", text.lines().count());
        assert!(text.len() <= BYTES_MAX, "{} bytes", text.len());
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
        text
    }

    #[test]
    fn the_comment_of_the_sample() {
        insta::assert_snapshot!(checked(&sample::data()), @r##"
### ❌ Benchmarks: a gate failed

<code>3f2a1b9</code> against <code>a91b2c3</code>, run <code>01JZX3N5E8QK4T7W9YB2CDFGHJ</code>: **1 worse**, 1 undecided, 1 better, 1 unchanged; 2 of 3 measured targets met.

- <code>paired</code> failed: 1 regression, 1 undecided of 4 benchmarks

- The run was measured on a machine that others used at the same time.

**Worse**

| benchmark | base | candidate | change, + is worse | interval | note |
|---|--:|--:|--:|--:|---|
| <code>compile/check/200_lines</code> <code>wall_ns</code> | 4.20 ms | 4.72 ms | +12.3 % | +9.9 to +14.7 % |  |

**Undecided**

| benchmark | base | candidate | change, + is worse | interval | note |
|---|--:|--:|--:|--:|---|
| <code>storage/single_write/1kb</code> <code>wall_ns</code> | 51.0 µs | 52.6 µs | +3.1 % | −5.3 to +11.5 % | 40 more pairs needed (20 so far); unstable |

**Better**

| benchmark | base | candidate | change, + is worse | interval | note |
|---|--:|--:|--:|--:|---|
| <code>compression/mixed/0.5</code> <code>throughput</code> | 582 MiB/s | 688 MiB/s | −18.2 % | −20.2 to −16.2 % |  |

<details><summary>All 4 results</summary>

| verdict | benchmark | base | candidate | change | interval | note | q |
|---|---|--:|--:|--:|--:|---|--:|
| regression | <code>compile/check/200_lines</code> <code>wall_ns</code> | 4.20 ms | 4.72 ms | +12.3 % | +9.9 to +14.7 % |  | 8e-6 |
| cannot tell | <code>storage/single_write/1kb</code> <code>wall_ns</code> | 51.0 µs | 52.6 µs | +3.1 % | −5.3 to +11.5 % | 40 more pairs needed (20 so far); unstable | 0.550 |
| improvement | <code>compression/mixed/0.5</code> <code>throughput</code> | 582 MiB/s | 688 MiB/s | −18.2 % | −20.2 to −16.2 % |  | 8e-6 |
| no change | <code>embedding/static/32</code> <code>wall_ns</code> | 1.60 ms | 1.61 ms | +0.4 % | −0.8 to +1.6 % |  | 8e-6 |

</details>
"##);
    }

    #[test]
    fn an_empty_report_passes_nothing() {
        let text = checked(&ReportData::default());
        assert!(text.starts_with("### ❔ Benchmarks: no gate was run\n"), "{text}");
        assert!(!text.contains("<details>"));
    }

    #[test]
    fn hostile_names_stay_text() {
        let text = checked(&sample::hostile());
        for markup in ["<script", "<img", "](", "`", "\u{1b}", "\u{202e}"] {
            assert!(!text.contains(markup), "{markup:?} in {text}");
        }
        let mut data = ReportData::default();
        data.gates =
            vec![super::super::data::Gate { message: "@everyone see #1".to_owned(), ..Default::default() }];
        assert!(checked(&data).contains("&#64;<!-- -->everyone see &#35;<!-- -->1"));
        assert_eq!(code("_a_ a_b www.x.y http://x"), "<code>&#95;a&#95; a_b www&#46;x.y http&#58;//x</code>");
    }

    #[test]
    fn hundreds_of_results_keep_sixty_lines_and_are_all_there() {
        let data = sample::large(300, 3);
        let text = checked(&data);
        assert!(text.contains("All 300 results"));
        assert_eq!(text.matches("<tr><td>").count(), 300, "{text}");
        let many = checked(&sample::large(5000, 1));
        assert!(many.contains("more are in the HTML report."), "{many}");
    }
}
