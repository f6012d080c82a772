//! Semantic compression: the parts of a text that are worth their tokens.
//!
//! Extractive only: an output is byte ranges of the input in their order, plus gap marks, so every kept byte has a
//! source. Coarse to fine:
//!
//! ```text
//! texts -> structural -> passages -> sentences -> clauses -> ranking --cut--> units -> [tokens] -> output
//!          (lossless)    score       score        score      (once)   cap     first-fit
//! ```
//!
//! | file | part |
//! |---|---|
//! | [`structural`] | blanks, comments, badges, link targets, repeated headers |
//! | [`units`] | sentences, clauses, passages |
//! | `layout` | the units of a row and how levels relate |
//! | [`score`] | lexical scores against a query |
//! | [`scorer`] | the linear scorer: features, weights, fit |
//! | [`agnostic`] | TextRank, MMR and lead, without a query |
//! | [`keep`] | constraints and their checker |
//! | [`select`] | first-fit under a hard cap |
//! | `rank` | one scoring pass, whose cut can be moved |
//! | [`token`] | dropping tokens by self-information, up to 1.25x |
//!
//! A ratio is a hard cap: `tokens_out <= floor(tokens_in / ratio)`, or the result says that it is not
//! ([`Compressed::over_ratio`]). Pure and deterministic: `f64` in fixed order, no state between calls.
//!
//! # Decisions
//! Gap marks are charged while units are taken, not afterwards: a unit that fills a hole gives a mark back, and no
//! pass over the cap is needed. A constraint's units are taken together with the unit that pulls them in or not at
//! all, which drops the lowest-scored sentence as a whole where they do not fit.

pub mod agnostic;
pub mod keep;
mod layout;
mod rank;
pub mod score;
pub mod scorer;
pub mod select;
pub mod structural;
pub mod token;
pub mod units;

pub use keep::KeepSet;
pub use rank::{Ranking, Row, SentenceFeatures, example, sentence_features};
pub use score::{CorpusStats, TextStats};
pub use scorer::{Example, Fit, Scorer, fit};
pub use structural::Links;

use crate::spans::Piece;
use crate::tokenize::Tokenizer;

/// Which stages run; their order is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stages {
    /// Lossless cleaning.
    pub structural: bool,
    /// Passage scores weigh in.
    pub passage: bool,
    /// Sentences are scored.
    pub sentence: bool,
    /// Clauses are scored.
    pub clause: bool,
    /// Tokens are dropped last, up to 1.25x.
    pub token: bool,
}

impl Stages {
    /// The default without a query: lossless cleaning only.
    pub const STRUCTURAL: Stages =
        Stages { structural: true, passage: false, sentence: false, clause: false, token: false };

    /// The default with a query: everything down to `unit`.
    pub fn down_to(unit: Unit) -> Stages {
        Stages {
            structural: true,
            passage: true,
            sentence: unit >= Unit::Sentence,
            clause: unit >= Unit::Clause,
            token: unit == Unit::Token,
        }
    }
}

/// The smallest part that may be dropped, from coarse to fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A list element, or a chunk of a long text.
    Passage,
    /// A sentence, fence, table, heading or list item.
    Sentence,
    /// A clause of a sentence.
    Clause,
    /// A token, below clauses.
    Token,
}

/// How far a row is compressed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// Cleaning only.
    None,
    /// At most `floor(tokens in / ratio)` tokens; ratios below 1 count as 1.
    Ratio(f64),
    /// At most this many tokens.
    BudgetTokens(u64),
}

/// Ranking without a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// Centrality in the graph of similar units.
    TextRank,
    /// Maximal marginal relevance to the whole text.
    Mmr,
    /// The beginning.
    Lead,
}

/// Settings of one call, the same for every row.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Stages that run.
    pub stages: Stages,
    /// How far.
    pub target: Target,
    /// Smallest unit; stages that are off make it coarser.
    pub unit: Unit,
    /// Constraints.
    pub keep: KeepSet,
    /// Ranking without a query; ignored with one.
    pub select: Option<Select>,
    /// Link targets in the structural stage.
    pub links: Links,
    /// What stands where something was dropped; `None`: `" … "`, and a newline between passages.
    pub gap: Option<String>,
    /// How sentences are scored against a query.
    pub scorer: Scorer,
}

impl Options {
    /// Compression against a query down to `unit`, all else at the language's defaults.
    pub fn with_query(unit: Unit, target: Target) -> Self {
        Self {
            stages: Stages::down_to(unit),
            target,
            unit,
            keep: KeepSet::default(),
            select: None,
            links: Links::Keep,
            gap: None,
            scorer: Scorer::Lexical,
        }
    }

    /// Lossless cleaning only.
    pub fn structural(links: Links) -> Self {
        Self { stages: Stages::STRUCTURAL, links, ..Self::with_query(Unit::Clause, Target::None) }
    }

    /// The unit that is selected: `unit`, or the finest one whose stage runs.
    pub(crate) fn finest(&self) -> Unit {
        let stages = self.stages;
        match self.unit {
            Unit::Token | Unit::Clause if stages.clause => Unit::Clause,
            Unit::Passage => Unit::Passage,
            _ if stages.sentence => Unit::Sentence,
            _ => Unit::Passage,
        }
    }
}

/// The outcome for one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compressed {
    /// As many texts as came in, in their order; a dropped one is empty.
    pub texts: Vec<String>,
    /// Per text: which byte ranges of the input text stand where.
    pub pieces: Vec<Vec<Piece>>,
    /// Per text: link targets that were moved aside, with the output byte at which their text stands.
    pub links: Vec<Vec<(u32, String)>>,
    /// Tokens of the input texts.
    pub tokens_in: u64,
    /// Tokens of the output texts, gap marks included.
    pub tokens_out: u64,
    /// Units that a constraint demands and that are missing.
    pub keep_unmet: u32,
    /// True if the output has more tokens than its cap.
    pub over_ratio: bool,
}

/// Compresses one row: its texts share one budget.
///
/// `titles` is aligned with `texts`; a missing title counts as none. Without a query and without `options.select`
/// only the structural and the token stage act. Cost: a small multiple of splitting the text into tokens.
pub fn compress(
    texts: &[&str],
    titles: Option<&[&str]>,
    query: Option<&str>,
    options: &Options,
    tokenizer: &dyn Tokenizer,
    stats: Option<&dyn CorpusStats>,
) -> Compressed {
    let row = Row { texts, titles, query, similarities: None };
    let ranking = Ranking::new(&row, options, tokenizer, stats);
    match options.target {
        Target::None => ranking.whole(),
        Target::Ratio(ratio) => ranking.cut(ratio_cap(ranking.tokens_in(), ratio), tokenizer),
        Target::BudgetTokens(budget) => ranking.cut(budget, tokenizer),
    }
}

/// `floor(tokens / ratio)`; a ratio below 1 or not a number counts as 1.
pub fn ratio_cap(tokens: u64, ratio: f64) -> u64 {
    if ratio > 1.0 { (tokens as f64 / ratio).floor() as u64 } else { tokens }
}
