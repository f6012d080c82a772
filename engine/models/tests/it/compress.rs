//! Compression: rules that hold for every text, agreement with plain loops, and sensitivity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use promptc_models::compress::{
    Compressed, KeepSet, Links, Options, Ranking, Row, Select, Stages, Target, Unit, compress, keep,
    ratio_cap, score, sentence_features, structural, units,
};
use promptc_models::spans::{self, Piece};
use promptc_models::tokenize::{Tokenizer, WordPunct};
use promptc_models::words;
use proptest::prelude::*;

/// A tokenizer whose count of a whole differs from the sum of its parts, as with subwords.
#[derive(Debug)]
struct Pairs;

impl Tokenizer for Pairs {
    fn count(&self, text: &str) -> u64 {
        text.len().div_ceil(2) as u64
    }

    fn boundaries(&self, text: &str, out: &mut Vec<(u32, u32)>) {
        let mut start = 0;
        for (idx, character) in text.char_indices() {
            let end = idx + character.len_utf8();
            if end - start >= 2 {
                out.push((start as u32, end as u32));
                start = end;
            }
        }
        if start < text.len() {
            out.push((start as u32, text.len() as u32));
        }
    }
}

fn units_of(idx: u8) -> Unit {
    [Unit::Passage, Unit::Sentence, Unit::Clause, Unit::Token][idx as usize % 4]
}

/// Texts with the shapes that break boundaries: Markdown, emoji, marks, right-to-left, scripts without blanks.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("# Heading here\n\n".to_owned()),
        Just("```rust\nlet a  = 1;  \n\n\n```\n".to_owned()),
        Just("| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | x |\n\n".to_owned()),
        Just("- an item. With text\n  and more\n".to_owned()),
        Just("<!-- a comment -->".to_owned()),
        Just("See [the book](http://x.y/z) and `code  span`, it is not [a] bad thing. ".to_owned()),
        Just("\n[a]: http://q\n[b]: http://r\n".to_owned()),
        Just("東京は首都。人口は多い！".to_owned()),
        Just("مرحبا بالعالم. هذا نص ".to_owned()),
        Just("e\u{301}👩‍👩‍👧 Ünïcode – dash, (brackets) ".to_owned()),
        Just("\r\n \t \r\n\r\n".to_owned()),
        Just("The following holds:\n```\nx\n```\n".to_owned()),
        "[a-zA-Z0-9 ,.;:()!?\n]{0,60}",
        "[ -~é…\n\t`\\[\\]]{0,30}",
        "\\PC{0,12}",
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// The rules that every outcome obeys, whatever was asked for.
fn check(texts: &[&str], out: &Compressed, gap: &str, cap: Option<u64>, tokenizer: &dyn Tokenizer) {
    assert_eq!(out.texts.len(), texts.len(), "as many texts out as in");
    assert_eq!(out.pieces.len(), texts.len());
    assert_eq!(out.links.len(), texts.len());
    assert_eq!(out.tokens_in, texts.iter().map(|text| tokenizer.count(text)).sum::<u64>());
    assert_eq!(out.tokens_out, out.texts.iter().map(|text| tokenizer.count(text)).sum::<u64>());
    if let Some(cap) = cap {
        assert_eq!(
            out.over_ratio,
            out.tokens_out > cap,
            "over the cap exactly if flagged: {} > {cap}",
            out.tokens_out
        );
    }
    for ((text, output), pieces) in texts.iter().zip(&out.texts).zip(&out.pieces) {
        let doc: Arc<str> = Arc::from("doc");
        let map = spans::compose(&spans::identity(&doc, text), pieces);
        spans::check(&map, output, |_| Some(text))
            .unwrap_or_else(|fault| panic!("{fault}: {text:?} -> {output:?}"));
        assert!(pieces.windows(2).all(|pair| pair[0].end <= pair[1].start), "source order");
        let mut at = 0;
        for piece in pieces {
            let synthetic = &output[at..piece.at as usize];
            let known =
                [gap, " ", "", &format!("\n{}\n", gap.trim_matches([' ', '\n']))].contains(&synthetic);
            assert!(known, "synthetic bytes are gaps and joiners: {synthetic:?} in {output:?}");
            at = (piece.at + piece.end - piece.start) as usize;
        }
        assert_eq!(at, output.len(), "nothing synthetic at the end");
    }
}

fn options(unit: Unit, target: Target, select: u8, bits: u8) -> Options {
    let mut options = Options::with_query(unit, target);
    options.select =
        [Some(Select::TextRank), Some(Select::Mmr), Some(Select::Lead), None][select as usize % 4];
    options.keep = KeepSet {
        numbers: bits & 1 > 0,
        names: bits & 2 > 0,
        negation: bits & 4 > 0,
        code: bits & 8 > 0,
        tables: bits & 16 > 0,
        headings: bits & 32 > 0,
    };
    options.links = [Links::Keep, Links::Side, Links::Drop][bits as usize / 64 % 3];
    options
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_outcome_obeys_the_rules(
        texts in prop::collection::vec(text(), 0..4),
        query in prop::option::of("[a-z ]{0,30}"),
        ratio in 1.0..9.0_f64,
        (unit, select, bits, subwords) in (any::<u8>(), any::<u8>(), any::<u8>(), any::<bool>()),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokenizer: &dyn Tokenizer = if subwords { &Pairs } else { &WordPunct };
        let options = options(units_of(unit), Target::Ratio(ratio), select, bits);
        let out = compress(&texts, None, query.as_deref(), &options, tokenizer, None);
        let gap = if unit % 4 == 0 { "\n" } else { " … " };
        check(&texts, &out, gap, Some(ratio_cap(out.tokens_in, ratio)), tokenizer);
        prop_assert_eq!(&out, &compress(&texts, None, query.as_deref(), &options, tokenizer, None));
    }

    #[test]
    fn stages_in_a_row_point_to_the_first_source(source in text(), query in "[a-z ]{0,20}") {
        let doc: Arc<str> = Arc::from("doc");
        let mut text = source.clone();
        let mut map = spans::identity(&doc, &source);
        for unit in [Unit::Sentence, Unit::Clause, Unit::Token] {
            let out = compress(&[&text], None, Some(&query), &Options::with_query(unit, Target::Ratio(1.5)), &WordPunct, None);
            map = spans::compose(&map, &out.pieces[0]);
            text = out.texts[0].clone();
            spans::check(&map, &text, |_| Some(&source)).unwrap();
        }
    }

    #[test]
    fn cleaning_loses_no_word_and_is_done_once(text in text()) {
        let clean = structural::clean(&text, Links::Keep);
        prop_assert_eq!(spans::copy_pieces(&text, &clean.pieces), clean.text.as_str());
        let again = structural::clean(&clean.text, Links::Keep);
        prop_assert_eq!(&again.text, &clean.text);
        for links in [Links::Side, Links::Drop] {
            let clean = structural::clean(&text, links);
            prop_assert_eq!(&structural::clean(&clean.text, links).text, &clean.text);
        }
        if !text.contains("<!--") && !text.contains("]:") && !text.contains("[!") {
            let distinct = |text: &str| words::words(text).into_iter().collect::<BTreeSet<_>>();
            prop_assert_eq!(distinct(&text), distinct(&clean.text));
        }
    }

    #[test]
    fn constraints_hold_or_are_counted(text in text(), query in "[a-z ]{0,20}", ratio in 1.5..6.0_f64, bits in 1..64_u8, clause in any::<bool>()) {
        let unit = if clause { Unit::Clause } else { Unit::Sentence };
        let mut options = options(unit, Target::Ratio(ratio), 0, bits);
        options.stages.structural = false;
        let out = compress(&[&text], None, Some(&query), &options, &WordPunct, None);
        let found = keep::violations(&text, &out.pieces[0], options.keep, clause, &WordPunct);
        prop_assert_eq!(found, out.keep_unmet, "{:?} -> {:?}", text, out.texts[0]);
    }

    #[test]
    fn units_cover_every_visible_character(text in text()) {
        let mut sentences = Vec::new();
        units::sentences(&text, &mut sentences);
        let mut covered = vec![false; text.len()];
        let mut last = 0;
        for sentence in &sentences {
            prop_assert!(last <= sentence.start && sentence.start < sentence.end);
            last = sentence.end;
            let mut clauses = Vec::new();
            if sentence.kind == units::Kind::Prose {
                units::clauses(&text, sentence.start, sentence.end, true, &WordPunct, &mut clauses);
            } else {
                clauses.push(units::Clause { start: sentence.start, end: sentence.end, tokens: 0 });
            }
            for clause in clauses {
                let slice = &text[clause.start as usize..clause.end as usize];
                prop_assert_eq!(slice.trim(), slice);
                covered[clause.start as usize..clause.end as usize].fill(true);
            }
        }
        for (idx, character) in text.char_indices().filter(|(_, character)| !character.is_whitespace()) {
            prop_assert!(covered[idx], "{character:?} at {idx} of {text:?}");
        }
    }

    #[test]
    fn a_larger_ratio_keeps_no_more(text in "([a-z]{3,8}[,.]? ){20,80}", step in 1.1..2.0_f64) {
        let row = Row { texts: &[&text], titles: None, query: Some("abc def"), similarities: None };
        let ranking = Ranking::new(&row, &Options::with_query(Unit::Clause, Target::Ratio(2.0)), &WordPunct, None);
        let mut before = u64::MAX;
        let mut ratio = 1.0;
        while ratio < 8.0 {
            let out = ranking.cut(ratio_cap(ranking.tokens_in(), ratio), &WordPunct);
            let longest = ranking.parts().iter().map(|part| u64::from(part.tokens)).max().unwrap_or(0);
            prop_assert!(out.tokens_out <= before.saturating_add(longest));
            before = out.tokens_out;
            ratio *= step;
        }
    }
}

#[test]
fn edge_texts_keep_the_rules() {
    let line = "word, and more of it (really) – yes; ".repeat((1 << 20) / 37);
    let same = "The same sentence stands here. ".repeat(50);
    let cases =
        ["", " ", "\n\n", "one", "One unit only.", &same, &line, "👩‍👩‍👧👩‍👩‍👧", "e\u{301}\u{301}", "東京東京東京"];
    for text in cases {
        for unit in [Unit::Passage, Unit::Sentence, Unit::Clause, Unit::Token] {
            for query in [Some("same word really 東京"), Some(""), None] {
                let out = compress(
                    &[text],
                    None,
                    query,
                    &Options::with_query(unit, Target::Ratio(3.0)),
                    &WordPunct,
                    None,
                );
                let gap = if unit == Unit::Passage { "\n" } else { " … " };
                check(&[text], &out, gap, Some(ratio_cap(out.tokens_in, 3.0)), &WordPunct);
            }
        }
    }
}

#[test]
fn hostile_texts_stay_cheap() {
    let long = |part: &str| part.repeat((1 << 18) / part.len());
    let parts = [
        "[a](",
        "\u{c}\n",
        "<!-- a -->x",
        "<!<!-- a -->",
        "`` ` ",
        "12 men of Paris did not, ",
        "[![",
        "[a]: b\n",
        "|\n",
        "- ",
        "> ```\n",
        ". ",
    ];
    let mut options = Options::with_query(Unit::Clause, Target::Ratio(4.0));
    options.keep =
        KeepSet { numbers: true, names: true, negation: true, code: true, tables: true, headings: true };
    options.links = Links::Side;
    for part in parts {
        let text = long(part);
        let out = compress(&[&text], None, Some("men of Paris"), &options, &WordPunct, None);
        check(&[&text], &out, " … ", Some(ratio_cap(out.tokens_in, 4.0)), &WordPunct);
    }
}

#[test]
fn a_dropped_element_is_the_empty_text_and_one_budget_is_shared() {
    let texts = [
        "Cats sleep a lot in the warm sun.",
        "Normandy is a region of northern France.",
        "Bread needs flour and water.",
    ];
    let out = compress(
        &texts,
        None,
        Some("where is Normandy"),
        &Options::with_query(Unit::Sentence, Target::Ratio(2.5)),
        &WordPunct,
        None,
    );
    assert_eq!(out.texts, ["", texts[1], ""]);
    assert!(!out.over_ratio);
    let out = compress(
        &texts,
        None,
        Some("where is Normandy"),
        &Options::with_query(Unit::Sentence, Target::BudgetTokens(2)),
        &WordPunct,
        None,
    );
    assert_eq!((out.texts[1].as_str(), out.over_ratio), (texts[1], true));
}

#[test]
fn titles_and_vector_scores_move_passages() {
    let texts = ["It was first built in 1066 by the duke.", "It was first built in 1500 by the king."];
    let row = |titles, similarities| Row {
        texts: &texts,
        titles,
        query: Some("when was the castle of Falaise built"),
        similarities,
    };
    let options = Options::with_query(Unit::Passage, Target::Ratio(2.0));
    let first = |row: Row<'_>| {
        let ranking = Ranking::new(&row, &options, &WordPunct, None);
        ranking.scores()[0] > ranking.scores()[1]
    };
    assert!(first(row(Some(&["Castle of Falaise", "Tower"]), None)));
    assert!(!first(row(Some(&["Tower", "Castle of Falaise"]), None)));
    assert!(first(row(None, Some(&[0.9, 0.1]))));
    assert!(!first(row(None, Some(&[0.1, 0.9]))));
}

#[test]
fn a_gap_beside_a_block_is_a_line() {
    let text = "Start of it all here.\n\n```\nlet normandy = 1;\n```\n\nMiddle of it all here.\n\nNormandy is far away.";
    let out = compress(
        &[text],
        None,
        Some("normandy"),
        &Options::with_query(Unit::Sentence, Target::BudgetTokens(18)),
        &WordPunct,
        None,
    );
    assert_eq!(out.texts[0], "```\nlet normandy = 1;\n```\n…\nNormandy is far away.");
}

#[test]
fn moved_links_follow_their_text() {
    let text = "Nothing of use is [here](a.html) at all. The castle is [in Falaise](b.html) today.";
    let mut options = Options::with_query(Unit::Sentence, Target::Ratio(2.0));
    options.links = Links::Side;
    let out = compress(&[text], None, Some("castle falaise"), &options, &WordPunct, None);
    assert_eq!(out.texts[0], "The castle is in Falaise today.");
    assert_eq!(out.links[0], [(14, "b.html".to_owned())]);
}

#[test]
fn tables_are_cut_between_rows_under_their_header() {
    let rows: String = (0..40).map(|row| format!("| name{row} | value{row} |\n")).collect();
    let text = format!("Unrelated words stand here first.\n\n| name | value |\n|---|---|\n{rows}");
    let mut options = Options::with_query(Unit::Clause, Target::Ratio(4.0));
    options.keep.tables = true;
    let out = compress(&[&text], None, Some("name value"), &options, &WordPunct, None);
    assert!(out.texts[0].starts_with("| name | value |\n|---|---|\n| name0 | value0 |"), "{}", out.texts[0]);
    assert!(out.texts[0].lines().count() > 5 && !out.over_ratio && out.keep_unmet == 0);
}

#[test]
fn tokens_are_dropped_up_to_a_quarter_and_protected_ones_stay() {
    let text = "The cat, the dog, the bird (and the mouse) did not see the 12 men of Paris in the dark of the night. ".repeat(4);
    let mut options = Options {
        stages: Stages { token: true, ..Stages::STRUCTURAL },
        ..Options::with_query(Unit::Token, Target::Ratio(1.25))
    };
    let out = compress(&[&text], None, None, &options, &WordPunct, None);
    check(&[&text], &out, " … ", Some(ratio_cap(out.tokens_in, 1.25)), &WordPunct);
    assert!(!out.over_ratio);
    options.target = Target::Ratio(4.0);
    options.keep = KeepSet { numbers: true, names: true, negation: true, ..KeepSet::default() };
    let out = compress(&[&text], None, None, &options, &WordPunct, None);
    assert!(out.over_ratio, "4x is out of reach without a query");
    assert_eq!(out.tokens_out, ratio_cap(out.tokens_in, 1.25));
    for word in ["not", "12", "Paris"] {
        assert_eq!(out.texts[0].matches(word).count(), 4, "{word}");
    }
}

/// Plain loops over words and sets: the definition of the lexical and clause scores.
fn reference(sentences: &[Vec<&str>], query: &str) -> Vec<f64> {
    let query = words::distinct_words(query);
    let bags: Vec<Vec<String>> = sentences.iter().map(|clauses| words::words(&clauses.join(" "))).collect();
    let clause_bags: Vec<Vec<String>> =
        sentences.iter().flatten().map(|clause| words::words(clause)).collect();
    let idf = |word: &String| {
        let df = bags.iter().filter(|bag| bag.contains(word)).count() as f64;
        (1.0 + (bags.len() as f64 - df + 0.5) / (df + 0.5)).ln()
    };
    let bm25 = |bags: &[Vec<String>]| -> Vec<f64> {
        let mean = bags.iter().map(Vec::len).sum::<usize>() as f64 / bags.len() as f64;
        let one = |bag: &Vec<String>| {
            let mut sum = 0.0;
            for word in &query {
                let tf = bag.iter().filter(|other| *other == word).count() as f64;
                sum += idf(word) * tf * 2.2 / (tf + 1.2 * (1.0 - 0.6 + 0.6 * bag.len() as f64 / mean));
            }
            sum
        };
        bags.iter().map(one).collect()
    };
    let grams = |word: &String| -> BTreeSet<Vec<char>> {
        let characters: Vec<char> = format!("^{word}$").chars().collect();
        characters.windows(4.min(characters.len())).map(<[char]>::to_vec).collect()
    };
    let jaccard = |left: &String, right: &String| {
        let (left, right) = (grams(left), grams(right));
        left.intersection(&right).count() as f64 / left.union(&right).count() as f64
    };
    let resemblance: Vec<f64> = bags
        .iter()
        .map(|bag| {
            let best = |word: &String| bag.iter().map(|other| jaccard(word, other)).fold(0.0, f64::max);
            query.iter().map(|word| idf(word) * best(word)).sum::<f64>() / query.iter().map(idf).sum::<f64>()
        })
        .collect();
    let smooth = |values: &[f64], weight: f64| -> Vec<f64> {
        let at = |idx: isize| values.get(idx as usize).copied().unwrap_or(0.0);
        (0..values.len() as isize).map(|idx| at(idx) + weight * at(idx - 1).max(at(idx + 1))).collect()
    };
    let norm = |values: Vec<f64>| -> Vec<f64> {
        let largest = values.iter().copied().fold(0.0, f64::max);
        values.iter().map(|value| if largest > 0.0 { value / largest } else { 0.0 }).collect()
    };
    let (bm, cg) = (norm(smooth(&bm25(&bags), 0.35)), norm(smooth(&resemblance, 0.35)));
    let own = smooth(&norm(bm25(&clause_bags)), 0.6);
    let parents = sentences.iter().enumerate().flat_map(|(idx, clauses)| clauses.iter().map(move |_| idx));
    parents.zip(own).map(|(parent, own)| 0.6 * bm[parent] + 0.4 * cg[parent] + 0.35 * own).collect()
}

#[test]
fn scores_agree_with_plain_loops() {
    let paragraph = "The Normans were the people who in the 10th and 11th centuries gave their name to Normandy, a region in France. \
        They were descended from Norse raiders and pirates from Denmark, Iceland and Norway who, under their leader Rollo, \
        agreed to swear fealty to King Charles III of West Francia. Through generations of assimilation and mixing with the \
        native Frankish and Roman-Gaulish populations, their descendants would gradually merge with the Carolingian-based cultures.";
    for query in [
        "In what country is Normandy located?",
        "Who was the Norse leader?",
        "leaders assimilating the populace",
    ] {
        let row = Row { texts: &[paragraph], titles: None, query: Some(query), similarities: None };
        let ranking =
            Ranking::new(&row, &Options::with_query(Unit::Clause, Target::Ratio(2.0)), &WordPunct, None);
        let mut sentences: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        for part in ranking.parts() {
            sentences
                .entry(part.sentence)
                .or_default()
                .push(&paragraph[part.start as usize..part.end as usize]);
        }
        let sentences: Vec<Vec<&str>> = sentences.into_values().collect();
        assert!(sentences.len() == 3 && sentences.iter().all(|clauses| clauses.len() > 1));
        let expected = reference(&sentences, query);
        for (found, expected) in ranking.scores().iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-9, "{query}: {found} {expected}");
        }
    }
}

#[test]
fn linear_features_agree_with_plain_loops() {
    let texts =
        ["Rollo led the Norse in 911. They settled in Normandy.", "Paris is large, they say. Bread is good."];
    let titles = ["Rollo of Normandy", "Food"];
    let query = "When did Rollo settle?";
    let row = Row { texts: &texts, titles: Some(&titles), query: Some(query), similarities: None };
    let found =
        sentence_features(&row, &Options::with_query(Unit::Sentence, Target::Ratio(2.0)), &WordPunct, None);
    let sentences = [
        "Rollo led the Norse in 911.",
        "They settled in Normandy.",
        "Paris is large, they say.",
        "Bread is good.",
    ];
    let query_words = words::distinct_words(query);
    let bags: Vec<Vec<String>> = sentences.iter().map(|sentence| words::words(sentence)).collect();
    let bm25_of = |bags: &[Vec<String>], k1: f64, b: f64| -> Vec<f64> {
        let mean = bags.iter().map(Vec::len).sum::<usize>() as f64 / bags.len() as f64;
        let term = |bag: &Vec<String>, word: &String| {
            let df = bags.iter().filter(|bag| bag.contains(word)).count() as f64;
            let tf = bag.iter().filter(|other| *other == word).count() as f64;
            let idf = (1.0 + (bags.len() as f64 - df + 0.5) / (df + 0.5)).ln();
            idf * tf * (k1 + 1.0) / (tf + k1 * (1.0 - b + b * bag.len() as f64 / mean))
        };
        bags.iter().map(|bag| query_words.iter().map(|word| term(bag, word)).sum()).collect()
    };
    let bm25 = bm25_of(&bags, 1.2, 0.6);
    let passage_bags: Vec<Vec<String>> =
        (0..2).map(|idx| words::words(&format!("{} {} {}", texts[idx], titles[idx], titles[idx]))).collect();
    let passages = bm25_of(&passage_bags, 0.9, 0.0);
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    // Surface by hand: number present, names after the first word, capitalised query words present, tokens.
    let surface =
        [(1.0, 1.0, 1.0, 7.0_f64), (0.0, 1.0, 0.0, 5.0), (0.0, 0.0, 0.0, 7.0), (0.0, 0.0, 0.0, 4.0)];
    for idx in 0..4 {
        let features = found[idx].features;
        let nb = |idx: usize| bm25[idx] / most(&bm25);
        let p = passages[idx / 2] / most(&passages);
        let (number, names, capitals, tokens) = surface[idx];
        let known = bags[idx].iter().filter(|word| query_words.contains(word)).count();
        let expected = [
            (0, 1.0),
            (1, nb(idx)),
            (2, nb(idx) * nb(idx)),
            (3, bm25[idx] / 10.0),
            (7, if idx % 2 == 1 { nb(idx - 1) } else { 0.0 }),
            (8, if idx % 2 == 0 { nb(idx + 1) } else { 0.0 }),
            (9, number),
            (10, number),
            (11, 0.0),
            (12, names / 4.0),
            (13, (bags[idx].len() - known) as f64 / 20.0),
            (14, capitals),
            (15, tokens.ln() / 4.0),
            (16, if idx == 0 { 1.0 } else { 0.0 }),
            (17, 1.0 - nb(idx)),
            (18, p),
            (19, p * p),
            (21, if idx < 2 { 1.0 } else { 0.5 }),
            (22, if idx % 2 == 0 { 1.0 } else { 0.0 }),
            (23, nb(idx) * p),
        ];
        for (feature, value) in expected {
            assert!(
                (features[feature] - value).abs() < 1e-9,
                "sentence {idx}, feature {feature}: {} {value}",
                features[feature]
            );
        }
    }
}

#[test]
fn passages_weigh_in_as_defined() {
    let texts = ["Red apples grow on old trees.", "Blue waves roll over red sand.", "Nothing to see."];
    let titles = ["Fruit", "Red apples", ""];
    let query = "red apples";
    let row = Row { texts: &texts, titles: Some(&titles), query: Some(query), similarities: None };
    let ranking =
        Ranking::new(&row, &Options::with_query(Unit::Passage, Target::Ratio(2.0)), &WordPunct, None);
    let bags: Vec<Vec<String>> = texts
        .iter()
        .zip(titles)
        .map(|(text, title)| words::words(&format!("{text} {title} {title}")))
        .collect();
    let raw: Vec<f64> = bags
        .iter()
        .map(|bag| {
            let count = |word: &String, bag: &Vec<String>| bag.iter().filter(|other| *other == word).count();
            let term = |word: &String| {
                let df = bags.iter().filter(|bag| count(word, bag) > 0).count() as u64;
                let tf = count(word, bag) as f64;
                words::idf(3, df) * tf * 1.9 / (tf + 0.9)
            };
            words::distinct_words(query).iter().map(term).sum()
        })
        .collect();
    let largest = raw.iter().copied().fold(0.0, f64::max);
    for (found, raw) in ranking.scores().iter().zip(&raw) {
        assert!((found - raw / largest).abs() < 1e-9);
    }
    assert_eq!(score::order(ranking.scores())[0], 1);
}

#[test]
fn the_checker_counts_what_a_careless_cut_loses() {
    let text = "He was there on the first day of it all, but he did not come back to the old town again.";
    let keep = KeepSet { negation: true, ..KeepSet::default() };
    let cut = text.find(" but").unwrap() as u32;
    let careless = [Piece { start: 0, end: cut, at: 0 }];
    assert_eq!(keep::violations(text, &careless, keep, true, &WordPunct), 1);
    assert_eq!(keep::violations(text, &spans::identity_pieces(text), keep, true, &WordPunct), 0);
}
