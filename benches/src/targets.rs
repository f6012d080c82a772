//! The promises of `targets.toml`: every figure of the five documents that the project began with, and our own.
//!
//! A figure that was printed there has `kind` [`Kind::Seed`] and stays as it was printed, also where it cannot be right; then a
//! [`Kind::Restated`] row stands beside it with the arithmetic. What we promise ourselves is [`Kind::Ours`].

use crate::toml::{self, Table};

/// Where a promise comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// As printed in one of the five documents.
    Seed,
    /// A printed figure, corrected; the note holds the arithmetic.
    Restated,
    /// Our own.
    Ours,
}

/// The documents that figures were printed in.
pub const SEEDS: [&str; 5] = ["sona", "ruvdllm", "trm", "ruvllm", "prompt-compiler"];
/// What of the repeats of a measurement is compared with the bound.
const STATISTICS: [&str; 8] = ["median", "mean", "p90", "p95", "p99", "p999", "max", "ci_low"];
/// Units of bounds, those of the history's rows.
const UNITS: [&str; 7] = ["ns", "bytes", "1/s", "bytes/s", "ratio", "count", "tok/s"];
/// Comparisons with the bound.
const OPS: [&str; 4] = ["<=", "<", ">=", ">"];
/// Keys of a target.
const KEYS: [&str; 13] = [
    "id",
    "seed",
    "errata",
    "section",
    "kind",
    "bench_id",
    "metric",
    "statistic",
    "op",
    "bound",
    "unit",
    "needs",
    "note",
];

/// One promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Unique and stable name.
    pub id: String,
    /// One of [`SEEDS`], or `none`.
    pub seed: String,
    /// Row of the list of errata, as `S03`; empty for promises of our own.
    pub errata: String,
    /// What of the document it is about.
    pub section: String,
    /// Printed, corrected or ours.
    pub kind: Kind,
    /// Which measurement: `group/function/parameter`. Empty for a figure that no bench can give: a setting, advice, another
    /// machine.
    pub bench_id: String,
    /// What of it: `wall_ns`, or `ratio` to another measurement of the same run.
    pub metric: String,
    /// `median`, `p99`, ... over its repeats.
    pub statistic: String,
    /// `<=`, `<`, `>=` or `>`.
    pub op: String,
    /// The limit, in `unit`.
    pub bound: f64,
    /// Unit of the limit, one of the history's.
    pub unit: String,
    /// What the machine must have: `cpu`, `avx512`, `gpu`, `dataset:<name>`, `external` for hardware or services of others.
    pub needs: String,
    /// Where the limit comes from; of a corrected figure the arithmetic.
    pub note: String,
}

impl Target {
    /// Whether a measured value keeps the promise. A NaN does not.
    #[must_use]
    pub fn is_met(&self, value: f64) -> bool {
        match self.op.as_str() {
            ">=" => value >= self.bound,
            ">" => value > self.bound,
            "<" => value < self.bound,
            _ => value <= self.bound,
        }
    }
}

/// All promises.
///
/// # Errors
/// A message with the line that is not as described above, or that lacks a key.
pub fn targets() -> Result<Vec<Target>, String> {
    parse(include_str!("../targets.toml"))
}

/// The promise of ours about the median of a measurement that stands first in the file: the tightest. One that needs a data set is
/// not about what a bench generates.
#[must_use]
pub fn of<'a>(targets: &'a [Target], bench_id: &str, metric: &str) -> Option<&'a Target> {
    let has_needs = |target: &Target| matches!(target.needs.as_str(), "cpu" | "avx512");
    let is_ours =
        |target: &&Target| target.kind == Kind::Ours && target.statistic == "median" && has_needs(target);
    targets.iter().filter(is_ours).find(|target| target.bench_id == bench_id && target.metric == metric)
}

fn parse(text: &str) -> Result<Vec<Target>, String> {
    let tables = toml::parse(text).map_err(|message| format!("targets.toml:{message}"))?;
    tables
        .iter()
        .map(|table| target(table).map_err(|message| format!("targets.toml:{}: {message}", table.line)))
        .collect()
}

fn target(table: &Table) -> Result<Target, String> {
    if table.name != "target" || !table.is_element {
        return Err(format!("`{}` is not [[target]]", table.name));
    }
    if let Some((key, ..)) = table.entries.iter().find(|(key, ..)| !KEYS.contains(&key.as_str())) {
        return Err(format!("`{key}` is no key of a target"));
    }
    let text = |key: &str| table.text(key).map(str::to_owned);
    let one_of = |key: &str, allowed: &[&str]| {
        let found = table.text(key)?;
        let known = allowed.contains(&found).then(|| found.to_owned());
        known.ok_or_else(|| format!("`{key}` is `{found}`, not one of {}", allowed.join(", ")))
    };
    let kind = match one_of("kind", &["seed", "restated", "ours"])?.as_str() {
        "seed" => Kind::Seed,
        "restated" => Kind::Restated,
        _ => Kind::Ours,
    };
    let seeds: Vec<&str> = SEEDS.into_iter().chain(["none"]).collect();
    Ok(Target {
        id: text("id")?,
        seed: one_of("seed", &seeds)?,
        errata: text("errata")?,
        section: text("section")?,
        kind,
        bench_id: text("bench_id")?,
        metric: text("metric")?,
        statistic: one_of("statistic", &STATISTICS)?,
        op: one_of("op", &OPS)?,
        bound: table.number("bound")?,
        unit: one_of("unit", &UNITS)?,
        needs: text("needs")?,
        note: text("note")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{BENCHES, Group, VERBS};
    use std::collections::{BTreeMap, BTreeSet};

    /// Rows of the list of errors per document, and figures printed in them.
    const PRINTED: [(&str, char, usize, usize); 5] = [
        ("sona", 'S', 31, 179),
        ("ruvdllm", 'D', 27, 94),
        ("trm", 'T', 14, 66),
        ("ruvllm", 'R', 25, 85),
        ("prompt-compiler", 'P', 22, 111),
    ];

    #[test]
    fn every_printed_figure_is_there() {
        let targets = targets().unwrap();
        for (document, letter, row_count, figure_count) in PRINTED {
            let printed =
                targets.iter().filter(|target| target.kind == Kind::Seed && target.seed == document);
            let rows: BTreeSet<&str> = printed.clone().map(|target| target.errata.as_str()).collect();
            let expected: Vec<String> = (1..=row_count).map(|row| format!("{letter}{row:02}")).collect();
            assert_eq!(rows.into_iter().collect::<Vec<_>>(), expected, "{document}");
            assert_eq!(printed.count(), figure_count, "{document}");
        }
        let strange = targets
            .iter()
            .filter(|target| target.kind == Kind::Seed && !SEEDS.contains(&target.seed.as_str()));
        assert_eq!(strange.count(), 0);
    }

    #[test]
    fn ids_are_unique_and_notes_begin_with_the_row() {
        let targets = targets().unwrap();
        let mut ids = BTreeSet::new();
        for target in &targets {
            assert!(ids.insert(&target.id), "{} stands there twice", target.id);
            let start = if target.errata.is_empty() { String::new() } else { format!("{}: ", target.errata) };
            let has_note = target.note.strip_prefix(&start).is_some_and(|note| !note.is_empty());
            assert!(has_note, "{}: `{}`", target.id, target.note);
            assert_eq!(target.errata.is_empty(), target.seed == "none", "{}", target.id);
            let is_arithmetic = target.kind != Kind::Restated
                || target.note[4..].contains(|digit: char| digit.is_ascii_digit());
            assert!(is_arithmetic, "{}: a corrected figure shows its arithmetic", target.id);
            assert!(target.kind == Kind::Seed || target.errata.is_empty() || !target.section.is_empty());
        }
    }

    #[test]
    fn corrected_figures_have_the_printed_one_beside_them() {
        let targets = targets().unwrap();
        for restated in targets.iter().filter(|target| target.kind == Kind::Restated) {
            let printed = |target: &&Target| target.kind == Kind::Seed && target.errata == restated.errata;
            assert!(targets.iter().any(|target| printed(&target)), "{}", restated.id);
        }
    }

    #[test]
    fn promises_are_about_measurements_that_benches_list() {
        let ids: BTreeSet<String> = BENCHES
            .iter()
            .chain(VERBS)
            .flat_map(|bench| bench.groups)
            .flat_map(Group::each)
            .map(|title| bench_id(&title))
            .collect();
        let strangers: BTreeMap<String, String> = targets()
            .unwrap()
            .into_iter()
            .filter(|target| !target.bench_id.is_empty() && !ids.contains(&target.bench_id))
            .map(|target| (target.bench_id, target.id))
            .collect();
        assert!(strangers.is_empty(), "{strangers:#?}");
    }

    /// As the history makes it; a test of the recorder compares the two.
    fn bench_id(title: &str) -> String {
        let kept = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '/');
        let text: String =
            title.to_lowercase().chars().map(|one| if kept(one) { one } else { '_' }).collect();
        let part = |part: &str| part.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
        text.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    #[test]
    fn faults_name_their_line() {
        let whole = "[[target]]\nid = \"a\"\nseed = \"none\"\nerrata = \"\"\nsection = \"\"\nkind = \"ours\"\nbench_id = \"\"\n\
            metric = \"wall_ns\"\nstatistic = \"median\"\nop = \"<=\"\nbound = 1\nunit = \"ns\"\nneeds = \"cpu\"\nnote = \"x\"\n";
        assert_eq!(parse(whole).map(|targets| targets.len()), Ok(1));
        for (from, to, expected) in [
            ("[[target]]", "[target]", "targets.toml:1: `target` is not [[target]]"),
            ("bound = 1", "bound = \"1\"", "targets.toml:1: `bound` is no number"),
            ("note = \"x\"\n", "", "targets.toml:1: no `note`"),
            ("note", "notes", "targets.toml:1: `notes` is no key of a target"),
            ("\"<=\"", "\"==\"", "targets.toml:1: `op` is `==`, not one of <=, <, >=, >"),
            ("\"ours\"", "\"theirs\"", "targets.toml:1: `kind` is `theirs`, not one of seed, restated, ours"),
            (
                "unit = \"ns\"",
                "unit = \"us\"",
                "targets.toml:1: `unit` is `us`, not one of ns, bytes, 1/s, bytes/s, ratio, count, tok/s",
            ),
        ] {
            assert_eq!(parse(&whole.replacen(from, to, 1)).unwrap_err(), expected);
        }
        assert_eq!(parse("# x\n\nid\n").unwrap_err(), "targets.toml:3: neither a table nor a value");
    }

    #[test]
    fn limits_hold_on_their_side() {
        let mut target = targets().unwrap().remove(0);
        target.bound = 2.0;
        for (op, below, at, above) in [
            ("<=", true, true, false),
            ("<", true, false, false),
            (">=", false, true, true),
            (">", false, false, true),
        ] {
            target.op = op.to_owned();
            assert_eq!(
                (target.is_met(1.9), target.is_met(2.0), target.is_met(2.1)),
                (below, at, above),
                "{op}"
            );
            assert!(!target.is_met(f64::NAN));
        }
    }

    #[test]
    fn the_tightest_promise_of_ours_comes_first() {
        let targets = targets().unwrap();
        for target in targets.iter().filter(|target| target.id.ends_with(".bar.ours")) {
            let tight = of(&targets, &target.bench_id, &target.metric);
            let is_looser = tight.is_none_or(|tight| {
                let is_same = tight.op != target.op || tight.unit != target.unit;
                is_same
                    || if target.op.starts_with('<') {
                        tight.bound <= target.bound
                    } else {
                        tight.bound >= target.bound
                    }
            });
            assert!(is_looser, "{}", target.id);
        }
    }
}
