//! The arguments of a bench that criterion does not run itself: the same as criterion's, with the same meaning.
//!
//! cargo hands the arguments after `--` to every bench in turn, so a bench that has nothing to measure must take them too. What
//! changes only how criterion samples, plots and prints is accepted and has no effect here.

use regex::Regex;

/// What a bench is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Measure and record.
    Measure,
    /// Print the titles, one a line, as `title: benchmark`.
    List,
    /// Run everything once without measuring: `--test`, or no `--bench` as under `cargo test --benches`.
    Test,
    /// Run under a profiler, or read an old baseline again: nothing is measured that could be recorded.
    Unrecorded,
}

/// The arguments of this process.
#[derive(Debug, Clone)]
pub struct Arguments {
    mode: Mode,
    filter: Filter,
    is_quick: bool,
}

#[derive(Debug, Clone)]
enum Filter {
    All,
    None,
    Exact(String),
    Matching(Regex),
}

/// Options with a value.
const WITH_VALUE: [&str; 15] = [
    "--color",
    "--colour",
    "-c",
    "--save-baseline",
    "-s",
    "--format",
    "--sample-size",
    "--warm-up-time",
    "--measurement-time",
    "--nresamples",
    "--noise-threshold",
    "--confidence-level",
    "--significance-level",
    "--plotting-backend",
    "--output-format",
];
/// Options with a value that name an older measurement or forbid a new one.
const WITH_VALUE_AND_MODE: [&str; 5] =
    ["--baseline", "-b", "--baseline-lenient", "--profile-time", "--load-baseline"];
/// Options without a value and without effect here.
const FLAGS: [&str; 10] = [
    "--verbose",
    "-v",
    "--quiet",
    "--noplot",
    "-n",
    "--discard-baseline",
    "--nocapture",
    "--show-output",
    "--include-ignored",
    "--no-capture",
];

impl Arguments {
    /// Reads the arguments of this process.
    ///
    /// # Errors
    /// A message for an option that criterion does not know either, or for one without its value.
    pub fn from_environment() -> Result<Self, String> {
        Self::parse(std::env::args().skip(1))
    }

    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut is_bench, mut is_test, mut is_list, mut is_unrecorded) = (false, false, false, false);
        let (mut is_exact, mut is_ignored, mut is_quick, mut filter) = (false, false, false, None);
        let mut baselines: Vec<&str> = Vec::new();
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with('-') => (name.to_owned(), Some(value.to_owned())),
                _ => (argument, None),
            };
            let is_valued = |names: &[&str]| names.contains(&name.as_str());
            match name.as_str() {
                "--bench" => is_bench = true,
                "--test" => is_test = true,
                "--list" => is_list = true,
                "--exact" => is_exact = true,
                "--ignored" => is_ignored = true,
                "--quick" => is_quick = true,
                // criterion answers these.
                "--help" | "-h" | "--version" | "-V" => is_unrecorded = true,
                _ if is_valued(&FLAGS) => {}
                _ if is_valued(&WITH_VALUE) || is_valued(&WITH_VALUE_AND_MODE) => {
                    let has_value = value.or_else(|| arguments.next()).is_some();
                    if !has_value {
                        return Err(format!("`{name}` needs a value"));
                    }
                    is_unrecorded |= name == "--profile-time" || name == "--load-baseline";
                    match name.as_str() {
                        "--save-baseline" | "-s" => baselines.push("--save-baseline"),
                        "--baseline" | "-b" => baselines.push("--baseline"),
                        _ => {}
                    }
                }
                other if other.starts_with('-') => return Err(format!("`{other}` is no option of a bench")),
                other if filter.is_some() => return Err(format!("`{other}` is a second filter")),
                other => filter = Some(other.to_owned()),
            }
        }
        if baselines.contains(&"--baseline") && baselines.contains(&"--save-baseline") {
            return Err("`--baseline` and `--save-baseline` exclude each other".to_owned());
        }
        let filter = match filter {
            _ if is_ignored => Filter::None,
            None => Filter::All,
            Some(text) if is_exact => Filter::Exact(text),
            Some(text) => Filter::Matching(Regex::new(&text).map_err(|error| error.to_string())?),
        };
        let mode = match () {
            () if is_list => Mode::List,
            () if is_test || !is_bench => Mode::Test,
            () if is_unrecorded => Mode::Unrecorded,
            () => Mode::Measure,
        };
        Ok(Self { mode, filter, is_quick })
    }

    /// What is asked.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether criterion was told to take few samples.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.is_quick
    }

    /// Whether a title is among those asked for.
    #[must_use]
    pub fn includes(&self, title: &str) -> bool {
        match &self.filter {
            Filter::All => true,
            Filter::None => false,
            Filter::Exact(exact) => exact == title,
            Filter::Matching(regex) => regex.is_match(title),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Arguments, String> {
        Arguments::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn modes_are_those_of_criterion() {
        for (text, expected) in [
            ("--bench", Mode::Measure),
            ("", Mode::Test),
            ("--bench --test", Mode::Test),
            ("--bench --list --format terse", Mode::List),
            ("--bench --profile-time 5", Mode::Unrecorded),
            ("--bench --baseline main --load-baseline new", Mode::Unrecorded),
            ("--save-baseline main --bench", Mode::Measure),
            ("--save-baseline=main --noplot --quick --bench", Mode::Measure),
        ] {
            assert_eq!(parsed(text).map(|arguments| arguments.mode()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn filters_are_expressions_or_exact() {
        let includes = |text: &str, title: &str| parsed(text).unwrap().includes(title);
        assert!(includes("--bench", "a/b"));
        assert!(includes("--bench ^a/.$", "a/b") && !includes("--bench ^a/.$", "x/a/b"));
        assert!(includes("--exact a", "a") && !includes("--exact a", "a/b"));
        assert!(!includes("--ignored a", "a"));
        assert!(parsed("--bench --quick").unwrap().is_quick() && !parsed("--bench").unwrap().is_quick());
        assert!(includes("--save-baseline main b", "a/b"), "the name of a baseline is no filter");
    }

    #[test]
    fn faults_are_named() {
        for (text, expected) in [
            ("--bnech", "`--bnech` is no option of a bench"),
            ("--sample-size", "`--sample-size` needs a value"),
            ("a b", "`b` is a second filter"),
            ("--baseline main --save-baseline new", "`--baseline` and `--save-baseline` exclude each other"),
        ] {
            assert_eq!(parsed(text).unwrap_err(), expected, "{text}");
        }
        assert!(parsed("[").is_err());
    }
}
