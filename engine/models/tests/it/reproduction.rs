//! The measured numbers of the language reference, reproduced over the public data sets with this code.
//!
//! Each test prints its figures beside the reference's and fails beyond a tolerance: 1 point where the reference's
//! questions are known; where it drew them at random, two standard errors of its draw, for ours is another. Without
//! the data folder the tests say so and pass.

mod agnostic;

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::{self, OpenQuestion};
use promptc_models::compress::{
    CorpusStats, Fit, KeepSet, Options, Ranking, Row, Scorer, Select, Stages, Target, TextStats, Unit,
    compress, example, fit, keep, ratio_cap, score, select, units,
};
use promptc_models::spans::Piece;
use promptc_models::tokenize::{Tokenizer, WordPunct};
use promptc_models::words;

/// Figures beside the reference's; fails at the end, with all that differ.
#[derive(Default)]
struct Report {
    failures: Vec<String>,
}

impl Report {
    /// Both over the same questions: off by at most `tolerance` points.
    fn compare(&mut self, name: &str, found: &[f64], reference: &[f64], tolerance: f64) {
        self.compare_within(name, found, reference, |_| tolerance);
    }

    /// The reference is a draw of `count` questions: off by at most two standard errors of it, and never asked to be
    /// nearer than 1 point.
    fn compare_draw(&mut self, name: &str, found: &[f64], reference: &[f64], count: usize) {
        self.compare_within(name, found, reference, |percent| {
            let share = percent / 100.0;
            (200.0 * (share * (1.0 - share) / count as f64).sqrt()).max(1.0)
        });
    }

    fn compare_within(
        &mut self,
        name: &str,
        found: &[f64],
        reference: &[f64],
        tolerance: impl Fn(f64) -> f64,
    ) {
        let show =
            |values: &[f64]| values.iter().map(|value| format!("{value:5.1}")).collect::<Vec<_>>().join(" ");
        println!("{name:<44} found {}   reference {}", show(found), show(reference));
        assert_eq!(found.len(), reference.len(), "{name}");
        for (found, &reference) in found.iter().zip(reference) {
            let (off, allowed) = ((found - reference).abs(), tolerance(reference));
            if off > allowed {
                self.failures.push(format!("{name}: {found:.1} is off by {off:.1}, allowed {allowed:.1}"));
            }
        }
    }

    fn at_least(&mut self, name: &str, found: &[f64], bounds: &[f64]) {
        if found.iter().zip(bounds).any(|(found, bound)| found < bound) {
            self.failures.push(format!("{name}: {found:.1?} is below the gate {bounds:?}"));
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.failures.is_empty(), "{:#?}", self.failures);
        }
    }
}

/// A share in percent.
fn percent(hits: usize, count: usize) -> f64 {
    100.0 * hits as f64 / count.max(1) as f64
}

/// True if every visible byte of the range is under a piece: cleaning may take blanks out of an answer.
fn covers(text: &str, pieces: &[Piece], (start, end): (usize, usize)) -> bool {
    let mut from = start;
    for piece in pieces.iter().filter(|piece| (piece.start as usize) < end && start < piece.end as usize) {
        if !text[from..(piece.start as usize).max(from)].trim().is_empty() {
            return false;
        }
        from = piece.end as usize;
    }
    from >= end || from > start && text[from..end].trim().is_empty()
}

/// Statistics over the sentences of a corpus.
fn sentence_stats<'a>(texts: impl Iterator<Item = &'a str>) -> TextStats {
    let mut stats = TextStats::new();
    let mut sentences = Vec::new();
    for text in texts {
        sentences.clear();
        units::sentences(text, &mut sentences);
        sentences
            .iter()
            .for_each(|sentence| stats.add(&text[sentence.start as usize..sentence.end as usize]));
        stats.add_tokens(text, &WordPunct);
    }
    stats
}

/// splitmix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ value >> 31) % bound as u64) as usize
    }

    fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for idx in (1..count).rev() {
            order.swap(idx, self.below(idx + 1));
        }
        order
    }
}

/// A query over one text with alternative sets of byte ranges, one of which must survive whole.
struct Case<'a> {
    text: &'a str,
    query: &'a str,
    gold: Vec<Vec<(usize, usize)>>,
}

fn survives(case: &Case<'_>, pieces: &[Piece]) -> bool {
    case.gold.iter().any(|ranges| ranges.iter().all(|&range| covers(case.text, pieces, range)))
}

/// Survival in percent per ratio; checks caps and flags on the way.
fn survival(
    cases: &[Case<'_>],
    options: &Options,
    ratios: &[f64],
    stats: Option<&dyn CorpusStats>,
) -> Vec<f64> {
    let mut hits = vec![0; ratios.len()];
    for case in cases {
        let query = options.select.is_none().then_some(case.query);
        let row = Row { texts: &[case.text], titles: None, query, similarities: None };
        let ranking = Ranking::new(&row, options, &WordPunct, stats);
        for (hits, &ratio) in hits.iter_mut().zip(ratios) {
            let cap = ratio_cap(ranking.tokens_in(), ratio);
            let out = ranking.cut(cap, &WordPunct);
            assert!(out.tokens_out <= cap || out.over_ratio);
            *hits += usize::from(survives(case, &out.pieces[0]));
        }
    }
    hits.into_iter().map(|hits| percent(hits, cases.len())).collect()
}

/// Share of rows in percent whose output has at most the tokens that the ratio allows; all others are flagged.
fn ratio_reached(cases: &[Case<'_>], options: &Options, ratios: &[f64]) -> Vec<f64> {
    let mut reached = vec![0; ratios.len()];
    for case in cases {
        let row = Row { texts: &[case.text], titles: None, query: Some(case.query), similarities: None };
        let ranking = Ranking::new(&row, options, &WordPunct, None);
        for (reached, &ratio) in reached.iter_mut().zip(ratios) {
            let cap = ratio_cap(ranking.tokens_in(), ratio);
            let out = ranking.cut(cap, &WordPunct);
            assert_eq!(out.over_ratio, out.tokens_out > cap);
            *reached += usize::from(!out.over_ratio);
        }
    }
    reached.into_iter().map(|reached| percent(reached, cases.len())).collect()
}

/// The ceiling of a unit: the gold units alone fit the cap.
fn oracle(cases: &[Case<'_>], by_clause: bool, ratios: &[f64]) -> Vec<f64> {
    let mut hits = vec![0; ratios.len()];
    for case in cases {
        let parts = parts(case.text, by_clause);
        let needed = |ranges: &Vec<(usize, usize)>| -> u64 {
            let touched = |part: &&(u32, u32, u64)| {
                ranges.iter().any(|&(start, end)| (part.0 as usize) < end && start < part.1 as usize)
            };
            parts.iter().filter(touched).map(|part| part.2).sum()
        };
        let best = case.gold.iter().map(needed).min().unwrap_or(u64::MAX);
        let smallest = parts.iter().map(|part| part.2).min().unwrap_or(0);
        for (hits, &ratio) in hits.iter_mut().zip(ratios) {
            let cap = ratio_cap(WordPunct.count(case.text), ratio);
            // Where no unit fits, the best one alone is kept.
            *hits += usize::from(best <= cap || smallest > cap);
        }
    }
    hits.into_iter().map(|hits| percent(hits, cases.len())).collect()
}

/// Byte ranges and tokens of the units of a text.
fn parts(text: &str, by_clause: bool) -> Vec<(u32, u32, u64)> {
    let mut sentences = Vec::new();
    units::sentences(text, &mut sentences);
    let mut clauses = Vec::new();
    for sentence in &sentences {
        if by_clause {
            units::clauses(text, sentence.start, sentence.end, false, &WordPunct, &mut clauses);
        } else {
            let tokens = WordPunct.count(&text[sentence.start as usize..sentence.end as usize]) as u32;
            clauses.push(units::Clause { start: sentence.start, end: sentence.end, tokens });
        }
    }
    clauses.into_iter().map(|clause| (clause.start, clause.end, u64::from(clause.tokens))).collect()
}

/// Orders of which `random` is the mean.
const RANDOM_ORDERS: usize = 5;

/// Survival of units taken in random order, mean over several orders.
fn random(cases: &[Case<'_>], ratios: &[f64]) -> Vec<f64> {
    let mut random = Random(7);
    let mut hits = vec![0; ratios.len()];
    for case in std::iter::repeat_n(cases, RANDOM_ORDERS).flatten() {
        let parts: Vec<select::Unit> = parts(case.text, false)
            .into_iter()
            .enumerate()
            .map(|(idx, (start, end, tokens))| select::Unit {
                text: 0,
                start,
                end,
                tokens: tokens as u32,
                sentence: idx as u32,
                block: false,
            })
            .collect();
        let order: Vec<u32> = random.order(parts.len()).into_iter().map(|idx| idx as u32).collect();
        for (hits, &ratio) in hits.iter_mut().zip(ratios) {
            let cap = ratio_cap(WordPunct.count(case.text), ratio);
            let kept = select::first_fit(&parts, 1, &order, cap, 1, &keep::Required::default()).kept;
            let piece = |(part, kept): (&select::Unit, &bool)| {
                kept.then_some(Piece { start: part.start, end: part.end, at: 0 })
            };
            let pieces: Vec<Piece> = parts.iter().zip(&kept).filter_map(piece).collect();
            *hits += usize::from(survives(case, &pieces));
        }
    }
    hits.into_iter().map(|hits| percent(hits, RANDOM_ORDERS * cases.len())).collect()
}

/// Test questions over single paragraphs: those of the odd articles.
fn paragraph_cases(articles: &[data::Article]) -> Vec<Case<'_>> {
    let of_article = |article: &'_ data::Article| -> Vec<(usize, usize)> {
        article.questions.iter().enumerate().map(|(idx, question)| (idx, question.paragraph)).collect()
    };
    let mut cases = Vec::new();
    for article in articles.iter().skip(1).step_by(2) {
        for (question, paragraph) in of_article(article) {
            let question = &article.questions[question];
            cases.push(Case {
                text: &article.paragraphs[paragraph],
                query: &question.question,
                gold: question.answers.iter().map(|&range| vec![range]).collect(),
            });
        }
    }
    cases
}

#[test]
fn squad_paragraphs() {
    let Some(folder) = data::folder() else { return };
    let articles = data::squad(&folder);
    let stats =
        sentence_stats(articles.iter().flat_map(|article| article.paragraphs.iter().map(String::as_str)));
    let cases = paragraph_cases(&articles);
    assert_eq!(cases.len(), 1611);
    let ratios = [2.0, 3.0, 4.0];
    let options = |unit| Options::with_query(unit, Target::Ratio(2.0));
    let mut report = Report::default();
    let sentences = survival(&cases, &options(Unit::Sentence), &ratios, Some(&stats));
    report.compare("SQuAD2 paragraph, sentences", &sentences, &[88.8, 78.0, 65.6], 1.0);
    let sentence_oracle = oracle(&cases, false, &ratios);
    report.compare("SQuAD2 paragraph, oracle of sentences", &sentence_oracle, &[92.1, 83.4, 70.9], 1.0);
    let clauses = survival(&cases, &options(Unit::Clause), &ratios, Some(&stats));
    report.compare("SQuAD2 paragraph, clauses", &clauses, &[95.7, 90.4, 82.4], 1.0);
    let clause_oracle = oracle(&cases, true, &ratios);
    report.compare("SQuAD2 paragraph, oracle of clauses", &clause_oracle, &[99.8, 99.0, 96.4], 1.0);
    report.compare(
        "SQuAD2 paragraph, clauses, span + evidence",
        &evidence(&cases, &ratios, &stats),
        &[95.1, 88.7, 78.9],
        1.0,
    );
    report.at_least("gate of paragraphs", &clauses, &[94.0, 88.0, 80.0]);
    let reached = ratio_reached(&cases, &options(Unit::Clause), &ratios);
    println!("SQuAD2 paragraph, clauses, rows that reach the ratio: {reached:.1?}");
    report.at_least("rows that reach the ratio", &reached, &[99.5; 3]);
    report.at_least("oracle of sentences", &sentence_oracle, &sentences);
    report.at_least("oracle of clauses", &clause_oracle, &clauses);

    let alone = survival(&cases, &options(Unit::Clause), &ratios, None);
    println!("SQuAD2 paragraph, clauses, no statistics: {alone:.1?}");
    report.at_least("gate of paragraphs without statistics", &alone, &[94.0, 88.0, 80.0]);

    // A query of another document must be no better than a ranking without one.
    let strangers: Vec<Case<'_>> = cases
        .iter()
        .enumerate()
        .map(|(idx, case)| Case {
            text: case.text,
            query: cases[(idx + cases.len() / 2) % cases.len()].query,
            gold: case.gold.clone(),
        })
        .collect();
    let stranger = survival(&strangers, &options(Unit::Sentence), &ratios, Some(&stats));
    let agnostic = survival(
        &cases,
        &Options { select: Some(Select::TextRank), ..options(Unit::Sentence) },
        &ratios,
        Some(&stats),
    );
    let by_chance = random(&cases, &ratios);
    println!(
        "SQuAD2 paragraph, foreign query {stranger:.1?}, TextRank {agnostic:.1?}, random {by_chance:.1?}"
    );
    report.compare("foreign query against random", &stranger, &by_chance, 3.0);
}

/// Span survival with at least three quarters of the question's words of the gold sentence kept.
fn evidence(cases: &[Case<'_>], ratios: &[f64], stats: &TextStats) -> Vec<f64> {
    let mut hits = vec![0; ratios.len()];
    let options = Options::with_query(Unit::Clause, Target::Ratio(2.0));
    for case in cases {
        let query = words::distinct_words(case.query);
        let row = Row { texts: &[case.text], titles: None, query: Some(case.query), similarities: None };
        let ranking = Ranking::new(&row, &options, &WordPunct, Some(stats));
        let sentences = parts(case.text, false);
        for (hits, &ratio) in hits.iter_mut().zip(ratios) {
            let out = ranking.cut(ratio_cap(ranking.tokens_in(), ratio), &WordPunct);
            let holds = |range: &Vec<(usize, usize)>| {
                let &(start, end) = &range[0];
                let gold: Vec<_> = sentences
                    .iter()
                    .filter(|part| (part.0 as usize) < end && start < part.1 as usize)
                    .collect();
                let mut wanted = 0;
                let mut kept = 0;
                for part in gold {
                    let all = words::words(&case.text[part.0 as usize..part.1 as usize]);
                    let inside: Vec<String> = out.pieces[0]
                        .iter()
                        .filter(|piece| piece.start < part.1 && part.0 < piece.end)
                        .flat_map(|piece| {
                            words::words(
                                &case.text[piece.start.max(part.0) as usize..piece.end.min(part.1) as usize],
                            )
                        })
                        .collect();
                    wanted += query.iter().filter(|word| all.contains(word)).count();
                    kept += query.iter().filter(|word| all.contains(word) && inside.contains(word)).count();
                }
                covers(case.text, &out.pieces[0], (start, end)) && kept as f64 >= 0.75 * wanted as f64
            };
            *hits += usize::from(case.gold.iter().any(holds));
        }
    }
    hits.into_iter().map(|hits| percent(hits, cases.len())).collect()
}

#[test]
fn squad_articles() {
    let Some(folder) = data::folder() else { return };
    let articles = data::squad(&folder);
    let stats =
        sentence_stats(articles.iter().flat_map(|article| article.paragraphs.iter().map(String::as_str)));
    let texts: Vec<String> = articles.iter().map(|article| article.paragraphs.join("\n")).collect();
    let mut cases = Vec::new();
    for (article, text) in articles.iter().zip(&texts).skip(1).step_by(2) {
        for question in &article.questions {
            let offset: usize =
                article.paragraphs[..question.paragraph].iter().map(|paragraph| paragraph.len() + 1).sum();
            let gold =
                question.answers.iter().map(|&(start, end)| vec![(start + offset, end + offset)]).collect();
            cases.push(Case { text, query: &question.question, gold });
        }
    }
    let ratios = [2.0, 4.0, 8.0, 16.0, 32.0];
    let sentences = Options::with_query(Unit::Sentence, Target::Ratio(2.0));
    let mut report = Report::default();
    let found = survival(&cases, &sentences, &ratios, Some(&stats));
    report.compare_draw("SQuAD2 article, sentences", &found, &[99.6, 99.6, 99.2, 98.4, 97.0], 500);
    report.at_least("gate of long contexts", &found, &[99.0, 99.0, 98.5, 97.5]);
    let clauses = survival(&cases, &Options::with_query(Unit::Clause, Target::Ratio(2.0)), &ratios, None);
    println!("SQuAD2 article, clauses, no statistics {clauses:.1?}");
    report.at_least("gate of long contexts, clauses, no statistics", &clauses, &[99.0, 99.0, 98.5, 97.5]);
    let by_chance = random(&cases, &ratios);
    report.compare_draw("SQuAD2 article, random", &by_chance, &[51.0, 26.0, 13.0, 7.8, 4.2], 500);

    // The graph of an article does not depend on the question, so its ranking is made once.
    let options = Options { select: Some(Select::TextRank), ..sentences };
    let mut hits = vec![0; ratios.len()];
    for text in texts.iter().skip(1).step_by(2) {
        let row = Row { texts: &[text], titles: None, query: None, similarities: None };
        let ranking = Ranking::new(&row, &options, &WordPunct, Some(&stats));
        for (hits, &ratio) in hits.iter_mut().zip(&ratios) {
            let out = ranking.cut(ratio_cap(ranking.tokens_in(), ratio), &WordPunct);
            *hits += cases
                .iter()
                .filter(|case| std::ptr::eq(case.text, text.as_str()) && survives(case, &out.pieces[0]))
                .count();
        }
    }
    let textrank: Vec<f64> = hits.into_iter().map(|hits| percent(hits, cases.len())).collect();
    report.compare_draw("SQuAD2 article, TextRank", &textrank, &[50.8, 25.6, 12.4, 6.0, 3.6], 500);
}

/// A question with ten passages, one of which is its gold passage.
struct Pack<'a> {
    question: &'a OpenQuestion,
    texts: Vec<&'a str>,
    titles: Vec<&'a str>,
}

impl Pack<'_> {
    fn row(&self) -> Row<'_> {
        Row {
            texts: &self.texts,
            titles: Some(&self.titles),
            query: Some(&self.question.question),
            similarities: None,
        }
    }
}

/// A pack for every question: the gold passage at a random place among the nine highest BM25 passages of others.
///
/// The reference drew 300 test questions of the 2,655; which ones is not known. The figures here are over all that
/// do not train, so they lie inside the reference's sampling error (1.4 to 2.8 points) and have less of their own.
fn packs(questions: &[OpenQuestion]) -> Vec<Pack<'_>> {
    let mut postings: BTreeMap<String, Vec<(usize, f64)>> = BTreeMap::new();
    let mut lengths = Vec::new();
    for (idx, question) in questions.iter().enumerate() {
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        words::for_each_word(&question.text, |word| *counts.entry(word.to_owned()).or_default() += 1.0);
        lengths.push(counts.values().sum::<f64>());
        counts.into_iter().for_each(|(word, count)| postings.entry(word).or_default().push((idx, count)));
    }
    let mean = lengths.iter().sum::<f64>() / lengths.len() as f64;
    let mut random = Random(3);
    let mut packs = Vec::new();
    for gold in random.order(questions.len()) {
        let question = &questions[gold];
        let mut scores = vec![0.0; questions.len()];
        for word in words::distinct_words(&question.question) {
            let Some(posting) = postings.get(&word) else { continue };
            let idf = words::idf(questions.len() as u64, posting.len() as u64);
            for &(idx, count) in posting {
                scores[idx] += words::bm25_term(idf, count, 0.9, 0.4, lengths[idx] / mean);
            }
        }
        let mut members: Vec<&OpenQuestion> = Vec::new();
        for idx in score::order(&scores) {
            let other = &questions[idx as usize];
            if members.len() < 9
                && other.text != question.text
                && members.iter().all(|member| member.text != other.text)
            {
                members.push(other);
            }
        }
        members.insert(random.below(10), question);
        let texts = members.iter().map(|member| member.text.as_str()).collect();
        let titles = members.iter().map(|member| member.title.as_str()).collect();
        packs.push(Pack { question, texts, titles });
    }
    packs
}

/// Share of packs in which an answer string occurs in the output.
fn string_survival(
    packs: &[Pack<'_>],
    options: &Options,
    ratios: &[f64],
    stats: Option<&dyn CorpusStats>,
) -> Vec<f64> {
    let mut hits = vec![0; ratios.len()];
    for pack in packs {
        let ranking = Ranking::new(&pack.row(), options, &WordPunct, stats);
        for (hits, &ratio) in hits.iter_mut().zip(ratios) {
            let out = ranking.cut(ratio_cap(ranking.tokens_in(), ratio), &WordPunct);
            let joined = out.texts.join("\n").to_lowercase();
            *hits += usize::from(
                pack.question.answers.iter().any(|answer| joined.contains(&answer.to_lowercase())),
            );
        }
    }
    hits.into_iter().map(|hits| percent(hits, packs.len())).collect()
}

/// Share of packs whose answer survives if sentences are ranked by BM25, smoothed over neighbours, alone.
fn sentences_by_bm25(packs: &[Pack<'_>], ratios: &[f64], stats: &TextStats) -> Vec<f64> {
    let mut hits = vec![0; ratios.len()];
    for pack in packs {
        let query = score::QueryWords::new(&pack.question.question);
        let mut counts = score::Counts::new(query.words().len());
        let mut sentences = Vec::new();
        for (text_idx, text) in pack.texts.iter().enumerate() {
            for (start, end, tokens) in parts(text, false) {
                counts.push_text(&query, &text[start as usize..end as usize]);
                let sentence = sentences.len() as u32;
                sentences.push(select::Unit {
                    text: text_idx as u32,
                    start,
                    end,
                    tokens: tokens as u32,
                    sentence,
                    block: false,
                });
            }
        }
        let idf = counts.idf(&query, Some(stats));
        let bm25 = counts.bm25(&idf, score::SENTENCE_K1, score::SENTENCE_B);
        let texts: Vec<u32> = sentences.iter().map(|sentence| sentence.text).collect();
        let order = score::order(&score::smooth(&bm25, &texts, score::SENTENCE_SMOOTHING));
        let total = pack.texts.iter().map(|text| WordPunct.count(text)).sum();
        for (hits, &ratio) in hits.iter_mut().zip(ratios) {
            let cap = ratio_cap(total, ratio);
            let kept =
                select::first_fit(&sentences, pack.texts.len(), &order, cap, 1, &keep::Required::default())
                    .kept;
            let survives = sentences.iter().zip(kept).filter(|(_, kept)| *kept).any(|(sentence, _)| {
                let text =
                    &pack.texts[sentence.text as usize][sentence.start as usize..sentence.end as usize];
                pack.question
                    .answers
                    .iter()
                    .any(|answer| text.to_lowercase().contains(&answer.to_lowercase()))
            });
            *hits += usize::from(survives);
        }
    }
    hits.into_iter().map(|hits| percent(hits, packs.len())).collect()
}

#[test]
fn ten_passages() {
    let Some(folder) = data::folder() else { return };
    let questions = data::nq_open(&folder);
    let stats = sentence_stats(questions.iter().map(|question| question.text.as_str()));
    let packs = packs(&questions);
    let (train, test) = packs.split_at(300);
    let ratios = [2.0, 4.0, 8.0];
    let mut report = Report::default();
    let mut options = Options::with_query(Unit::Sentence, Target::Ratio(2.0));
    let found = string_survival(test, &options, &ratios, Some(&stats));
    report.compare("NQ-open ten passages, lexical", &found, &[93.7, 88.0, 78.0], 1.0);

    let found = sentences_by_bm25(test, &ratios, &stats);
    report.compare_draw("NQ-open ten passages, BM25 of sentences only", &found, &[84.3, 72.3, 60.3], 300);

    let mut examples = Vec::new();
    for pack in train {
        let answers: Vec<&str> = pack.question.answers.iter().map(String::as_str).collect();
        examples.extend(example(&pack.row(), &answers, &options, &WordPunct, Some(&stats)));
    }
    options.scorer = Scorer::Linear(fit(&examples, Fit { epochs: 6, batch: 1, rate: 0.05, seed: 7 }));
    let found = string_survival(test, &options, &ratios, Some(&stats));
    report.compare_draw("NQ-open ten passages, linear", &found, &[94.3, 90.0, 82.7], 300);
    report.at_least("gate of ten passages", &found[1..], &[88.0, 80.0]);
    let alone = train.iter().filter_map(|pack| {
        let answers: Vec<&str> = pack.question.answers.iter().map(String::as_str).collect();
        example(&pack.row(), &answers, &options, &WordPunct, None)
    });
    options.scorer =
        Scorer::Linear(fit(&alone.collect::<Vec<_>>(), Fit { epochs: 6, batch: 1, rate: 0.05, seed: 7 }));
    let alone = string_survival(test, &options, &ratios, None);
    println!("NQ-open ten passages, linear, no statistics {alone:.1?}");
}

#[test]
fn single_passages() {
    let Some(folder) = data::folder() else { return };
    let questions = data::nq_open(&folder);
    let stats = sentence_stats(questions.iter().map(|question| question.text.as_str()));
    let packs: Vec<Pack<'_>> = questions
        .iter()
        .map(|question| Pack { question, texts: vec![&question.text], titles: vec![""] })
        .collect();
    let ratios = [2.0, 3.0, 4.0];
    let mut report = Report::default();
    let options = Options::with_query(Unit::Clause, Target::Ratio(2.0));
    let found = string_survival(&packs, &options, &ratios, Some(&stats));
    report.compare("NQ-open single passage, clauses", &found, &[67.8, 52.3, 43.9], 1.0);
    let mut hits = [0; 3];
    for question in &questions {
        for (hits, ratio) in hits.iter_mut().zip(ratios) {
            let options = Options {
                select: Some(Select::Lead),
                ..Options::with_query(Unit::Sentence, Target::Ratio(ratio))
            };
            let out =
                compress(&[&question.text], None, None, &options, &WordPunct, None).texts[0].to_lowercase();
            *hits += usize::from(question.answers.iter().any(|answer| out.contains(&answer.to_lowercase())));
        }
    }
    let lead = hits.map(|hits| percent(hits, questions.len()));
    report.compare("NQ-open single passage, lead", &lead, &[66.3, 53.1, 48.2], 1.0);
}

#[test]
fn scifact_rationales() {
    let Some(folder) = data::folder() else { return };
    let claims = data::scifact(&folder, "rationales.dev.jsonl");
    let texts: BTreeMap<&str, ()> = claims.iter().map(|claim| (claim.text.as_str(), ())).collect();
    let stats = sentence_stats(texts.keys().copied());
    let cases: Vec<Case<'_>> = claims
        .iter()
        .map(|claim| {
            let ranges =
                |sentences: &Vec<usize>| sentences.iter().map(|&sentence| claim.ranges[sentence]).collect();
            Case {
                text: &claim.text,
                query: &claim.claim,
                gold: claim.rationales.iter().map(ranges).collect(),
            }
        })
        .collect();
    assert_eq!(cases.len(), 209);
    let ratios = [2.0, 3.0, 4.0];
    let mut report = Report::default();
    let mut options = Options::with_query(Unit::Sentence, Target::Ratio(2.0));
    let found = survival(&cases, &options, &ratios, Some(&stats));
    report.compare("SciFact rationale, sentences", &found, &[82.3, 68.4, 56.0], 1.0);
    report.at_least("gate of rationales", &[found[0], found[2]], &[81.0, 55.0]);
    let alone = survival(&cases, &options, &ratios, None);
    println!("SciFact rationale, sentences, no statistics {alone:.1?}");
    report.at_least("gate of rationales without statistics", &[alone[0], alone[2]], &[81.0, 55.0]);
    options.select = Some(Select::TextRank);
    let found = survival(&cases, &options, &ratios, Some(&stats));
    report.compare("SciFact rationale, TextRank", &found, &[65.6, 50.7, 48.3], 1.0);
    let by_chance = random(&cases, &ratios);
    report.compare_draw("SciFact rationale, random", &by_chance, &[62.7, 43.1, 34.9], 209);
}

#[test]
fn tokens_of_paragraphs() {
    let Some(folder) = data::folder() else { return };
    let articles = data::squad(&folder);
    let stats =
        sentence_stats(articles.iter().flat_map(|article| article.paragraphs.iter().map(String::as_str)));
    let cases = paragraph_cases(&articles);
    let options = Options {
        stages: Stages { token: true, ..Stages::STRUCTURAL },
        ..Options::with_query(Unit::Token, Target::Ratio(1.25))
    };
    let (mut spans, mut content) = (0, 0);
    for case in &cases {
        let out = compress(&[case.text], None, None, &options, &WordPunct, Some(&stats));
        assert!(!out.over_ratio);
        let kept: Vec<String> = words::words(&out.texts[0]);
        spans += usize::from(survives(case, &out.pieces[0]));
        let whole = |range: &Vec<(usize, usize)>| {
            words::words(&case.text[range[0].0..range[0].1]).iter().all(|word| kept.contains(word))
        };
        content += usize::from(case.gold.iter().any(whole));
    }
    let found = [percent(spans, cases.len()), percent(content, cases.len())];
    let mut report = Report::default();
    report.compare("SQuAD2 tokens at 1.25x: span, content words", &found, &[84.4, 100.0], 0.1);
}

#[test]
fn constraints_on_all_data() {
    let Some(folder) = data::folder() else { return };
    let mut texts: Vec<(String, String)> = Vec::new();
    for article in data::squad(&folder).iter().step_by(4) {
        for question in article.questions.iter().step_by(4) {
            texts.push((article.paragraphs[question.paragraph].clone(), question.question.clone()));
        }
    }
    for claim in data::scifact(&folder, "rationales.dev.jsonl") {
        texts.push((claim.text, claim.claim));
    }
    for question in data::nq_open(&folder).into_iter().step_by(10) {
        texts.push((question.text, question.question));
    }
    for text in docs(&folder, "docs/rust-book.jsonl").into_iter().step_by(4) {
        texts.push((text, "how does ownership move a value".to_owned()));
    }
    let keep =
        KeepSet { numbers: true, names: true, negation: true, code: true, tables: true, headings: true };
    let mut unmet = 0;
    for (text, query) in &texts {
        for ratio in [2.0, 4.0, 8.0] {
            let mut options = Options { keep, ..Options::with_query(Unit::Clause, Target::Ratio(ratio)) };
            options.stages.structural = false;
            let out = compress(&[text], None, Some(query), &options, &WordPunct, None);
            assert_eq!(
                keep::violations(text, &out.pieces[0], keep, true, &WordPunct),
                out.keep_unmet,
                "{ratio} {text}"
            );
            unmet += usize::from(out.keep_unmet > 0);
        }
    }
    println!("constraints: {} texts at three ratios, {unmet} outputs with counted violations", texts.len());
    assert!(unmet > 0, "the checker has something to count");
}

fn docs(folder: &Path, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let row = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned()
    };
    text.lines().map(row).collect()
}
