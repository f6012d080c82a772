//! What a bench may ask about the run: its scale, and the settings of `bench.toml`.
//!
//! The file is built into the benches, so that another setting is another executable, and two runs with different settings never
//! count as unchanged code.

use std::collections::BTreeMap;

use promptc_compiler::toml::{self, Value};

/// Variable that chooses the [`Scale`].
pub const SCALE_VARIABLE: &str = "PROMPTC_BENCH_SCALE";

/// How large the work is. It is a param of every row, so that quick and full runs are different series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// For a look: seconds a bench. Without the variable.
    Quick,
    /// For figures that are published.
    Full,
}

impl Scale {
    /// The text of the param and of the variable.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scale::Quick => "quick",
            Scale::Full => "full",
        }
    }

    /// The scale that the environment asks for.
    ///
    /// # Errors
    /// A message if the variable says anything but `quick` or `full`.
    pub fn from_environment() -> Result<Self, String> {
        Self::parse(std::env::var(SCALE_VARIABLE).ok().as_deref())
    }

    fn parse(text: Option<&str>) -> Result<Self, String> {
        match text {
            None | Some("quick") => Ok(Scale::Quick),
            Some("full") => Ok(Scale::Full),
            Some(other) => Err(format!("{SCALE_VARIABLE} is `{other}`, expected quick or full")),
        }
    }

    /// The size for this scale.
    #[must_use]
    pub fn pick<T>(self, quick: T, full: T) -> T {
        if self == Scale::Quick { quick } else { full }
    }
}

/// Kind of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Count,
    Percent,
    Text,
    Texts,
}

/// All settings. Each must stand in the file, and nothing else may.
const SETTINGS: [(&str, Kind); 18] = [
    ("inference.warmup_iterations", Kind::Count),
    ("inference.iterations", Kind::Count),
    ("inference.prompt_length", Kind::Count),
    ("inference.output_length", Kind::Count),
    ("inference.denoising_steps", Kind::Count),
    ("talora.num_patterns", Kind::Count),
    ("talora.num_queries", Kind::Count),
    ("talora.top_k", Kind::Count),
    ("dgr.iterations", Kind::Count),
    ("dgr.seq_length", Kind::Count),
    ("memory.num_patterns", Kind::Count),
    ("federation.num_nodes", Kind::Count),
    ("federation.rounds", Kind::Count),
    ("quality.dataset", Kind::Text),
    ("quality.tasks", Kind::Texts),
    ("thresholds.latency_increase_percent", Kind::Percent),
    ("thresholds.throughput_decrease_percent", Kind::Percent),
    ("thresholds.memory_increase_percent", Kind::Percent),
];

/// The settings of `bench.toml`, by `section.key`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings(BTreeMap<String, Value>);

impl Settings {
    /// Reads the file that was built in.
    ///
    /// # Errors
    /// A message with the line of a key that is unknown (and the nearest that is known), that has a value of another kind or out of
    /// range; or with the key that is missing.
    pub fn read() -> Result<Self, String> {
        Self::parse(include_str!("../bench.toml"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let tables = toml::parse(text).map_err(|message| format!("bench.toml:{message}"))?;
        let mut values = BTreeMap::new();
        for table in tables {
            for (key, line, value) in table.entries {
                let name = if table.name.is_empty() { key } else { format!("{}.{key}", table.name) };
                check(&name, &value).map_err(|message| format!("bench.toml:{line}: {message}"))?;
                values.insert(name, value);
            }
        }
        let missing = SETTINGS.iter().find(|(name, _)| !values.contains_key(*name));
        match missing {
            Some((name, _)) => Err(format!("bench.toml: no `{name}`")),
            None => Ok(Self(values)),
        }
    }

    /// A setting that is a count.
    ///
    /// # Panics
    /// If there is no such count among the settings of this module.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        match self.0.get(name) {
            Some(Value::Number(number)) => *number as usize,
            _ => panic!("invariant: `{name}` is a count of bench.toml"),
        }
    }

    /// The settings of one section as params of a row: key to text.
    #[must_use]
    pub fn params(&self, section: &str) -> BTreeMap<String, String> {
        let shown = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::List(list) => format!("{list:?}"),
        };
        let of_section = |(name, value): (&String, &Value)| {
            let (found, key) = name.split_once('.')?;
            (found == section).then(|| (key.to_owned(), shown(value)))
        };
        self.0.iter().filter_map(of_section).collect()
    }
}

fn check(name: &str, value: &Value) -> Result<(), String> {
    let Some((_, kind)) = SETTINGS.iter().find(|(known, _)| *known == name) else {
        let nearest = SETTINGS.iter().map(|(known, _)| *known).min_by_key(|known| distance(name, known));
        return Err(format!("`{name}` is no setting, the nearest is `{}`", nearest.unwrap_or_default()));
    };
    let is_text = |value: &Value| matches!(value, Value::Text(_));
    let is_right = match (kind, value) {
        (Kind::Count, Value::Number(number)) => number.fract() == 0.0 && (1.0..=1e12).contains(number),
        (Kind::Percent, Value::Number(number)) => (0.0..=1000.0).contains(number),
        (Kind::Text, value) => is_text(value),
        (Kind::Texts, Value::List(list)) => list.iter().all(is_text),
        _ => false,
    };
    let expected = match kind {
        Kind::Count => "a whole number from 1",
        Kind::Percent => "a number from 0 to 1000",
        Kind::Text => "a string",
        Kind::Texts => "a list of strings",
    };
    if is_right { Ok(()) } else { Err(format!("`{name}` is not {expected}")) }
}

/// Edit distance after Levenshtein (1966), in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (done, character) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = done + 1;
        for (idx, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *other);
            diagonal = row[idx + 1];
            row[idx + 1] = replaced.min(diagonal + 1).min(row[idx] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_with_the_values_of_the_design() {
        let settings = Settings::read().unwrap();
        assert_eq!(settings.count("inference.denoising_steps"), 8);
        assert_eq!(settings.count("talora.num_patterns"), 100_000);
        assert_eq!(settings.params("federation").len(), 2);
        assert_eq!(settings.params("federation")["num_nodes"], "10");
    }

    #[test]
    fn faults_name_the_line_and_the_nearest_key() {
        let file = include_str!("../bench.toml");
        let fault = |from: &str, to: &str| Settings::parse(&file.replacen(from, to, 1)).unwrap_err();
        assert_eq!(
            fault("top_k = 5", "topk = 5"),
            "bench.toml:15: `talora.topk` is no setting, the nearest is `talora.top_k`"
        );
        assert_eq!(fault("top_k = 5\n", ""), "bench.toml: no `talora.top_k`");
        let message = fault("rounds = 100", "rounds = 0");
        assert!(message.ends_with("`federation.rounds` is not a whole number from 1"), "{message}");
        let message = fault("tasks = [\"infill\"]", "tasks = [1]");
        assert!(message.ends_with("`quality.tasks` is not a list of strings"), "{message}");
        assert!(Settings::parse("top_k = 5").unwrap_err().contains("`top_k` is no setting"));
    }

    #[test]
    fn a_scale_is_quick_or_full() {
        assert_eq!(Scale::parse(None), Ok(Scale::Quick));
        assert_eq!(Scale::parse(Some("full")).map(|scale| scale.pick(1, 2)), Ok(2));
        assert!(Scale::parse(Some("Full")).unwrap_err().contains("`Full`"));
    }

    #[test]
    fn distances_are_symmetric_and_zero_for_equal_texts() {
        for (left, right, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("top_k", "top_k", 0)] {
            assert_eq!((distance(left, right), distance(right, left)), (expected, expected));
        }
    }
}
