//! Columns of adjacent lines: where the printer put a mark before a sign, lines of one form get blanks so that the
//! signs stand below each other.
//!
//! Layout is decided before this, on the text without the added blanks; so formatting twice decides the same.

/// Stands before a sign that may be aligned; the next character is the kind of sign.
pub(super) const MARK: char = '\u{1}';
/// Encloses the name of a line's form, at the start of the line.
pub(super) const FORM: char = '\u{2}';
/// A line break inside a raw string or a part that is printed as it was: not the end of a line to this module.
pub(super) const INNER_BREAK: char = '\u{3}';
/// Kinds of signs, in the order in which they stand on a line. The last is the comment at the end of a line.
const SIGNS: [char; 5] = ['o', ':', '=', '{', '/'];
/// Most blanks that alignment may add to a line.
const MAX_ADDED: usize = 12;

struct Line {
    /// Empty for lines that are aligned with no other.
    form: String,
    indent: usize,
    /// Kind of sign and its text to the next mark; the first has kind `' '`.
    cells: Vec<(char, String)>,
}

impl Line {
    fn parse(line: &str) -> Self {
        let (form, rest) = match line.trim_start().strip_prefix(FORM).and_then(|rest| rest.split_once(FORM)) {
            Some((form, rest)) => (form.to_owned(), rest),
            None => (String::new(), line.trim_start()),
        };
        let indent = line.len() - line.trim_start().len();
        let mut pieces = rest.split(MARK);
        let first = format!("{}{}", " ".repeat(indent), pieces.next().unwrap_or(""));
        let mut cells = vec![(' ', first)];
        for piece in pieces {
            let kind = piece.chars().next().unwrap_or(' ');
            cells.push((kind, piece[kind.len_utf8().min(piece.len())..].to_owned()));
        }
        Self { form, indent, cells }
    }

    /// The column of a sign: the width of all that stands before it.
    fn column(&self, sign: char) -> Option<usize> {
        let idx = self.cells.iter().skip(1).position(|(kind, _)| *kind == sign)? + 1;
        let before: String = self.cells[..idx].iter().map(|(_, text)| text.as_str()).collect();
        Some(before.rsplit(INNER_BREAK).next().unwrap_or("").chars().count())
    }

    fn pad(&mut self, sign: char, blanks: usize) {
        if let Some(idx) = self.cells.iter().position(|(kind, _)| *kind == sign) {
            self.cells[idx - 1].1.push_str(&" ".repeat(blanks));
        }
    }

    fn text(&self) -> String {
        self.cells.iter().map(|(_, text)| text.as_str()).collect::<String>().trim_end().to_owned()
    }
}

/// Aligns the marked lines of a text and removes the marks.
pub(super) fn align(text: &str) -> String {
    let mut lines: Vec<Line> = text.split('\n').map(Line::parse).collect();
    for sign in SIGNS {
        let mut start = 0;
        while start < lines.len() {
            let end = run_end(&lines, start, sign);
            align_run(&mut lines[start..end], sign);
            start = end;
        }
    }
    lines.iter().map(Line::text).collect::<Vec<_>>().join("\n").replace(INNER_BREAK, "\n")
}

fn run_end(lines: &[Line], start: usize, sign: char) -> usize {
    let first = &lines[start];
    let belongs = |line: &Line| {
        if sign == '/' {
            line.column('/').is_some()
        } else {
            !first.form.is_empty() && line.form == first.form && line.indent == first.indent
        }
    };
    let len = lines[start..].iter().take_while(|line| belongs(line)).count();
    start + len.max(1)
}

fn align_run(lines: &mut [Line], sign: char) {
    let columns: Vec<Option<usize>> = lines.iter().map(|line| line.column(sign)).collect();
    let present = columns.iter().flatten();
    let (Some(least), Some(most)) = (present.clone().min(), present.max()) else { return };
    if most - least > MAX_ADDED {
        return;
    }
    for (line, column) in lines.iter_mut().zip(&columns) {
        if let Some(column) = column {
            line.pad(sign, most - column);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_one_form_stand_below_each_other() {
        let text = "\u{2}p\u{2}a \u{1}:: t \u{1}== 1\n\u{2}p\u{2}long \u{1}:: text \u{1}== 2\n\u{2}q\u{2}b \u{1}:: t";
        assert_eq!(align(text), "a    : t    = 1\nlong : text = 2\nb : t");
    }

    #[test]
    fn a_column_that_needs_many_blanks_is_left_alone() {
        let text = format!("\u{2}p\u{2}a \u{1}== 1\n\u{2}p\u{2}{} \u{1}== 2", "b".repeat(14));
        assert_eq!(align(&text), format!("a = 1\n{} = 2", "b".repeat(14)));
    }
}
