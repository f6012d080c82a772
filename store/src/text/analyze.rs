//! From text to terms: words, lower case, stop list, stems.
//!
//! A word is a run of letters, digits and combining marks of any script. Scripts written without blanks between words
//! (Han, Hiragana, Katakana) and Hangul syllables would make a whole sentence, or a noun with its particles, one word. There
//! every character is a term and every two neighbours are a second term: single characters keep queries of one character
//! possible, pairs carry the adjacency that single characters lose. Both are what Lucene's `CJKBigramFilter` gives with
//! `outputUnigrams`.

use std::collections::BTreeMap;

use tantivy::tokenizer::{
    Language, LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter, TextAnalyzer, Token, TokenStream,
    Tokenizer,
};

use super::stop_words::ENGLISH;

/// Longest term in bytes; longer ones (encoded data, as a rule) are dropped.
const TERM_BYTES_MAX: usize = 255;

/// The analysis of one index.
#[derive(Clone)]
pub(super) struct Analyzer {
    chain: TextAnalyzer,
}

impl Analyzer {
    /// An analysis with a stemmer and a stop list by language code.
    ///
    /// # Errors
    /// A text that names the language and the known ones.
    pub(super) fn new(stem: Option<&str>, stop: Option<&str>) -> Result<Self, String> {
        let mut builder = TextAnalyzer::builder(WordTokenizer)
            .filter(RemoveLongFilter::limit(TERM_BYTES_MAX + 1))
            .filter(LowerCaser)
            .dynamic();
        if let Some(code) = stop {
            builder = builder.filter_dynamic(stop_filter(code)?);
        }
        if let Some(code) = stem {
            let language = language(code).ok_or_else(|| unknown("stem", code, |_| true))?;
            builder = builder.filter_dynamic(Stemmer::new(language));
        }
        Ok(Self { chain: builder.build() })
    }

    /// The terms of `text` in order.
    pub(super) fn tokens(&self, text: &str) -> Vec<Token> {
        let mut chain = self.chain.clone();
        let mut stream = chain.token_stream(text);
        let mut tokens = Vec::new();
        while stream.advance() {
            tokens.push(stream.token().clone());
        }
        tokens
    }

    /// The terms of `text` with the number of their occurrences.
    pub(super) fn count(&self, text: &str) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for token in self.tokens(text) {
            *counts.entry(token.text).or_insert(0) += 1;
        }
        counts
    }
}

const LANGUAGES: [(&str, Language); 18] = [
    ("ar", Language::Arabic),
    ("da", Language::Danish),
    ("de", Language::German),
    ("el", Language::Greek),
    ("en", Language::English),
    ("es", Language::Spanish),
    ("fi", Language::Finnish),
    ("fr", Language::French),
    ("hu", Language::Hungarian),
    ("it", Language::Italian),
    ("nl", Language::Dutch),
    ("no", Language::Norwegian),
    ("pt", Language::Portuguese),
    ("ro", Language::Romanian),
    ("ru", Language::Russian),
    ("sv", Language::Swedish),
    ("ta", Language::Tamil),
    ("tr", Language::Turkish),
];

fn language(code: &str) -> Option<Language> {
    LANGUAGES.iter().find(|(known, _)| *known == code).map(|&(_, language)| language)
}

fn unknown(what: &str, code: &str, has: impl Fn(Language) -> bool) -> String {
    let known: Vec<&str> =
        LANGUAGES.iter().filter(|&&(_, language)| has(language)).map(|&(code, _)| code).collect();
    format!("{what} = \"{code}\": not a language with a {what} list; known are {}", known.join(", "))
}

fn stop_filter(code: &str) -> Result<StopWordFilter, String> {
    match language(code) {
        Some(Language::English) => Ok(StopWordFilter::remove(ENGLISH.iter().map(|&word| word.to_owned()))),
        found => found
            .and_then(StopWordFilter::new)
            .ok_or_else(|| unknown("stop", code, |language| StopWordFilter::new(language).is_some())),
    }
}

/// Splits text into words and CJK characters.
#[derive(Clone, Copy, Default)]
struct WordTokenizer;

struct WordStream<'a> {
    text: &'a str,
    /// Where the next token is looked for.
    at: usize,
    /// The pair that follows the character just given.
    pair: Option<(usize, usize)>,
    token: Token,
}

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        WordStream { text, at: 0, pair: None, token: Token::default() }
    }
}

impl WordStream<'_> {
    fn put(&mut self, start: usize, end: usize) {
        self.token.offset_from = start;
        self.token.offset_to = end;
        self.token.text.clear();
        self.token.text.push_str(&self.text[start..end]);
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        if let Some((start, end)) = self.pair.take() {
            self.put(start, end);
            return true;
        }
        let text = self.text;
        let Some((skipped, first)) = text[self.at..].char_indices().find(|&(_, c)| begins_term(c)) else {
            self.at = text.len();
            return false;
        };
        let start = self.at + skipped;
        let after_first = start + first.len_utf8();
        self.token.position = self.token.position.wrapping_add(1);
        if is_cjk(first) {
            self.at = after_first;
            self.pair = text[after_first..]
                .chars()
                .next()
                .filter(|&second| is_cjk(second))
                .map(|second| (start, after_first + second.len_utf8()));
            self.put(start, after_first);
            return true;
        }
        let length = text[after_first..].find(|c| !continues_word(c)).unwrap_or(text.len() - after_first);
        self.at = after_first + length;
        self.put(start, self.at);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

fn begins_term(c: char) -> bool {
    c.is_alphanumeric() || is_cjk(c)
}

fn continues_word(c: char) -> bool {
    (c.is_alphanumeric() && !is_cjk(c)) || is_mark(c)
}

/// Marks that stand inside words but are not alphabetic: accents after their letter, the vowel killers of the Indic scripts,
/// and the joiners.
fn is_mark(c: char) -> bool {
    matches!(
        c,
        '\u{300}'
            ..='\u{36f}'
                | '\u{94d}'
                | '\u{9cd}'
                | '\u{a4d}'
                | '\u{acd}'
                | '\u{b4d}'
                | '\u{bcd}'
                | '\u{c4d}'
                | '\u{ccd}'
                | '\u{d4d}'
                | '\u{200c}'
                | '\u{200d}'
    )
}

/// Han, Hiragana, Katakana (half width too) and Hangul syllables, without their punctuation.
fn is_cjk(c: char) -> bool {
    matches!(c, '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(stem: Option<&str>, stop: Option<&str>, text: &str) -> Vec<String> {
        Analyzer::new(stem, stop).unwrap().tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn words_of_many_scripts() {
        assert_eq!(
            terms(None, None, "Don't stop: Größe_2, naïve café\u{301}!"),
            ["don", "t", "stop", "größe", "2", "naïve", "café\u{301}"]
        );
        assert_eq!(terms(None, None, "हिन्दी भाषा"), ["हिन्दी", "भाषा"]);
        assert_eq!(terms(None, None, ""), Vec::<String>::new());
        assert_eq!(terms(None, None, "... --- \u{301}"), Vec::<String>::new());
    }

    #[test]
    fn sentences_without_blanks_become_characters_and_pairs() {
        assert_eq!(terms(None, None, "黒猫x犬"), ["黒", "黒猫", "猫", "x", "犬"]);
        assert_eq!(terms(None, None, "カフェ・ラ"), ["カ", "カフ", "フ", "フェ", "ェ", "ラ"]);
        assert_eq!(terms(None, None, "한국"), ["한", "한국", "국"]);
    }

    #[test]
    fn stop_words_go_before_stems() {
        assert_eq!(terms(Some("en"), Some("en"), "The cats were running"), ["cat", "run"]);
        assert_eq!(terms(Some("de"), Some("de"), "Die Häuser und die Katzen"), ["haus", "katz"]);
    }

    #[test]
    fn long_words_are_dropped() {
        let fits = "a".repeat(255);
        assert_eq!(terms(None, None, &format!("{} {fits}", "a".repeat(256))), [fits]);
    }

    #[test]
    fn unknown_languages_are_named_with_the_known_ones() {
        let error = Analyzer::new(Some("xx"), None).err().unwrap();
        assert!(error.contains("xx") && error.contains("en"), "{error}");
        let error = Analyzer::new(None, Some("ta")).err().unwrap();
        assert!(error.contains("ta") && error.contains("de") && !error.contains(", ta"), "{error}");
    }
}
