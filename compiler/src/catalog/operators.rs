//! Operators of flows, in the order of the language reference.

use super::{Accepts, DeclKind, Fallback, FieldSpec};
use crate::graph::{Class, Effect};

/// Whether a step may or must be followed by `as name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias {
    /// E0207 without it.
    Required,
    /// Without it the result replaces the input column.
    Optional,
    /// The operator names its columns itself.
    Refused,
}

/// An operator of the language.
#[derive(Debug, Clone, Copy)]
pub struct Operator {
    /// Its name.
    pub name: &'static str,
    /// How it relates rows to rows.
    pub class: Class,
    /// What it depends on.
    pub effect: Effect,
    /// Raised whenever an output byte may change.
    pub version: u32,
    /// `as name`.
    pub alias: Alias,
    /// How many of the parameters may be written without a name, in order.
    pub positional: usize,
    /// Parameters; empty where [`Operator::is_open`].
    pub parameters: &'static [FieldSpec],
    /// Whether the arguments' names are free: columns, formals.
    pub is_open: bool,
    /// The area that runs it, if it is not core.
    pub area: Option<&'static str>,
    /// One sentence.
    pub doc: &'static str,
}

/// The operator of a name.
#[must_use]
pub fn operator(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|operator| operator.name == name)
}

/// A row of the table with the values that most rows have.
const fn row_wise(name: &'static str, parameters: &'static [FieldSpec], doc: &'static str) -> Operator {
    Operator {
        name,
        class: Class::RowWise,
        effect: Effect::Pure,
        version: 1,
        alias: Alias::Optional,
        positional: 1,
        parameters,
        is_open: false,
        area: None,
        doc,
    }
}

const fn open(name: &'static str, class: Class, doc: &'static str) -> Operator {
    Operator { class, alias: Alias::Refused, positional: 0, is_open: true, ..row_wise(name, &[], doc) }
}

const fn blocking(
    name: &'static str,
    positional: usize,
    parameters: &'static [FieldSpec],
    doc: &'static str,
) -> Operator {
    Operator { class: Class::Blocking, alias: Alias::Refused, positional, ..row_wise(name, parameters, doc) }
}

const fn later(
    name: &'static str,
    area: &'static str,
    parameters: &'static [FieldSpec],
    doc: &'static str,
) -> Operator {
    Operator { effect: Effect::Seeded, area: Some(area), ..row_wise(name, parameters, doc) }
}

const fn field(name: &'static str, accepts: Accepts, fallback: Fallback, doc: &'static str) -> FieldSpec {
    FieldSpec::new(name, accepts, fallback, doc)
}

const TOKENIZER: FieldSpec = field(
    "tokenizer",
    Accepts::Declared(&[DeclKind::Tokenizer]),
    Fallback::None,
    "what counts tokens; the only declared one, else `word_punct`",
);

/// Every operator, in the order of the language reference.
pub const OPERATORS: &[Operator] = &[
    Operator {
        class: Class::Expanding,
        ..row_wise("chunk", CHUNK, "splits texts into chunks of bounded size")
    },
    row_wise("compress", COMPRESS, "shortens texts, for a query or losslessly"),
    Operator {
        class: Class::Blocking,
        alias: Alias::Refused,
        ..row_wise("dedup", DEDUP, "drops repeated rows or blocks")
    },
    Operator { alias: Alias::Required, ..row_wise("embed", EMBED, "vectors of texts") },
    Operator { alias: Alias::Required, ..row_wise("retrieve", RETRIEVE, "finds rows of indexed streams") },
    Operator { area: Some("learn"), ..row_wise("rerank", RERANK, "scores hits again") },
    Operator {
        alias: Alias::Required,
        positional: usize::MAX,
        ..open("fuse", Class::RowWise, "joins lists of hits")
    },
    Operator {
        alias: Alias::Required,
        ..open("assemble", Class::RowWise, "renders a prompt under its budget")
    },
    open("select", Class::RowWise, "keeps the named columns"),
    open("derive", Class::RowWise, "adds or replaces columns"),
    Operator { alias: Alias::Refused, ..row_wise("filter", FILTER, "keeps rows whose condition is true") },
    open("rename", Class::RowWise, "gives columns new names"),
    Operator {
        class: Class::Expanding,
        ..row_wise("explode", EXPLODE, "one row for each element of a list")
    },
    blocking("join", 1, JOIN, "adds columns of another stream"),
    open("union", Class::RowWise, "rows of streams with equal columns"),
    blocking("sort", 1, SORT, "orders rows"),
    blocking("limit", 1, LIMIT, "keeps the first rows"),
    open("aggregate", Class::Blocking, "one row for each group"),
    blocking("distinct", 1, DISTINCT, "one row for each combination of values"),
    Operator { effect: Effect::Seeded, ..blocking("sample", 1, SAMPLE, "a random part of the rows") },
    blocking("sql", 1, SQL, "SQL over the stream"),
    Operator {
        alias: Alias::Required,
        ..later("bind_space", "runtime", BIND_SPACE, "gives foreign vectors the space of an embedder")
    },
    Operator { alias: Alias::Required, ..later("generate", "runtime", GENERATE, "texts of a model") },
    Operator { alias: Alias::Required, ..later("apply", "learn", APPLY, "vectors through an adapter") },
    Operator { alias: Alias::Required, ..later("fold", "weights", FOLD, "context as weights") },
    Operator { alias: Alias::Required, ..later("solve", "reason", SOLVE, "grids through a recursion") },
    Operator { alias: Alias::Required, ..later("denoise", "diffuse", DENOISE, "texts by denoising") },
];

const CHUNK: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a text column"),
    field(
        "by",
        Accepts::Choice(&["heading", "paragraph", "sentence", "fixed"]),
        Fallback::Text("paragraph"),
        "where a chunk begins",
    ),
    field("max", Accepts::Tok, Fallback::Int(512), "largest chunk"),
    field("min", Accepts::Tok, Fallback::Int(0), "smaller chunks join the one before"),
    field("overlap", Accepts::Tok, Fallback::Int(0), "repeated from the chunk before"),
    field("keep", Accepts::Choices(&["code", "tables"]), Fallback::EmptyList, "never cut inside"),
    field("breadcrumbs", Accepts::Bool, Fallback::Bool(true), "whether `heading` is filled"),
    TOKENIZER,
];

/// Stages of `compress`, in the order in which they may stand.
pub const STAGES: &[&str] = &["structural", "passage", "sentence", "clause", "token"];

const COMPRESS: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a text or a list of texts"),
    field("stages", Accepts::Choices(STAGES), Fallback::None, "what is done, in order"),
    field("query", Accepts::Raw, Fallback::None, "the text that decides what matters"),
    field("ratio", Accepts::Ratio, Fallback::None, "input tokens over output tokens"),
    field("budget", Accepts::Tok, Fallback::None, "largest output"),
    field(
        "unit",
        Accepts::Choice(&["passage", "sentence", "clause", "token"]),
        Fallback::Text("clause"),
        "smallest unit that may be dropped",
    ),
    field("titles", Accepts::Raw, Fallback::None, "titles of the elements of a list"),
    field(
        "keep",
        Accepts::Choices(&["numbers", "names", "negation", "code", "tables", "headings"]),
        Fallback::EmptyList,
        "what must stay",
    ),
    field("scorer", Accepts::Raw, Fallback::None, "a scorer, or `lexical`"),
    field(
        "select",
        Accepts::Choice(&["textrank", "mmr", "lead"]),
        Fallback::None,
        "how to choose without a query",
    ),
    field(
        "links",
        Accepts::Choice(&["keep", "side", "drop"]),
        Fallback::Text("keep"),
        "what becomes of link targets",
    ),
    field(
        "stats",
        Accepts::Declared(&[DeclKind::Index]),
        Fallback::None,
        "a bm25 index with word statistics",
    ),
    field("gap", Accepts::Text, Fallback::None, "put where something was dropped"),
    TOKENIZER,
];

const DEDUP: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a text column"),
    field("unit", Accepts::Choice(&["row", "block"]), Fallback::Text("row"), "what is compared"),
    field("by", Accepts::Choice(&["exact", "minhash"]), Fallback::Text("minhash"), "how it is compared"),
    field("jaccard", Accepts::Float(0.0, 1.0), Fallback::Float(0.8), "share of common shingles"),
    field("shingle", Accepts::Int(1, 64), Fallback::Int(5), "words of a shingle"),
    field("permutations", Accepts::Int(8, 4096), Fallback::Int(128), "length of a signature"),
    field("min_words", Accepts::Int(0, 1_000_000), Fallback::Int(12), "shorter blocks: exact only"),
];

const EMBED: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a text or a list of texts"),
    field("with", Accepts::Declared(&[DeclKind::Embedder]), Fallback::Required, "an embedder"),
];

const RETRIEVE: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a text or a vector"),
    field("from", Accepts::DeclaredList(&[DeclKind::Index]), Fallback::Required, "indexes over one stream"),
    field("k", Accepts::Int(1, 10_000), Fallback::Int(10), "most hits"),
    field("fuse", Accepts::Raw, Fallback::None, "how lists of several indexes are joined"),
    field("filter", Accepts::Raw, Fallback::None, "a condition over the indexed stream"),
    field("per", Accepts::Raw, Fallback::None, "at most one hit for each value of this column"),
];

const RERANK: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a list of hits"),
    field("query", Accepts::Raw, Fallback::Required, "a text"),
    field(
        "with",
        Accepts::Declared(&[DeclKind::Scorer, DeclKind::Model]),
        Fallback::Required,
        "a scorer or model",
    ),
    field("k", Accepts::Int(1, 10_000), Fallback::None, "most hits"),
];

const FILTER: &[FieldSpec] = &[field("condition", Accepts::Raw, Fallback::Required, "a bool")];

const EXPLODE: &[FieldSpec] = &[field("column", Accepts::Raw, Fallback::Required, "a list")];

const JOIN: &[FieldSpec] = &[
    field("right", Accepts::Raw, Fallback::Required, "the other stream"),
    field("on", Accepts::Raw, Fallback::Required, "columns of the same name on both sides"),
    field(
        "how",
        Accepts::Choice(&["inner", "left", "semi", "anti"]),
        Fallback::Text("inner"),
        "which rows stay",
    ),
    field("right_on", Accepts::Raw, Fallback::None, "columns of the other stream, if they have other names"),
];

const SORT: &[FieldSpec] = &[
    field("by", Accepts::Raw, Fallback::Required, "a column or a list of columns"),
    field("desc", Accepts::Bool, Fallback::Bool(false), "largest first"),
];

const LIMIT: &[FieldSpec] =
    &[field("n", Accepts::Int(0, i64::MAX), Fallback::Required, "how many rows stay")];

const DISTINCT: &[FieldSpec] =
    &[field("columns", Accepts::Raw, Fallback::Required, "a column or a list of columns")];

const SAMPLE: &[FieldSpec] = &[
    field("share", Accepts::Share, Fallback::None, "share of the rows"),
    field("n", Accepts::Int(0, i64::MAX), Fallback::None, "number of rows"),
    field("seed", Accepts::Seed, Fallback::Required, "decides which rows"),
];

const SQL: &[FieldSpec] = &[
    field("statement", Accepts::Raw, Fallback::Required, "SELECT over `input`"),
    field("key", Accepts::Raw, Fallback::None, "columns that identify a row"),
];

const BIND_SPACE: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a vector without space"),
    field("space", Accepts::Declared(&[DeclKind::Embedder]), Fallback::Required, "an embedder"),
    field("checked_by", Accepts::Raw, Fallback::Required, "the text column that the vectors are of"),
];

const GENERATE: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a prompt"),
    field("with", Accepts::Declared(&[DeclKind::Model]), Fallback::Required, "a model"),
    field("adapter", Accepts::Declared(&[DeclKind::Adapter]), Fallback::None, "an adapter of that model"),
    field("max", Accepts::Tok, Fallback::Required, "most tokens"),
    field("temperature", Accepts::Float(0.0, 100.0), Fallback::Float(0.0), "0 takes the likeliest token"),
    field("top_p", Accepts::Float(0.0, 1.0), Fallback::None, "mass of the tokens considered"),
    field("seed", Accepts::Seed, Fallback::None, "decides the draws"),
    field("stop", Accepts::Texts, Fallback::EmptyList, "texts that end the output"),
    field("schema", Accepts::Raw, Fallback::None, "a type that the output parses as"),
];

const APPLY: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a column"),
    field("adapter", Accepts::Declared(&[DeclKind::Adapter]), Fallback::Required, "an adapter"),
];

const FOLD: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a text column"),
    field("with", Accepts::Declared(&[DeclKind::Dynamics]), Fallback::Required, "dynamics"),
];

const SOLVE: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a grid column"),
    field("with", Accepts::Declared(&[DeclKind::Recursion]), Fallback::Required, "a recursion"),
    field("steps", Accepts::Int(1, 4096), Fallback::None, "most steps"),
];

const DENOISE: &[FieldSpec] = &[
    field("column", Accepts::Raw, Fallback::Required, "a text column"),
    field("with", Accepts::Declared(&[DeclKind::Diffusion]), Fallback::Required, "a diffusion"),
    field("seed", Accepts::Seed, Fallback::Required, "decides the draws"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_positional_parameters_exist() {
        for (idx, operator) in OPERATORS.iter().enumerate() {
            assert!(OPERATORS[..idx].iter().all(|other| other.name != operator.name), "{}", operator.name);
            if !operator.is_open {
                assert!(operator.positional <= operator.parameters.len(), "{}", operator.name);
            }
            assert!(!operator.doc.is_empty() && operator.version > 0);
        }
    }
}
