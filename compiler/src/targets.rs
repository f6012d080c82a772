//! The promises of a file as `benches/targets.toml`: `[[target]]` blocks of texts and one number.
//!
//! Here, because the command and benches that are built without the store both read it. Which promises there are, and what they are
//! about, this module does not know.

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

impl Kind {
    const ALL: [Self; 3] = [Self::Seed, Self::Restated, Self::Ours];

    /// Its name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Seed => "seed",
            Self::Restated => "restated",
            Self::Ours => "ours",
        }
    }
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

/// The promises of a file in its order.
///
/// # Errors
/// `line: what is wrong with it`: a line that is not as described above, or a promise that lacks a key.
pub fn parse(text: &str) -> Result<Vec<Target>, String> {
    let tables = toml::parse(text)?;
    let read = |table: &Table| target(table).map_err(|message| format!("{}: {message}", table.line));
    tables.iter().map(read).collect()
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
    let kind = one_of("kind", &Kind::ALL.map(Kind::name))?;
    let kind =
        Kind::ALL.into_iter().find(|known| known.name() == kind).expect("invariant: one of these names");
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

    const WHOLE: &str = "[[target]]\nid = \"a\"\nseed = \"none\"\nerrata = \"\"\nsection = \"\"\nkind = \"ours\"\nbench_id = \"\"\n\
        metric = \"wall_ns\"\nstatistic = \"median\"\nop = \"<=\"\nbound = 1\nunit = \"ns\"\nneeds = \"cpu\"\nnote = \"x\"\n";

    #[test]
    fn faults_name_their_line() {
        assert_eq!(parse(WHOLE).map(|targets| targets.len()), Ok(1));
        for (from, to, expected) in [
            ("[[target]]", "[target]", "1: `target` is not [[target]]"),
            ("bound = 1", "bound = \"1\"", "1: `bound` is no number"),
            ("note = \"x\"\n", "", "1: no `note`"),
            ("note", "notes", "1: `notes` is no key of a target"),
            ("\"<=\"", "\"==\"", "1: `op` is `==`, not one of <=, <, >=, >"),
            ("\"ours\"", "\"theirs\"", "1: `kind` is `theirs`, not one of seed, restated, ours"),
            (
                "unit = \"ns\"",
                "unit = \"us\"",
                "1: `unit` is `us`, not one of ns, bytes, 1/s, bytes/s, ratio, count, tok/s",
            ),
        ] {
            assert_eq!(parse(&WHOLE.replacen(from, to, 1)).unwrap_err(), expected);
        }
        assert_eq!(parse("# x\n\nid\n").unwrap_err(), "3: neither a table nor a value");
    }

    #[test]
    fn limits_hold_on_their_side() {
        let mut target = parse(WHOLE).unwrap().remove(0);
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
}
