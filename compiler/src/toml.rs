//! The part of TOML that the benches' two files use: tables, arrays of tables, and one `key = value` a line.
//!
//! A value is a string in double quotes, a number, `true` or `false`, or a list of these on one line. Anything else is an
//! error that names its line, so that nothing is read otherwise than another reader of TOML would read it.

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `"text"`.
    Text(String),
    /// `12`, `1_000`, `0.5`.
    Number(f64),
    /// `true` or `false`.
    Flag(bool),
    /// `["a", "b"]`.
    List(Vec<Value>),
}

/// A table with what stands in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The name between the brackets; empty for what stands before the first table.
    pub name: String,
    /// Whether it is one of an array of tables: `[[name]]`.
    pub is_element: bool,
    /// Where it begins, from 1.
    pub line: usize,
    /// Keys with their lines and values, in the order of the file.
    pub entries: Vec<(String, usize, Value)>,
}

impl Table {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(name, ..)| name == key).map(|(.., value)| value)
    }

    /// The text of a key.
    ///
    /// # Errors
    /// A message if there is no such key, or no text under it.
    pub fn text(&self, key: &str) -> Result<&str, String> {
        match self.get(key) {
            Some(Value::Text(text)) => Ok(text),
            Some(_) => Err(format!("`{key}` is no string")),
            None => Err(format!("no `{key}`")),
        }
    }

    /// The number of a key.
    ///
    /// # Errors
    /// A message if there is no such key, or no number under it.
    pub fn number(&self, key: &str) -> Result<f64, String> {
        match self.get(key) {
            Some(Value::Number(number)) => Ok(*number),
            Some(_) => Err(format!("`{key}` is no number")),
            None => Err(format!("no `{key}`")),
        }
    }
}

/// All tables of a file in its order. Keys before the first table are in a table without a name.
///
/// # Errors
/// `line: what is wrong with it`.
pub fn parse(text: &str) -> Result<Vec<Table>, String> {
    let mut tables: Vec<Table> = Vec::new();
    for (idx, line) in text.lines().enumerate() {
        parse_line(line, idx + 1, &mut tables).map_err(|message| format!("{}: {message}", idx + 1))?;
    }
    Ok(tables)
}

fn parse_line(line: &str, number: usize, tables: &mut Vec<Table>) -> Result<(), String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    if line.starts_with('[') {
        let table = header(line, number)?;
        let is_known = |known: &Table| known.name == table.name && !(known.is_element && table.is_element);
        if tables.iter().any(is_known) {
            return Err(format!("`{}` stands here again", table.name));
        }
        tables.push(table);
        return Ok(());
    }
    let (key, value) = line.split_once('=').ok_or("neither a table nor a value")?;
    let key = key.trim();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if key.is_empty() || !key.bytes().all(is_plain) {
        return Err(format!("`{key}` is no plain key"));
    }
    let mut reader = Reader { rest: value };
    let value = reader.value()?;
    reader.end()?;
    if tables.is_empty() {
        tables.push(Table { name: String::new(), is_element: false, line: number, entries: Vec::new() });
    }
    let table = tables.last_mut().expect("invariant: a table was pushed");
    if table.get(key).is_some() {
        return Err(format!("`{key}` stands here again"));
    }
    table.entries.push((key.to_owned(), number, value));
    Ok(())
}

fn header(line: &str, number: usize) -> Result<Table, String> {
    let line = line.split('#').next().unwrap_or(line).trim();
    let element = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]"));
    let name =
        element.or_else(|| line.strip_prefix('[')?.strip_suffix(']')).ok_or("no whole table header")?;
    let name = name.trim();
    if name.is_empty() || name.contains(['[', ']', '"', ' ']) {
        return Err(format!("`{name}` is no plain table name"));
    }
    Ok(Table { name: name.to_owned(), is_element: element.is_some(), line: number, entries: Vec::new() })
}

/// What is left of a line.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn take(&mut self, expected: char) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn end(&mut self) -> Result<(), String> {
        let rest = self.rest.trim_start();
        if rest.is_empty() || rest.starts_with('#') {
            Ok(())
        } else {
            Err(format!("`{rest}` after the value"))
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        if self.take('"') {
            return self.text().map(Value::Text);
        }
        if self.take('[') {
            let mut list = Vec::new();
            while !self.take(']') {
                list.push(self.value()?);
                if !self.take(',') && !self.rest.trim_start().starts_with(']') {
                    return Err("a list without its end on the same line".to_owned());
                }
            }
            return Ok(Value::List(list));
        }
        let end = self.rest.find([',', ']', '#', ' ', '\t']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "true" => Ok(Value::Flag(true)),
            "false" => Ok(Value::Flag(false)),
            _ => number(word).map(Value::Number).ok_or_else(|| format!("`{word}` is no value")),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, same @ ('"' | '\\'))) => text.push(same),
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    _ => return Err("an escape other than \\\" \\\\ \\n \\t".to_owned()),
                },
                _ => text.push(character),
            }
        }
        Err("a string without its end".to_owned())
    }
}

/// Only digits, one point, a sign, an exponent, and `_` between digits; no `inf` and no `nan`.
fn number(word: &str) -> Option<f64> {
    let is_numeric =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E' | b'_');
    let has_edge = word.starts_with(['_', '.']) || word.ends_with(['_', '.']);
    if !word.bytes().all(is_numeric) || has_edge {
        return None;
    }
    word.replace('_', "").parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_kinds_are_read() {
        let text = "a = 1_000 # one\n[one]\nb = \"x # \\\"y\\\"\"\nc = [\"p\", 2.5, true]\n\n[[two]]\n[[two]]\nd = -3e2\n";
        let tables = parse(text).unwrap();
        let shown: Vec<_> =
            tables.iter().map(|table| (table.name.as_str(), table.is_element, table.line)).collect();
        assert_eq!(shown, [("", false, 1), ("one", false, 2), ("two", true, 6), ("two", true, 7)]);
        assert_eq!(tables[0].number("a"), Ok(1000.0));
        assert_eq!(tables[1].text("b"), Ok("x # \"y\""));
        let list = vec![Value::Text("p".to_owned()), Value::Number(2.5), Value::Flag(true)];
        assert_eq!(tables[1].get("c"), Some(&Value::List(list)));
        assert_eq!(tables[3].number("d"), Ok(-300.0));
    }

    #[test]
    fn anything_else_is_an_error_with_its_line() {
        for (text, expected) in [
            ("# x\n\nid\n", "3: neither a table nor a value"),
            ("a = 1\na = 2", "2: `a` stands here again"),
            ("[a]\n[a]", "2: `a` stands here again"),
            ("[[a]]\n[a]", "2: `a` stands here again"),
            ("[a", "1: no whole table header"),
            ("a = \"x", "1: a string without its end"),
            ("a = \"\\q\"", "1: an escape other than \\\" \\\\ \\n \\t"),
            ("a = [1, 2", "1: a list without its end on the same line"),
            ("a = nan", "1: `nan` is no value"),
            ("a = 1 2", "1: `2` after the value"),
            ("a.b = 1", "1: `a.b` is no plain key"),
            ("a = ", "1: `` is no value"),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        }
    }
}
