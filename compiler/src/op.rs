//! Typed operators and expressions: the form in which `check` hands a program on and `engine` runs it.
//!
//! Everything here is canonical: defaults are written out, parameters substituted, names of declarations replaced
//! by what they mean. There are no spans, so serialising an [`Op`] gives the bytes that its fingerprint is taken of.

use serde::{Deserialize, Serialize};

use crate::syntax::ast::{BinaryOp, Role, UnaryOp};
use crate::types::{Column, Element, Nominal, Type};

/// A constant.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Null of any type.
    Null,
    /// A truth value.
    Bool(bool),
    /// Integers, tokens, nanoseconds and bytes; the type tells which.
    Int(i64),
    /// Unsigned integers above `i64::MAX`.
    UInt(u64),
    /// Floats, ratios and shares (80% is 0.8).
    Float(f64),
    /// Text, also choices.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A record, fields in the order of its type.
    Record(Vec<(String, Value)>),
    /// An inclusive range.
    Range(Box<Value>, Box<Value>),
}

/// A typed expression over the columns of one stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// The type of its value.
    pub ty: Type,
}

/// The forms of typed expressions.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variant says what its fields are")]
pub enum ExprKind {
    /// A constant; params are already replaced by their values.
    Literal(Value),
    /// A column of the incoming stream.
    Column(String),
    /// Field of a record; null if the record is null.
    Field { base: Box<Expr>, name: String },
    /// Field of every record of a list.
    FieldOfEach { base: Box<Expr>, name: String },
    /// A row-wise function by name (the table is in `catalog.rs`).
    Call { function: &'static str, args: Vec<Expr> },
    /// An aggregate by name; `over` turns it into a window whose value is repeated in every row of the group.
    Aggregate { function: &'static str, args: Vec<Expr>, over: Option<String> },
    /// A binary operator on two operands of the same type after conversion.
    Binary { op: BinaryOp, left: Box<Expr>, right: Box<Expr> },
    /// A unary operator.
    Unary { op: UnaryOp, operand: Box<Expr> },
    /// A list of elements of one type.
    List(Vec<Expr>),
    /// A widening conversion to the type of this expression.
    Convert(Box<Expr>),
}

/// One operator with its canonical parameters; inputs and output schema stand in the graph's node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "op")]
#[expect(missing_docs, reason = "variants are the operators of the language reference, in its order")]
pub enum Op {
    /// Rows of files.
    Scan(Scan),
    /// Rows written in a test; cells in the order of the node's schema.
    Rows {
        rows: Vec<Vec<Value>>,
    },
    /// The part of a split: `from <= u64_le(blake3(seed ++ column)[..8]) / 2^64 < to`.
    SplitPart {
        column: String,
        seed: u64,
        from: f64,
        to: f64,
    },
    Chunk(Chunk),
    Compress(Compress),
    Dedup(Dedup),
    /// Vectors of a text or list of texts. Inputs: stream, then the fitted table if `embedder.idf`.
    Embed {
        text: Expr,
        embedder: Embedder,
        name: String,
    },
    /// Fits collection statistics for an embedder with `weight = idf`. Gives an artifact.
    FitIdf {
        text: Expr,
        embedder: Embedder,
    },
    /// Fits a linear scorer. Gives an artifact.
    FitScorer(FitScorer),
    /// Fits weights of a fusion. Gives an artifact.
    FitFusion(FitFusion),
    /// Builds an index over a column. Gives an artifact.
    Index(Index),
    /// Inputs: stream, indexes, then the fitted tables of `arms` in order.
    Retrieve(Retrieve),
    /// Fuses lists of hits that are already columns.
    Fuse {
        lists: Vec<Expr>,
        method: Fusion,
        name: String,
    },
    Assemble(Assemble),
    Select {
        columns: Vec<(String, Expr)>,
    },
    Derive {
        columns: Vec<(String, Expr)>,
    },
    Filter {
        condition: Expr,
    },
    /// Pairs (new name, old name).
    Rename {
        columns: Vec<(String, String)>,
    },
    /// Columns of a declared output type, hidden keys included, as (name after, name before).
    Project {
        columns: Vec<(String, String)>,
    },
    Explode {
        list: Expr,
        name: String,
    },
    Join {
        how: JoinKind,
        left_on: Vec<String>,
        right_on: Vec<String>,
    },
    Union,
    Sort {
        by: Vec<String>,
        descending: bool,
    },
    Limit {
        rows: u64,
    },
    Aggregate {
        by: Vec<String>,
        columns: Vec<(String, Expr)>,
    },
    Distinct {
        columns: Vec<String>,
    },
    Sample {
        share: Option<f64>,
        rows: Option<u64>,
        seed: u64,
    },
    /// SQL over the incoming stream as `input` and other streams; `tables` names inputs in order.
    Sql {
        sql: String,
        tables: Vec<String>,
        key: Vec<String>,
    },
    Write(Write),
    /// Parsed and typed, but its area is not in this build; planning it is E2002.
    Unavailable {
        area: String,
        what: String,
    },
}

/// Files as a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scan {
    /// `jsonl`, `json`, `csv`, `parquet`, `lance`, `markdown`, `text`, `squad`, `trec`.
    pub kind: String,
    /// The glob or path as written, params substituted. Not part of the fingerprint (content is).
    #[serde(skip)]
    pub path: String,
    /// Folder that relative paths are relative to.
    #[serde(skip)]
    pub base: String,
    /// `part = contexts` and the like.
    pub part: Option<String>,
    /// Field separator of `csv`.
    pub delimiter: String,
    /// Whether the first line of `csv` names columns.
    pub header: bool,
    /// Columns to give, in order: (name, type).
    pub columns: Vec<Column>,
    /// Unique columns.
    pub key: Vec<String>,
    /// `error`, `quarantine`, `skip`.
    pub bad_rows: String,
    /// Largest row in bytes.
    pub max_bytes: u64,
    /// Largest share of bad rows.
    pub max_bad: f64,
    /// At most so many rows.
    pub limit: Option<u64>,
}

/// Splits texts into chunks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "fields are the parameters of the language reference")]
pub struct Chunk {
    pub text: Expr,
    /// Prefix of the output columns.
    pub name: String,
    /// The spans of the input text, if it has any.
    pub spans: Option<String>,
    /// `heading`, `paragraph`, `sentence`, `fixed`.
    pub by: String,
    pub max_tokens: u64,
    pub min_tokens: u64,
    pub overlap_tokens: u64,
    pub keep: Vec<String>,
    pub breadcrumbs: bool,
    pub tokenizer: Nominal,
}

/// Shortens texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "fields are the parameters of the language reference")]
pub struct Compress {
    /// `text` or `list<text>`.
    pub text: Expr,
    pub name: String,
    /// The spans of the input text, if it has any.
    pub spans: Option<Expr>,
    pub stages: Vec<String>,
    pub query: Option<Expr>,
    pub ratio: Option<f64>,
    pub budget_tokens: Option<u64>,
    pub unit: String,
    pub titles: Option<Expr>,
    pub keep: Vec<String>,
    /// `lexical`, or the name of a scorer, whose node is the second input.
    pub scorer: String,
    pub select: Option<String>,
    pub links: String,
    pub gap: Option<String>,
    pub tokenizer: Nominal,
}

/// Fits a scorer of sentences to rows with a question, passages, and answers that a sentence to keep contains.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "fields are the parameters of the language reference")]
pub struct FitScorer {
    pub passages: Expr,
    pub query: Expr,
    pub answers: Expr,
    pub titles: Option<Expr>,
    pub epochs: u32,
    pub batch: u32,
    pub rate: f64,
    pub seed: u64,
    pub tokenizer: Nominal,
}

/// Fits the weights of indexes to rows with a query and what is relevant for it. The node's inputs 1.. are the indexes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitFusion {
    /// A text or a vector.
    pub query: Expr,
    /// Values of `id` that are relevant.
    pub relevant: Expr,
    /// One per index, in the order written.
    pub arms: Vec<Arm>,
    /// A text column of the indexed stream.
    pub id: String,
    /// Decides which rows judge weights that are chosen on the others.
    pub seed: u64,
}

/// Drops duplicates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are the parameters of the language reference")]
pub struct Dedup {
    pub column: String,
    /// Name of the column with the spans, given in and out when blocks are dropped.
    pub spans: Option<String>,
    /// `row`, `block`.
    pub unit: String,
    /// `exact`, `minhash`.
    pub by: String,
    pub jaccard: f64,
    pub shingle: u32,
    pub permutations: u32,
    pub min_words: u32,
}

/// An embedder in full; its fingerprint is the space.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "fields are the parameters of the language reference")]
pub struct Embedder {
    /// `hashed_ngram`, `static`, `bert`, `model`.
    pub kind: String,
    pub dim: u32,
    pub ngrams: Vec<u8>,
    pub seed: u64,
    /// `weight = idf`.
    pub idf: bool,
    pub normalize: bool,
    pub element: Element,
    pub space: Nominal,
    /// There for `static` and `bert`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<Encoder>,
}

impl Embedder {
    /// Why an index over its vectors is much weaker than one over words, if it is: fused by ranks it would lower what these find.
    #[must_use]
    pub fn weakness(&self) -> Option<&'static str> {
        match self.kind.as_str() {
            "hashed_ngram" => Some("whose vectors no model made"),
            "static" => Some("whose vectors know no order of words"),
            _ => None,
        }
    }
}

/// The model of an embedder of kind `static` or `bert`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Encoder {
    /// Its folder; empty for the one that comes with promptc. What it holds stands in `hash`, so the place takes no part in fingerprints.
    #[serde(skip)]
    pub dir: String,
    /// Hash of its files.
    pub hash: String,
    /// Longer texts are cut; the greatest number where none is too long.
    pub max_tokens: u32,
    /// `mean`, `cls`.
    pub pool: String,
}

/// Builds an index.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "fields are the parameters of the language reference")]
pub struct Index {
    /// `auto`, `flat`, `hnsw`, `ivf_flat`, `ivf_pq`, `bm25`, `minhash`.
    pub kind: String,
    pub column: String,
    /// `cosine`, `dot`, `l2`.
    pub metric: String,
    /// There for `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    pub m: u32,
    pub ef_build: u32,
    pub ef: u32,
    pub lists: Option<u32>,
    pub probes: u32,
    pub sub: Option<u32>,
    pub bits: u32,
    pub refine: u32,
    pub seed: Option<u64>,
    pub k1: f64,
    pub b: f64,
    /// `en` or another stemmer; `None` is `none`.
    pub stem: Option<String>,
    pub stop: Option<String>,
    pub positions: bool,
    /// A text column, and how often each of its words counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<(String, u32)>,
}

/// How lists of hits become one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// Weighted sum of standardised scores; one weight per list.
    Zscore(Vec<f64>),
    /// The same with weights that were learned, by the name of their scorer, whose node is the last input.
    Learned(String),
    /// Sum of `1 / (c + rank)`.
    Rrf(f64),
    /// Largest score.
    Max,
    /// Weighted sum of raw scores.
    Weighted(Vec<f64>),
}

/// Finds rows of indexed streams.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Retrieve {
    /// A text or a vector.
    pub query: Expr,
    /// One per index, in the order written; the node's inputs 1.. are the indexes.
    pub arms: Vec<Arm>,
    /// Most hits.
    pub k: u32,
    /// How the lists are joined.
    pub fuse: Fusion,
    /// Condition over the indexed stream's columns.
    pub filter: Option<Expr>,
    /// At most one hit per value of this column of the indexed stream.
    pub per: Option<String>,
    /// Columns of the indexed stream that a hit carries.
    pub columns: Vec<Column>,
    /// Name of the list of hits.
    pub name: String,
}

/// One index of a `retrieve`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arm {
    /// The index's name in the program, shown in `found_by`.
    pub name: String,
    /// Kind of the index.
    pub kind: String,
    /// The inserted embedder where a text queries a vector index.
    pub embed: Option<Embedder>,
}

/// Renders a prompt under its budget.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assemble {
    /// The prompt.
    pub prompt: Prompt,
    /// (formal, value, the column of spans that gives the value's lineage).
    pub args: Vec<(String, Expr, Option<Expr>)>,
    /// `plain`, `chatml`.
    pub render: String,
    /// Prefix of the output columns.
    pub name: String,
}

/// A prompt declaration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prompt {
    /// Largest number of tokens of the rendered prompt.
    pub budget_tokens: u64,
    /// Formals with their types.
    pub formals: Vec<Column>,
    /// Messages in order.
    pub messages: Vec<Message>,
    /// What counts the tokens.
    pub tokenizer: Nominal,
}

/// One message of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// Lower gives way first.
    pub priority: i32,
    /// It is not shrunk below.
    pub min_tokens: u64,
    /// It is cut above.
    pub max_tokens: Option<u64>,
    /// How it gives way.
    pub shrink: Shrink,
    /// Left out if false; over the formals.
    pub when: Option<Expr>,
    /// The parsed template.
    pub template: Vec<Piece>,
}

/// How a message gives way.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variant says what its fields are")]
pub enum Shrink {
    /// Not at all.
    None,
    /// The beginning stays.
    KeepHead,
    /// The end stays.
    KeepTail,
    /// Both ends stay.
    KeepBoth,
    /// The whole message goes.
    Drop,
    /// The text is compressed; `query` is over the formals.
    Compress { query: Option<Expr>, ratio_min: f64, ratio_max: f64, unit: String, keep: Vec<String> },
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variant says what its fields are")]
pub enum Piece {
    /// Text as written.
    Text(String),
    /// `{{ path | filter }}`
    Slot { path: SlotPath, filters: Vec<Filter> },
    /// `{% for item in path %} body {% endfor %}`
    For { item: String, list: SlotPath, body: Vec<Piece> },
    /// `{% if path %} body {% else %} otherwise {% endif %}`
    If { condition: SlotPath, body: Vec<Piece>, otherwise: Vec<Piece> },
}

/// A filter of a slot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Filter {
    /// `upper lower trim length join tojson default`
    pub name: String,
    /// The argument of `join` and `default`.
    pub argument: Option<String>,
}

/// A path of a template: a variable and steps into it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlotPath {
    /// A formal, a loop's item, or `loop`.
    pub root: String,
    /// Steps in order.
    pub steps: Vec<SlotStep>,
}

/// A step of a template path.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotStep {
    /// `.name`
    Field(String),
    /// `[3]`
    Index(u64),
    /// `[loop.index0]`
    IndexBy(SlotPath),
}

/// Kinds of joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the join of its name")]
pub enum JoinKind {
    Inner,
    Left,
    Semi,
    Anti,
}

/// Writes a stream to a sink.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Write {
    /// `jsonl`, `csv`, `parquet`, `lance`, `files`.
    pub kind: String,
    /// File or folder, relative to `base`.
    pub path: String,
    /// Folder that relative paths are relative to.
    #[serde(skip)]
    pub base: String,
    /// Rows are sorted by these.
    pub key: Vec<String>,
    /// `parquet`: columns of the folder names.
    pub partition: Vec<String>,
    /// `files`: name of each file.
    pub file_name: Option<Expr>,
    /// `files`: content of each file.
    pub file_body: Option<Expr>,
    /// Whether an existing output is replaced.
    pub overwrite: bool,
}
