//! The promises of `targets.toml`: every figure of the five documents that the project began with, and our own.
//!
//! A figure that was printed there has `kind` [`Kind::Seed`] and stays as it was printed, also where it cannot be right; then a
//! [`Kind::Restated`] row stands beside it with the arithmetic. What we promise ourselves is [`Kind::Ours`].

use promptc_compiler::targets::parse;
pub use promptc_compiler::targets::{Kind, SEEDS, Target};

/// All promises.
///
/// # Errors
/// A message with the line that is not as described above, or that lacks a key.
pub fn targets() -> Result<Vec<Target>, String> {
    parse(include_str!("../targets.toml")).map_err(|message| format!("targets.toml:{message}"))
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
            // Fault tests and the verb `stress crash` are no benches; the former name themselves where they record.
            .filter(|target| !target.bench_id.starts_with("reliability/"))
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
