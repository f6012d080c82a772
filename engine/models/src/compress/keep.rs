//! Constraints: parts that must stay when a sentence is kept at least in part.
//!
//! [`marks`] finds the words of a clause that a constraint protects; [`required`] says which units each sentence
//! pulls in; [`violations`] counts, with other means (regular expressions over the finished span map), what is
//! missing from an output. The first two serve selection, the third serves tests and reports, and they must agree.

use std::sync::LazyLock;

use regex::Regex;

use super::units::{self, Clause, Kind, Sentence};
use crate::spans::Piece;
use crate::tokenize::Tokenizer;

/// Spelled numbers.
const NUMBER_WORDS: [&str; 24] = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "hundred",
    "thousand",
    "million",
    "billion",
];

/// Words that turn a sentence's meaning; `n't` is recognised apart.
const NEGATION_WORDS: [&str; 10] =
    ["not", "no", "never", "none", "nor", "without", "cannot", "unless", "except", "only"];

/// Which constraints hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeepSet {
    /// Clauses of kept sentences with a digit or a spelled number.
    pub numbers: bool,
    /// Clauses of kept sentences with a capitalised word not at sentence start, or an identifier.
    pub names: bool,
    /// Clauses of kept sentences with a negation.
    pub negation: bool,
    /// Fences after a kept sentence that ends in `:`; inline code spans are never cut.
    pub code: bool,
    /// The header of a table of which a row is kept; tables may then be cut between rows.
    pub tables: bool,
    /// The nearest heading of every kept unit.
    pub headings: bool,
}

impl KeepSet {
    /// True if no constraint holds.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Appends the byte ranges of `clause` that `keep` protects; `at_start` says that the clause opens its sentence, so
/// that its first word's capital means nothing. Cost: one pass.
pub fn marks(clause: &str, at_start: bool, keep: KeepSet, out: &mut Vec<(u32, u32)>) {
    if !(keep.numbers || keep.names || keep.negation) {
        return;
    }
    let mut first = at_start;
    let mut previous: Option<(usize, usize)> = None;
    for (start, end) in (Words { text: clause, idx: 0 }) {
        let word = &clause[start..end];
        let number = keep.numbers && is_number(word);
        let name = keep.names && (!first && is_capitalised(word) || has_inner_capital(word));
        let negation = keep.negation && is_listed(word, &NEGATION_WORDS);
        if number || name || negation {
            out.push((start as u32, end as u32));
        }
        if let Some((previous_start, previous_end)) = previous {
            let between = &clause[previous_end..start];
            let identifier = keep.names && (between == "::" || between == "." && starts_with_letter(word));
            let contraction = keep.negation
                && (between == "'" || between == "’")
                && word.eq_ignore_ascii_case("t")
                && clause[previous_start..previous_end].ends_with(['n', 'N']);
            if identifier || contraction {
                out.push((previous_start as u32, end as u32));
            }
        }
        if keep.names && word.contains('_') && word.chars().any(char::is_alphanumeric) {
            out.push((start as u32, end as u32));
        }
        first = false;
        previous = Some((start, end));
    }
}

/// The units that must stay if any part of a sentence stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Required {
    /// Start of each sentence's list in `units`; one longer than the sentences.
    starts: Vec<u32>,
    units: Vec<u32>,
}

impl Required {
    /// The units that sentence `sentence` pulls in.
    pub fn of(&self, sentence: u32) -> &[u32] {
        let idx = sentence as usize;
        match (self.starts.get(idx), self.starts.get(idx + 1)) {
            (Some(&start), Some(&end)) => &self.units[start as usize..end as usize],
            _ => &[],
        }
    }
}

/// A sentence as the constraints see it.
pub struct Subject<'a> {
    /// The text of the row that the sentence stands in.
    pub text: &'a str,
    /// Index of that text.
    pub text_idx: u32,
    /// The sentence.
    pub sentence: Sentence,
    /// First of its units.
    pub first_unit: u32,
    /// Its units' byte ranges.
    pub units: &'a [(u32, u32)],
}

/// Which units every sentence pulls in, in the order of `subjects`.
pub fn required<'a>(subjects: impl Iterator<Item = Subject<'a>>, keep: KeepSet) -> Required {
    let mut required = Required { starts: vec![0], units: Vec::new() };
    if keep.is_empty() {
        return required;
    }
    let mut heading: Option<(u32, u32)> = None;
    let mut open_colon: Option<(u32, usize)> = None;
    let mut late: Vec<(usize, u32)> = Vec::new();
    let mut found = Vec::new();
    for (idx, subject) in subjects.enumerate() {
        let kind = subject.sentence.kind;
        if kind == Kind::Code && keep.code {
            if let Some((text_idx, before)) = open_colon
                && text_idx == subject.text_idx
            {
                late.push((before, subject.first_unit));
            }
        } else if matches!(kind, Kind::Prose | Kind::Item) {
            for (unit_idx, &(start, end)) in subject.units.iter().enumerate() {
                found.clear();
                let clause = &subject.text[start as usize..end as usize];
                marks(clause, start == subject.sentence.start, keep, &mut found);
                if !found.is_empty() {
                    required.units.push(subject.first_unit + unit_idx as u32);
                }
            }
        }
        if kind == Kind::Table && keep.tables {
            required.units.push(subject.first_unit);
        }
        if kind == Kind::Heading {
            heading = Some((subject.text_idx, subject.first_unit));
        } else if let Some((text_idx, unit)) = heading
            && keep.headings
            && text_idx == subject.text_idx
        {
            required.units.push(unit);
        }
        let whole = &subject.text[subject.sentence.start as usize..subject.sentence.end as usize];
        open_colon = whole.ends_with(':').then_some((subject.text_idx, idx));
        required.starts.push(required.units.len() as u32);
    }
    for &(sentence, unit) in late.iter().rev() {
        required.units.insert(required.starts[sentence + 1] as usize, unit);
        required.starts[sentence + 1..].iter_mut().for_each(|start| *start += 1);
    }
    required
}

/// Byte ranges of a table's units when it may be cut: the header with its rule, then every row.
pub fn table_rows(text: &str, sentence: Sentence) -> Vec<(u32, u32)> {
    let mut rows: Vec<(u32, u32)> = Vec::new();
    let mut start = sentence.start as usize;
    for line in text[start..sentence.end as usize].split('\n') {
        let (low, high) = units::trim(text, start, start + line.len());
        start += line.len() + 1;
        match rows.as_mut_slice() {
            [header] if units::is_table_rule(&text[low..high]) => header.1 = high as u32,
            _ if low < high => rows.push((low as u32, high as u32)),
            _ => {}
        }
    }
    rows
}

/// Counts the units that must stay by `keep` and are missing from an output of `text` with map `pieces`.
///
/// A second implementation of the recognisers, over regular expressions: `unmet` of an output without structural
/// edits equals this count. Clauses are those of [`units::clauses`] under `tokenizer`, or whole sentences if
/// `by_clause` is false.
pub fn violations(
    text: &str,
    pieces: &[Piece],
    keep: KeepSet,
    by_clause: bool,
    tokenizer: &dyn Tokenizer,
) -> u32 {
    let mut sentences = Vec::new();
    units::sentences(text, &mut sentences);
    let touched = |start: u32, end: u32| pieces.iter().any(|piece| piece.start < end && start < piece.end);
    let whole = |start: u32, end: u32| pieces.iter().any(|piece| piece.start <= start && end <= piece.end);
    let mut missing = std::collections::BTreeSet::new();
    for (idx, sentence) in sentences.iter().enumerate() {
        if !touched(sentence.start, sentence.end) {
            continue;
        }
        if matches!(sentence.kind, Kind::Prose | Kind::Item) && by_clause {
            let mut clauses: Vec<Clause> = Vec::new();
            if sentence.kind == Kind::Prose {
                units::clauses(text, sentence.start, sentence.end, keep.code, tokenizer, &mut clauses);
            }
            for clause in clauses.iter().filter(|clause| !whole(clause.start, clause.end)) {
                let slice = &text[clause.start as usize..clause.end as usize];
                if expressions_match(slice, clause.start == sentence.start, keep) {
                    missing.insert(clause.start);
                }
            }
        }
        if keep.tables && sentence.kind == Kind::Table {
            let header =
                table_rows(text, *sentence).first().copied().unwrap_or((sentence.start, sentence.start));
            if !whole(header.0, header.1) {
                missing.insert(header.0);
            }
        }
        if keep.headings && sentence.kind != Kind::Heading {
            let heading = sentences[..idx].iter().rev().find(|other| other.kind == Kind::Heading);
            if let Some(heading) = heading.filter(|heading| !whole(heading.start, heading.end)) {
                missing.insert(heading.start);
            }
        }
        if keep.code
            && text[sentence.start as usize..sentence.end as usize].ends_with(':')
            && let Some(next) = sentences.get(idx + 1).filter(|next| next.kind == Kind::Code)
            && !whole(next.start, next.end)
        {
            missing.insert(next.start);
        }
    }
    missing.len() as u32
}

fn expressions_match(clause: &str, at_start: bool, keep: KeepSet) -> bool {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        expression(&format!(
            r"\p{{Nd}}|(?i)(?:^|[^\p{{Alphabetic}}\p{{N}}_])(?:{})(?:$|[^\p{{Alphabetic}}\p{{N}}_])",
            NUMBER_WORDS.join("|")
        ))
    });
    static NEGATION: LazyLock<Regex> = LazyLock::new(|| {
        expression(&format!(
            r"(?i)(?:^|[^\p{{Alphabetic}}\p{{N}}_])(?:{})(?:$|[^\p{{Alphabetic}}\p{{N}}_])|n['’]t(?:$|[^\p{{Alphabetic}}\p{{N}}_])",
            NEGATION_WORDS.join("|")
        ))
    });
    static IDENTIFIER: LazyLock<Regex> = LazyLock::new(|| {
        expression(
            r"[\p{Alphabetic}\p{N}]_|_[\p{Alphabetic}\p{N}]|[\p{Alphabetic}\p{N}_](?:::[\p{Alphabetic}\p{N}_]|\.\p{Alphabetic})|\p{Lowercase}\p{Uppercase}",
        )
    });
    static CAPITAL: LazyLock<Regex> =
        LazyLock::new(|| expression(r"(?:^|[^\p{Alphabetic}\p{N}_])(\p{Uppercase}[\p{Alphabetic}\p{N}_]*)"));
    if keep.numbers && NUMBER.is_match(clause) || keep.negation && NEGATION.is_match(clause) {
        return true;
    }
    if !keep.names {
        return false;
    }
    let first_word = clause.find(|character: char| character.is_alphanumeric() || character == '_');
    IDENTIFIER.is_match(clause)
        || CAPITAL
            .captures_iter(clause)
            .filter_map(|found| found.get(1))
            .any(|word| word.as_str() != "I" && !(at_start && Some(word.start()) == first_word))
}

fn expression(source: &str) -> Regex {
    Regex::new(source).expect("invariant: a constant expression compiles")
}

/// Maximal runs of letters, digits and underscores.
struct Words<'a> {
    text: &'a str,
    idx: usize,
}

impl Iterator for Words<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let start = self.idx + self.text[self.idx..].find(is_word)?;
        let len = self.text[start..].find(|character| !is_word(character)).unwrap_or(self.text.len() - start);
        self.idx = start + len;
        Some((start, self.idx))
    }
}

fn is_number(word: &str) -> bool {
    static DIGIT: LazyLock<Regex> = LazyLock::new(|| expression(r"\p{Nd}"));
    word.bytes().any(|byte| byte.is_ascii_digit())
        || is_listed(word, &NUMBER_WORDS)
        || !word.is_ascii() && word.chars().any(char::is_numeric) && DIGIT.is_match(word)
}

fn is_listed(word: &str, list: &[&str]) -> bool {
    list.iter().any(|listed| word.eq_ignore_ascii_case(listed))
}

fn is_capitalised(word: &str) -> bool {
    word != "I" && word.chars().next().is_some_and(char::is_uppercase)
}

fn has_inner_capital(word: &str) -> bool {
    let mut lower = false;
    word.chars().any(|character| {
        let inner = lower && character.is_uppercase();
        lower = character.is_lowercase();
        inner
    })
}

fn starts_with_letter(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(name: &str) -> KeepSet {
        let mut keep = KeepSet::default();
        match name {
            "numbers" => keep.numbers = true,
            "names" => keep.names = true,
            _ => keep.negation = true,
        }
        keep
    }

    #[test]
    fn marks_and_expressions_agree_on_each_recogniser() {
        let cases = [
            ("numbers", "costs 5 euro", true),
            ("numbers", "Twenty men", true),
            ("numbers", "oneself and tension", false),
            ("numbers", "٣ items", true),
            ("names", "Paris is big", false),
            ("names", "the city of Paris", true),
            ("names", "and then I went", false),
            ("names", "call foo_bar now", true),
            ("names", "use std::fmt now", true),
            ("names", "open main.rs now", true),
            ("names", "3.5 percent", false),
            ("names", "camelCase is here", true),
            ("negation", "it is not so", true),
            ("negation", "they don't know", true),
            ("negation", "they don’t know", true),
            ("negation", "a note of nothing", false),
            ("negation", "Unless it rains", true),
        ];
        for (name, clause, expected) in cases {
            let mut found = Vec::new();
            marks(clause, true, keep(name), &mut found);
            assert_eq!(!found.is_empty(), expected, "marks: {name}: {clause}");
            assert_eq!(
                expressions_match(clause, true, keep(name)),
                expected,
                "expressions: {name}: {clause}"
            );
        }
    }

    #[test]
    fn a_table_is_cut_after_its_header() {
        let text = "| a |\n|---|\n| 1 |\n| 2 |";
        let sentence = Sentence { start: 0, end: text.len() as u32, kind: Kind::Table };
        assert_eq!(table_rows(text, sentence), [(0, 11), (12, 17), (18, 23)]);
    }
}
