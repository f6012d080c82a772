//! The dashboard: a box with one line per kind of promise, and under it the last points of each benchmark.
//!
//! ```text
//! ╔═ promptc bench ════════════════════════════════════════════════════════════╗
//! ║ ✗ 1 gate failed                                                            ║
//! ║ run 01J...  3f2a1b9                                                        ║
//! ╠════════════════════════════════════════════════════════════════════════════╣
//! ║ LATENCY    ████████▌░  4.25 ms of ≤ 5.00 ms   12/13 met  compile.check     ║
//! ```
//!
//! A bar is actual over limit: for an upper limit full means nothing is left, for a lower one full means reached. A sign
//! before it says which promises hold, so that no meaning rests on colour.

use super::area::{self, AreaLine};
use super::data::{Decision, Overall, ReportData, Series, TargetStatus, Verdict};
use super::markup::visible;
use super::number::{change, figure, grouped, short_sha};
use super::{html, rank};

/// Narrowest and widest dashboard, in columns.
const WIDTH_MIN: usize = 48;
const WIDTH_MAX: usize = 160;

/// Cells of a bar.
const BAR_CELLS: usize = 10;

/// Points of a sparkline.
const SPARK_POINTS: usize = 30;

/// Benchmarks below the box; a screen has about so many lines.
const SERIES_SHOWN: usize = 24;

/// How a piece of a line is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paint {
    Plain,
    Quiet,
    Good,
    Bad,
    Open,
}

impl Paint {
    /// The terminal's own palette, which its user chose.
    fn code(self) -> Option<&'static str> {
        match self {
            Paint::Plain => None,
            Paint::Quiet => Some("2"),
            Paint::Good => Some("32"),
            Paint::Bad => Some("31"),
            Paint::Open => Some("33"),
        }
    }

    fn of(decision: Decision) -> Self {
        match decision {
            Decision::Regression | Decision::Failure => Paint::Bad,
            Decision::CannotTell | Decision::Warning => Paint::Open,
            Decision::Improvement => Paint::Good,
            Decision::NoChange => Paint::Quiet,
        }
    }
}

/// Pieces of one line.
type Pieces = Vec<(Paint, String)>;

/// The dashboard in so many columns (48 to 160), ending in a line break. Escape codes only if `is_coloured`.
pub(crate) fn terminal(data: &ReportData, width: usize, is_coloured: bool) -> String {
    let inner = width.clamp(WIDTH_MIN, WIDTH_MAX) - 4;
    let mut out = String::new();
    let title = " promptc bench ";
    let rest = inner + 1 - title.chars().count();
    out.push_str(&format!("╔═{title}{}╗\n", "═".repeat(rest)));
    for line in head(data) {
        boxed(&mut out, line, inner, is_coloured);
    }
    rule(&mut out, inner);
    for line in area::lines(&data.targets) {
        boxed(&mut out, area_line(&line), inner, is_coloured);
    }
    let shown = rank::series_in_order(data);
    if !shown.is_empty() {
        rule(&mut out, inner);
    }
    let gravest = rank::gravest(data);
    let first = &shown[..shown.len().min(SERIES_SHOWN)];
    let widths = Widths::of(first, inner);
    for series in first {
        let verdict = gravest.get(&(series.bench_id.as_str(), series.metric.as_str())).copied();
        boxed(&mut out, series_line(series, verdict, widths), inner, is_coloured);
    }
    if shown.len() > SERIES_SHOWN {
        let more = format!("and {} more benchmarks", grouped((shown.len() - SERIES_SHOWN) as i64));
        boxed(&mut out, vec![(Paint::Quiet, more)], inner, is_coloured);
    }
    out.push_str(&format!("╚{}╝\n", "═".repeat(inner + 2)));
    out
}

fn rule(out: &mut String, inner: usize) {
    out.push_str(&format!("╠{}╣\n", "═".repeat(inner + 2)));
}

/// Outcome, commit, counts.
fn head(data: &ReportData) -> Vec<Pieces> {
    let (paint, sign) = match data.overall() {
        Overall::Passed => (Paint::Good, '✓'),
        Overall::Failed => (Paint::Bad, '✗'),
        Overall::NotRun => (Paint::Bad, '!'),
        Overall::Undecided | Overall::NoGate => (Paint::Open, '?'),
    };
    let run = &data.run;
    let mut facts = format!("  {}", short_sha(&run.git.sha));
    if let Some(base) = &run.base_sha {
        facts.push_str(&format!(" against {}", short_sha(base)));
    }
    if run.git.is_dirty {
        facts.push_str(" with uncommitted changes");
    }
    let first = vec![(paint, format!("{sign} {}", html::verdict_words(data)))];
    let second = vec![(Paint::Quiet, format!("run {}{facts}", run.id))];
    let count = |decision| rank::count(data, decision);
    let worse = count(Decision::Regression) + count(Decision::Failure);
    let counts = [
        (Decision::Regression, worse, "worse"),
        (Decision::CannotTell, count(Decision::CannotTell), "undecided"),
        (Decision::Warning, count(Decision::Warning), "warned"),
        (Decision::Improvement, count(Decision::Improvement), "better"),
        (Decision::NoChange, count(Decision::NoChange), "unchanged"),
    ];
    let piece = |&(decision, count, word): &(Decision, usize, &str)| {
        let paint = if count > 0 { Paint::of(decision) } else { Paint::Quiet };
        (paint, format!("{count} {word}   "))
    };
    let is_shown = |count: &&(Decision, usize, &str)| count.0 != Decision::Warning || count.1 > 0;
    vec![first, second, counts.iter().filter(is_shown).map(piece).collect()]
}

/// Name, bar of the tightest promise, its figure and limit, how many hold, and its id.
fn area_line(line: &AreaLine<'_>) -> Pieces {
    let name = format!("{:<11}", line.area.name());
    let Some(target) = line.tightest else {
        let missing = if line.count > 0 { "not measured here" } else { "no target" };
        return vec![(Paint::Plain, name), (Paint::Quiet, format!("  {}  {missing}", "·".repeat(BAR_CELLS)))];
    };
    let is_met = target.status == TargetStatus::Met;
    let (paint, sign) = if is_met { (Paint::Good, '✓') } else { (Paint::Bad, '✗') };
    let share = area::share_of_limit(target).unwrap_or(if is_met { 0.0 } else { 1.0 });
    let figure = format!("{} of {}", figure(target.actual, &target.unit), html::limit(target));
    let all_met = line.met_count == line.measured_count;
    let met = format!("{}/{} met", line.met_count, line.measured_count);
    vec![
        (Paint::Plain, name),
        (paint, format!("{sign} {}", bar(share))),
        (Paint::Plain, format!("  {figure:<24}")),
        (if all_met { Paint::Quiet } else { Paint::Bad }, format!("  {met:<8}")),
        (Paint::Quiet, format!("  {}", target.target_id)),
    ]
}

/// Ten cells, in steps of an eighth.
fn bar(share: f64) -> String {
    const PARTS: [char; 8] = ['░', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share.clamp(0.0, 1.0) * (BAR_CELLS * 8) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(PARTS[eighths % 8]);
    }
    bar.extend(std::iter::repeat_n('░', BAR_CELLS - bar.chars().count()));
    bar
}

/// Columns of names and sparklines.
#[derive(Debug, Clone, Copy)]
struct Widths {
    name: usize,
    spark: usize,
}

impl Widths {
    /// Sign, value, change and gaps have their columns; of the rest the names take what they need, as long as sparklines
    /// keep a third of it, and sparklines no more than they have points for.
    fn of(shown: &[&Series], inner: usize) -> Self {
        let room = inner - 2 - 2 - 2 - 11 - 2 - 9;
        let points = shown.iter().map(|series| series.history.len()).max().unwrap_or(0).min(SPARK_POINTS);
        let longest = shown.iter().map(|series| cells(&name_of(series))).max().unwrap_or(0);
        let name = longest.min(room - points.min(room / 3));
        Self { name: room - points.min(room - name), spark: points.min(room - name) }
    }
}

/// The benchmark, and its metric unless it is the usual one, which its unit tells.
fn name_of(series: &Series) -> String {
    match series.metric.as_str() {
        "wall_ns" => visible(&series.bench_id),
        metric => visible(&format!("{} {metric}", series.bench_id)),
    }
}

/// What the run itself measured.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { upper } else { sorted[middle - 1] / 2.0 + upper / 2.0 })
}

/// Sign, name, sparkline, last value, change.
fn series_line(series: &Series, verdict: Option<&Verdict>, widths: Widths) -> Pieces {
    let decision = verdict.map(|verdict| verdict.decision);
    let paint = decision.map_or(Paint::Quiet, Paint::of);
    let mut points: Vec<(u32, f64)> = Vec::new();
    let measured = series.history.iter().filter_map(|point| Some((point.commit_seq, point.value?)));
    points.extend(measured.filter(|(_, value)| value.is_finite()));
    points.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let judged = verdict.and_then(|verdict| verdict.cand);
    let last = judged.or_else(|| median(&series.cand)).or_else(|| points.last().map(|(_, value)| *value));
    let name = clipped(&name_of(series), widths.name);
    let recent = &points[points.len().saturating_sub(widths.spark)..];
    let values: Vec<f64> = recent.iter().map(|(_, value)| *value).collect();
    let pad = " ".repeat(widths.name - cells(&name));
    let gap = " ".repeat(widths.spark - values.len());
    vec![
        (paint, format!("{} ", decision.map_or(" ", Decision::sign))),
        (Paint::Plain, format!("{name}{pad}  ")),
        (Paint::Quiet, format!("{gap}{}", spark(&values))),
        (Paint::Plain, format!("  {:>11}", figure(last, &series.unit))),
        (paint, format!("  {:>9}", change(verdict.and_then(|verdict| verdict.rel)))),
    ]
}

/// One block per value between the least and the greatest; a flat line in the middle.
fn spark(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let block = |value: &f64| {
        // Halves, so that the difference of the two largest numbers is one too.
        let share = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
        if share.is_finite() { BLOCKS[(share * 7.0).round() as usize] } else { BLOCKS[3] }
    };
    values.iter().map(block).collect()
}

/// One line of the box: cut or filled to `inner` columns.
fn boxed(out: &mut String, pieces: Pieces, inner: usize, is_coloured: bool) {
    let mut left = inner;
    out.push_str("║ ");
    for (paint, text) in pieces {
        let text = clipped(&visible(&text), left);
        left -= cells(&text);
        match paint.code().filter(|_| is_coloured && !text.is_empty()) {
            Some(code) => out.push_str(&format!("\u{1b}[{code}m{text}\u{1b}[0m")),
            None => out.push_str(&text),
        }
    }
    out.push_str(&" ".repeat(left));
    out.push_str(" ║\n");
}

/// Text that takes at most so many columns, with a sign where it was cut.
fn clipped(text: &str, width: usize) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for character in text.chars() {
        let size = cell(character);
        if used + size + 1 > width {
            break;
        }
        used += size;
        out.push(character);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

fn cells(text: &str) -> usize {
    text.chars().map(cell).sum()
}

/// Columns of a character: none for marks that combine, two for East Asian wide forms and pictures.
///
/// Source: Unicode Standard Annex 11, ranges in short; names of benchmarks are ASCII but for foreign ones.
fn cell(character: char) -> usize {
    match u32::from(character) {
        0x300..=0x36f | 0x200b..=0x200d | 0xfe00..=0xfe0f | 0xe0100..=0xe01ef => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn checked(data: &ReportData, width: usize) -> String {
        let text = terminal(data, width, false);
        let expected = width.clamp(WIDTH_MIN, WIDTH_MAX);
        for line in text.lines() {
            assert_eq!(cells(line), expected, "{line:?}");
        }
        assert!(!text.contains('\u{1b}'));
        text
    }

    #[test]
    fn the_dashboard_of_the_sample() {
        insta::assert_snapshot!(checked(&sample::data(), 100), @r##"
╔═ promptc bench ══════════════════════════════════════════════════════════════════════════════════╗
║ ✗ 1 gate failed                                                                                  ║
║ run 01JZX3N5E8QK4T7W9YB2CDFGHJ  3f2a1b9 against a91b2c3                                          ║
║ 1 worse   1 undecided   1 better   1 unchanged                                                   ║
╠══════════════════════════════════════════════════════════════════════════════════════════════════╣
║ LATENCY    ✓ █████████▌  4.72 ms of ≤ 5.00 ms      1/1 met   compile.check                       ║
║ THROUGHPUT ✓ ██████████  687 MiB/s of ≥ 572 MiB/s  1/1 met   compression.mixed                   ║
║ QUALITY      ··········  no target                                                               ║
║ MEMORY     ✗ ██████████  50.0 MiB of ≤ 40.0 MiB    0/1 met   memory.trm                          ║
║ LEARNING     ··········  no target                                                               ║
║ SCALING      ··········  no target                                                               ║
╠══════════════════════════════════════════════════════════════════════════════════════════════════╣
║ ✗ compile/check/200_lines                                   ▃▂▃▁▂▁▂▁▇█▇▆      4.72 ms    +12.3 % ║
║ ? storage/single_write/1kb                                  ▂▃▁▁▂▁▂▁█▇█▇      52.6 µs     +3.1 % ║
╚══════════════════════════════════════════════════════════════════════════════════════════════════╝
"##);
    }

    #[test]
    fn every_width_keeps_the_box() {
        for width in [0, 48, 60, 80, 120, 160, 1000] {
            checked(&sample::data(), width);
            checked(&sample::hostile(), width);
            checked(&sample::large(40, 50), width);
            checked(&ReportData::default(), width);
        }
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let data = sample::data();
        let coloured = terminal(&data, 90, true);
        let mut plain = String::new();
        for (idx, part) in coloured.split('\u{1b}').enumerate() {
            plain.push_str(if idx == 0 { part } else { part.split_once('m').unwrap().1 });
        }
        assert!(coloured.contains("\u{1b}[31m"));
        assert_eq!(plain, terminal(&data, 90, false));
    }

    #[test]
    fn bars_and_sparklines_at_their_ends() {
        assert_eq!(bar(0.0), "░░░░░░░░░░");
        assert_eq!(bar(1.0), "██████████");
        assert_eq!(bar(7.0), "██████████");
        assert_eq!(bar(0.85), "████████▌░");
        assert_eq!(bar(f64::NAN), "░░░░░░░░░░");
        assert_eq!(spark(&[]), "");
        assert_eq!(spark(&[2.0, 2.0]), "▄▄");
        assert_eq!(spark(&[0.0, 1.0, f64::MAX, f64::MIN]), "▅▅█▁");
    }

    #[test]
    fn a_run_without_a_past_shows_what_it_measured() {
        let mut data = sample::data();
        data.verdicts.clear();
        for series in &mut data.series {
            series.history.clear();
            series.cand = vec![3e6, 1e6, 2e6, f64::NAN];
        }
        let text = checked(&data, 60);
        assert!(text.contains("storage/single_write/1kb") && text.contains("2.00 ms"), "{text}");
    }

    #[test]
    fn warnings_are_counted_when_there_are_any() {
        let mut data = sample::data();
        assert!(!checked(&data, 80).contains("warned"));
        data.verdicts[0].decision = Decision::Warning;
        assert!(checked(&data, 80).contains("1 warned"));
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(clipped("測定abc", 5), "測定…");
        assert_eq!(clipped("測定abc", 4), "測…");
        assert_eq!(clipped("abc", 3), "abc");
        assert_eq!(clipped("abc", 0), "");
    }
}
