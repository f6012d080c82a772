//! The promises of `targets.toml`.
//!
//! The file is flat TOML: tables `[[target]]` of lines `key = value`, where a value is a string or a number. Only that much
//! is read here; anything else is an error that names its line.

/// One promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Unique and stable name.
    pub id: String,
    /// Which measurement: `group/function/parameter`.
    pub bench_id: String,
    /// What of it: `wall_ns`, or `ratio` to another measurement of the same run.
    pub metric: String,
    /// `<=` or `>=`.
    pub op: String,
    /// The limit, in `unit`.
    pub bound: f64,
    /// Unit of the limit.
    pub unit: String,
    /// Where the limit comes from.
    pub note: String,
}

impl Target {
    /// Whether a measured value keeps the promise. A NaN does not.
    #[must_use]
    pub fn is_met(&self, value: f64) -> bool {
        if self.op == ">=" { value >= self.bound } else { value <= self.bound }
    }
}

/// All promises.
///
/// # Errors
/// A message with the line that is not as described above, or that lacks a key.
pub fn targets() -> Result<Vec<Target>, String> {
    parse(include_str!("../targets.toml"))
}

/// The promise about a measurement, if there is one.
#[must_use]
pub fn of<'a>(targets: &'a [Target], bench_id: &str) -> Option<&'a Target> {
    targets.iter().find(|target| target.bench_id == bench_id)
}

fn parse(text: &str) -> Result<Vec<Target>, String> {
    let mut tables: Vec<(usize, Vec<(&str, &str)>)> = Vec::new();
    for (idx, line) in text.lines().enumerate() {
        let line = line.trim();
        match (line, line.split_once(" = "), tables.last_mut()) {
            ("[[target]]", ..) => tables.push((idx + 1, Vec::new())),
            (comment, ..) if comment.is_empty() || comment.starts_with('#') => {}
            (_, Some((key, value)), Some((_, keys))) => keys.push((key.trim(), value.trim())),
            _ => return Err(format!("targets.toml:{}: neither a table nor a value", idx + 1)),
        }
    }
    tables
        .iter()
        .map(|(line, keys)| target(keys).map_err(|message| format!("targets.toml:{line}: {message}")))
        .collect()
}

fn target(keys: &[(&str, &str)]) -> Result<Target, String> {
    let value = |key: &str| {
        let found = keys.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| *value).ok_or_else(|| format!("no `{key}`"))
    };
    let text = |key: &str| {
        let inner = value(key)?.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        inner.map(str::to_owned).ok_or_else(|| format!("`{key}` is no string"))
    };
    let op = text("op")?;
    if op != "<=" && op != ">=" {
        return Err(format!("`op` is `{op}`"));
    }
    Ok(Target {
        id: text("id")?,
        bench_id: text("bench_id")?,
        metric: text("metric")?,
        op,
        bound: value("bound")?.parse().map_err(|_| "`bound` is no number".to_owned())?,
        unit: text("unit")?,
        note: text("note")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_and_names_are_unique() {
        let targets = targets().unwrap();
        assert!(!targets.is_empty());
        for (idx, target) in targets.iter().enumerate() {
            assert!(!target.note.is_empty(), "{}: a promise has a source", target.id);
            assert!(
                targets[..idx].iter().all(|other| other.id != target.id && other.bench_id != target.bench_id)
            );
        }
    }

    #[test]
    fn faults_name_their_line() {
        assert_eq!(parse("# x\n\nid = \"a\"\n").unwrap_err(), "targets.toml:3: neither a table nor a value");
        assert_eq!(parse("\n[[target]]\nid = \"a\"\n").unwrap_err(), "targets.toml:2: no `op`");
        assert_eq!(parse("[[target]]\nop = \"<\"\n").unwrap_err(), "targets.toml:1: `op` is `<`");
    }

    #[test]
    fn limits_hold_on_their_side() {
        let mut target = targets().unwrap().remove(0);
        (target.op, target.bound) = ("<=".to_owned(), 2.0);
        assert!(target.is_met(2.0) && !target.is_met(2.1) && !target.is_met(f64::NAN));
        target.op = ">=".to_owned();
        assert!(target.is_met(2.0) && !target.is_met(1.9) && !target.is_met(f64::NAN));
    }
}
