//! The two grammars accept the same programs: a small interpreter runs `grammar/promptc.peg` over the corpus, over what
//! is left of it without one line, and over the programs with mistakes.

use std::collections::HashMap;

use pest::Parser;
use promptc_compiler::diagnostic::Code;
use promptc_compiler::syntax::grammar::{PromptcParser, Rule, is_catch_all};
use regex::Regex;

use crate::corpus::{check, good_programs, programs, root};

/// A parsing expression.
enum Peg {
    Choice(Vec<Peg>),
    Sequence(Vec<Peg>),
    Repeat(Box<Peg>, usize, usize),
    Not(Box<Peg>),
    Literal(String),
    /// The regex, and whether a word character must not follow (which the `regex` crate cannot say).
    Pattern(Regex, bool),
    Rule(String),
}

struct Reader<'a> {
    tokens: Vec<&'a str>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> &'a str {
        self.tokens.get(self.at).copied().unwrap_or("")
    }

    fn take(&mut self) -> &'a str {
        self.at += 1;
        self.tokens[self.at - 1]
    }

    fn choice(&mut self) -> Peg {
        let mut all = vec![self.sequence()];
        while self.peek() == "/" {
            self.take();
            all.push(self.sequence());
        }
        Peg::Choice(all)
    }

    fn sequence(&mut self) -> Peg {
        let mut all = Vec::new();
        while !matches!(self.peek(), "" | "/" | ")") {
            all.push(self.repeated());
        }
        Peg::Sequence(all)
    }

    fn repeated(&mut self) -> Peg {
        if self.peek() == "!" {
            self.take();
            return Peg::Not(Box::new(self.repeated()));
        }
        let one = self.atom();
        let (least, most) = match self.peek() {
            "*" => (0, usize::MAX),
            "+" => (1, usize::MAX),
            "?" => (0, 1),
            _ => return one,
        };
        self.take();
        Peg::Repeat(Box::new(one), least, most)
    }

    fn atom(&mut self) -> Peg {
        let token = self.take();
        if token == "(" {
            let inner = self.choice();
            assert_eq!(self.take(), ")");
            return inner;
        }
        if let Some(pattern) = token.strip_prefix('~') {
            let pattern = unescape(&pattern[1..pattern.len() - 1]);
            let (pattern, ends_word) = match pattern.strip_suffix("(?![A-Za-z0-9_])") {
                Some(pattern) => (pattern.to_owned(), true),
                None => (pattern, false),
            };
            return Peg::Pattern(Regex::new(&format!("^(?:{pattern})")).expect("a regex"), ends_word);
        }
        match token.strip_prefix('"') {
            Some(literal) => Peg::Literal(unescape(&literal[..literal.len() - 1])),
            None => Peg::Rule(token.to_owned()),
        }
    }
}

/// Escapes of a Python string: `\\` and `\n`; others stay as they are.
fn unescape(text: &str) -> String {
    text.replace("\\\\", "\u{0}").replace("\\n", "\n").replace('\u{0}', "\\")
}

fn read_grammar(text: &str) -> HashMap<String, Peg> {
    let token =
        Regex::new(r#"~"[^"]*"|~'[^']*'|"(?:\\.|[^"\\])*"|[A-Za-z_0-9]+|[/()*+?!]"#).expect("a regex");
    let mut bodies: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match line.split_once('=').filter(|_| !line.starts_with(' ')) {
            Some((name, body)) => bodies.push((name.trim().to_owned(), body.to_owned())),
            None => bodies.last_mut().expect("a rule before its continuation").1.push_str(line),
        }
    }
    let read = |body: &str| {
        Reader { tokens: token.find_iter(body).map(|found| found.as_str()).collect(), at: 0 }.choice()
    };
    bodies.iter().map(|(name, body)| (name.clone(), read(body))).collect()
}

/// Where a match of `peg` at `at` ends.
fn run(rules: &HashMap<String, Peg>, peg: &Peg, text: &str, at: usize) -> Option<usize> {
    match peg {
        Peg::Choice(all) => all.iter().find_map(|one| run(rules, one, text, at)),
        Peg::Sequence(all) => all.iter().try_fold(at, |at, one| run(rules, one, text, at)),
        Peg::Not(one) => run(rules, one, text, at).is_none().then_some(at),
        Peg::Literal(literal) => text[at..].starts_with(literal.as_str()).then(|| at + literal.len()),
        Peg::Rule(name) => run(rules, rules.get(name).unwrap_or_else(|| panic!("rule {name}")), text, at),
        Peg::Pattern(pattern, ends_word) => {
            let end = at + pattern.find(&text[at..])?.end();
            let follows = text[end..].starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
            (!(*ends_word && follows)).then_some(end)
        }
        Peg::Repeat(one, least, most) => {
            let (mut end, mut count) = (at, 0);
            while count < *most {
                let Some(next) = run(rules, one, text, end) else { break };
                count += 1;
                if next == end {
                    break;
                }
                end = next;
            }
            (count >= *least).then_some(end)
        }
    }
}

/// Whether the pest grammar takes a text without catch-alls, and no comparison is chained.
fn pest_accepts(text: &str) -> bool {
    let Ok(pairs) = PromptcParser::parse(Rule::file, text) else { return false };
    let is_chained =
        check(text).1.iter().any(|diagnostic| matches!(diagnostic.code, Code::E0110 | Code::E0101));
    !is_chained && !pairs.flatten().any(|pair| is_catch_all(pair.as_rule()))
}

#[test]
fn both_grammars_accept_the_same_programs() {
    let grammar = std::fs::read_to_string(root().join("grammar/promptc.peg")).expect("the grammar");
    let rules = read_grammar(&grammar);
    let mut texts: Vec<(String, String)> = Vec::new();
    for (name, text) in good_programs() {
        let lines: Vec<&str> = text.lines().collect();
        for idx in 0..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(idx);
            texts.push((format!("{name} without line {}", idx + 1), fewer.join("\n")));
        }
        texts.push((name, text));
    }
    texts.extend(programs("grammar/corpus/bad"));
    let extra = [
        "param a : f64 = 1 < 2 < 3",
        "param a : f64 = 1..2..3",
        "pipeline p { (a) -> b (c) -> d }",
        "bench b { a = 1 b = not x c { } }",
    ];
    texts.extend(extra.map(|text| (text.to_owned(), text.to_owned())));
    let mut accepted = 0;
    let mut faults = Vec::new();
    for (name, text) in &texts {
        let peg = run(&rules, &rules["file"], text, 0) == Some(text.len());
        accepted += usize::from(peg);
        if peg != pest_accepts(text) {
            faults.push(format!("{name}: peg {peg}, pest {}", !peg));
        }
    }
    assert!(faults.is_empty(), "{} of {}\n{}", faults.len(), texts.len(), faults.join("\n"));
    assert!(accepted > 100 && accepted < texts.len() - 100, "{accepted} of {} accepted", texts.len());
}
