//! The queries and gates that come with the program, so that they are there in any project.
//!
//! They are the files of `queries/` as they were when the program was built; a file that is named on the command line is
//! read instead.

/// A file of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shipped {
    /// Its name without ending, as `targets`.
    pub(crate) name: &'static str,
    /// Its path in the repository.
    pub(crate) path: &'static str,
    /// Its text.
    pub(crate) sql: &'static str,
}

macro_rules! shipped {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        &[$(Shipped {
            name: $name,
            path: concat!($folder, $name, ".sql"),
            sql: include_str!(concat!("../../../", $folder, $name, ".sql")),
        }),+]
    };
}

/// Questions, by name.
pub(crate) const QUERIES: &[Shipped] = shipped!["queries/":
    "alerts_backtest", "blame_range", "cache_hits", "change_points", "compare_runs", "drift", "environments",
    "memory_growth", "noise_health", "quality_vs_speed", "recall", "regressions", "reliability", "seed_report",
    "storage_stress", "tail_latency", "targets", "trend", "version_history",
];

/// Gates, by name.
pub(crate) const GATES: &[Shipped] = shipped!["queries/gates/":
    "drift", "false_alarm", "iqr_fence", "lookback_z", "mann_whitney", "memory_slope", "paired", "quality_floor",
    "reliability", "seed_ten_percent", "storage_law", "targets",
];

/// The question in the first line of a query.
pub(crate) fn question(sql: &str) -> &str {
    sql.lines().next().and_then(|line| line.strip_prefix("-- ")).unwrap_or_default()
}

/// The query of that name.
pub(crate) fn query(name: &str) -> Option<&'static Shipped> {
    QUERIES.iter().find(|query| query.name == name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn names(folder: &str) -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
        let names = std::fs::read_dir(folder).expect("the folder of queries");
        let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".sql").map(str::to_owned)).collect();
        names.sort();
        names
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_program() {
        for (list, folder) in [(QUERIES, "queries"), (GATES, "queries/gates")] {
            let listed: Vec<&str> = list.iter().map(|shipped| shipped.name).collect();
            assert_eq!(listed, names(folder), "{folder}");
        }
    }

    #[test]
    fn queries_are_found_by_name_and_say_their_question() {
        let targets = query("targets").expect("a shipped query");
        assert!(question(targets.sql).ends_with('?') && targets.path == "queries/targets.sql", "{targets:?}");
        assert_eq!(query("target"), None);
    }
}
