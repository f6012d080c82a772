//! Lines as statements: a statement ends at `;`, a command is a line that begins with `\`.

/// What a reader asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// SQL without its `;`.
    Sql(String),
    /// The text after `\`.
    Command(String),
}

/// Lines of a statement that has not ended.
#[derive(Debug, Default)]
pub(super) struct Pending {
    text: String,
}

impl Pending {
    /// Takes lines and returns what they complete.
    pub(super) fn take(&mut self, lines: &str) -> Vec<Input> {
        let mut found = Vec::new();
        for line in lines.lines() {
            if let Some(command) = line.trim_start().strip_prefix('\\').filter(|_| self.is_empty()) {
                found.push(Input::Command(command.trim().to_owned()));
                self.text.clear();
                continue;
            }
            self.text.push_str(line);
            self.text.push('\n');
            while let Some(end) = end_of_statement(&self.text) {
                let rest = self.text.split_off(end + 1);
                self.text.pop();
                found.extend(self.last());
                self.text = rest;
            }
        }
        found
    }

    /// What is left when the lines end: a statement without `;`.
    pub(super) fn last(&mut self) -> Option<Input> {
        let is_empty = self.is_empty();
        let text = std::mem::take(&mut self.text);
        (!is_empty).then(|| Input::Sql(text.trim().to_owned()))
    }

    /// Whether nothing but blanks and comments waits.
    pub(super) fn is_empty(&self) -> bool {
        let mut scan = Scan::new(&self.text);
        !scan.any(|(_, letter)| !letter.is_whitespace())
    }
}

/// Whether a text can be run as it stands: a command, blank, or statements that have all ended.
pub(super) fn is_whole(text: &str) -> bool {
    let mut pending = Pending::default();
    pending.take(text);
    pending.is_empty() && !Scan::new(&pending.text).ends_open()
}

/// Place of the first `;` that is neither quoted nor in a comment.
fn end_of_statement(text: &str) -> Option<usize> {
    Scan::new(text).find(|(_, letter)| *letter == ';').map(|(at, _)| at)
}

/// The letters of SQL outside of comments; of quoted texts only the quotes, as one letter each.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    is_open: bool,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, is_open: false }
    }

    /// Whether the text ends within a comment or a quoted text.
    fn ends_open(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.is_open
    }

    /// Goes on after the next `end`; without one the text is open.
    fn skip_past(&mut self, end: &str) {
        match self.text[self.at..].find(end) {
            Some(found) => self.at += found + end.len(),
            None => {
                self.at = self.text.len();
                self.is_open = end != "\n";
            }
        }
    }
}

impl Iterator for Scan<'_> {
    type Item = (usize, char);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (start, rest) = (self.at, &self.text[self.at..]);
            let letter = rest.chars().next()?;
            if rest.starts_with("--") {
                self.skip_past("\n");
                continue;
            }
            if rest.starts_with("/*") {
                self.at += 2;
                self.skip_past("*/");
                continue;
            }
            self.at += letter.len_utf8();
            // A doubled quote ends one text and begins another, which is the same here.
            match letter {
                '\'' => self.skip_past("'"),
                '"' => self.skip_past("\""),
                _ => {}
            }
            return Some((start, letter));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> Input {
        Input::Sql(text.to_owned())
    }

    #[test]
    fn statements_end_at_semicolons_of_their_own() {
        let mut pending = Pending::default();
        assert_eq!(pending.take("SELECT 1; SELECT ';' -- ; no\n"), [sql("SELECT 1")]);
        assert_eq!(pending.take(", \"a;b\", 'it''s;' /* ; */"), []);
        assert_eq!(pending.take("; SELECT 3"), [sql("SELECT ';' -- ; no\n, \"a;b\", 'it''s;' /* ; */")]);
        assert_eq!(pending.last(), Some(sql("SELECT 3")));
        assert_eq!(pending.last(), None);
        assert_eq!(pending.take(";;\n ; -- nothing"), []);
        assert!(pending.is_empty());
    }

    #[test]
    fn commands_are_lines_between_statements() {
        let mut pending = Pending::default();
        let command = |text: &str| Input::Command(text.to_owned());
        assert_eq!(
            pending.take("\\d results \n-- a note\n \\timer\nSELECT 1;"),
            [command("d results"), command("timer"), sql("SELECT 1")]
        );
        assert_eq!(pending.take("SELECT\n\\d\n;"), [sql("SELECT\n\\d")]);
    }

    #[test]
    fn an_editor_knows_when_to_stop_asking() {
        for whole in ["", "  ", "\\d", "SELECT 1;", "SELECT 1; SELECT 2 ;", "-- note"] {
            assert!(is_whole(whole), "{whole}");
        }
        for open in
            ["SELECT 1", "SELECT 1; SELECT 2", "SELECT ';", "SELECT 1 /* ;", "/* note", "SELECT \"a;\""]
        {
            assert!(!is_whole(open), "{open}");
        }
    }
}
