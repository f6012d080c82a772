//! Fields of the declarations of the core: sources, tokenizers, embedders, indexes, sinks.

use super::{Accepts, DeclKind, Fallback, FieldSpec};

const fn field(name: &'static str, accepts: Accepts, fallback: Fallback, doc: &'static str) -> FieldSpec {
    FieldSpec::new(name, accepts, fallback, doc)
}

/// A kind of source or sink: what it is called with and which area runs it.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// How many parameters may be written without a name.
    pub positional: usize,
    /// Parameters.
    pub parameters: &'static [FieldSpec],
    /// The area that runs it, if it is not core.
    pub area: Option<&'static str>,
}

const PATH: FieldSpec = field("path", Accepts::Text, Fallback::Required, "a path or glob");

/// Kinds of sources.
pub const SOURCES: &[Format] = &[
    Format { name: "jsonl", positional: 1, parameters: &[PATH], area: None },
    Format { name: "json", positional: 1, parameters: &[PATH], area: None },
    Format {
        name: "csv",
        positional: 1,
        parameters: &[
            PATH,
            field("delim", Accepts::Text, Fallback::Text(","), "the separator of fields"),
            field("header", Accepts::Bool, Fallback::Bool(true), "whether the first line names columns"),
        ],
        area: None,
    },
    Format { name: "parquet", positional: 1, parameters: &[PATH], area: None },
    Format { name: "lance", positional: 1, parameters: &[PATH], area: None },
    Format { name: "markdown", positional: 1, parameters: &[PATH], area: None },
    Format { name: "text", positional: 1, parameters: &[PATH], area: None },
    Format {
        name: "squad",
        positional: 1,
        parameters: &[
            PATH,
            field(
                "part",
                Accepts::Choice(&["contexts", "questions"]),
                Fallback::Required,
                "which rows are read",
            ),
        ],
        area: None,
    },
    Format {
        name: "trec",
        positional: 1,
        parameters: &[
            PATH,
            field(
                "part",
                Accepts::Choice(&["docs", "topics", "qrels"]),
                Fallback::Required,
                "which rows are read",
            ),
        ],
        area: None,
    },
];

/// Fields of `source`.
pub const SOURCE: &[FieldSpec] = &[
    field("key", Accepts::Raw, Fallback::None, "the column or columns that identify a row"),
    field(
        "bad_rows",
        Accepts::Choice(&["error", "quarantine", "skip"]),
        Fallback::Text("error"),
        "what becomes of rows that cannot be read",
    ),
    field("max_bytes", Accepts::Size, Fallback::Int(16 << 20), "largest row"),
    field("max_bad", Accepts::Share, Fallback::Float(0.05), "largest share of bad rows"),
    field("limit", Accepts::Int(0, i64::MAX), Fallback::None, "at most so many rows"),
    field("split", Accepts::Raw, Fallback::None, "parts by a hash of a column"),
    field("encoding", Accepts::Choice(&["utf8"]), Fallback::Text("utf8"), "encoding of the text"),
];

/// Parameters of `split = by(column, ...)` beside the shares of the parts.
pub const SPLIT_SEED: &str = "seed";

/// Fields of `tokenizer`.
pub const TOKENIZER: &[FieldSpec] = &[
    field(
        "kind",
        Accepts::Choice(&["word_punct", "byte_bpe", "wordpiece", "unigram"]),
        Fallback::Required,
        "how text is cut",
    ),
    field("file", Accepts::Text, Fallback::None, "a `tokenizer.json`"),
    field("train", Accepts::Raw, Fallback::None, "a text column to train on instead of loading"),
    field("vocab", Accepts::Int(1, 10_000_000), Fallback::Int(4096), "number of tokens"),
    field("special", Accepts::Texts, Fallback::EmptyList, "tokens with a meaning of their own"),
];

/// Fields of `embedder`; [`EMBEDDER_KINDS`] tells which kind takes which.
pub const EMBEDDER: &[FieldSpec] = &[
    field(
        "kind",
        Accepts::Choice(&["hashed_ngram", "static", "bert", "model"]),
        Fallback::Required,
        "how vectors are made",
    ),
    field("dim", Accepts::Int(8, 4096), Fallback::Int(256), "length of the vectors, a multiple of 8"),
    field("ngrams", Accepts::Ints(1, 16), Fallback::Ints(&[3, 4, 5]), "lengths of character n-grams"),
    field("seed", Accepts::Seed, Fallback::None, "keys the hash"),
    field("weight", Accepts::Choice(&["none", "idf"]), Fallback::Text("none"), "weights of words"),
    field("fit", Accepts::Raw, Fallback::None, "the text column that `weight = idf` counts"),
    field("normalize", Accepts::Bool, Fallback::Bool(true), "vectors of length 1"),
    field(
        "element",
        Accepts::Choice(&["f32", "f16", "i8", "bit"]),
        Fallback::Text("f32"),
        "element of the vectors",
    ),
    field("dir", Accepts::Text, Fallback::None, "a folder with a model or a table, whose vectors give `dim`"),
    field(
        "max_tokens",
        Accepts::Tok,
        Fallback::Int(512),
        "longer texts are cut; a folder may say another number than this one",
    ),
    field(
        "pool",
        Accepts::Choice(&["mean", "cls", "last"]),
        Fallback::Text("mean"),
        "tokens to one vector; a folder may say `cls`",
    ),
    field("model", Accepts::Declared(&[DeclKind::Model]), Fallback::None, "a declared model"),
];

/// Kinds of embedders: (kind, its fields beside `kind`).
pub const EMBEDDER_KINDS: &[(&str, &[&str])] = &[
    ("hashed_ngram", &["dim", "ngrams", "seed", "weight", "fit", "normalize", "element"]),
    ("static", &["dim", "dir", "element"]),
    ("bert", &["dim", "dir", "max_tokens", "pool", "normalize", "element"]),
    ("model", &["dim", "model", "pool", "normalize", "element"]),
];

/// Languages with a stemmer.
const STEMMERS: &[&str] = &[
    "ar", "da", "de", "el", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pt", "ro", "ru", "sv", "ta",
    "tr", "none",
];

/// Languages with a list of stop words.
const STOP_LISTS: &[&str] =
    &["da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pt", "ru", "sv", "none"];

/// Fields of `index`; [`INDEX_KINDS`] tells which kind takes which.
pub const INDEX: &[FieldSpec] = &[
    field(
        "kind",
        Accepts::Choice(&["auto", "flat", "hnsw", "ivf_flat", "ivf_pq", "bm25", "minhash"]),
        Fallback::Required,
        "how it is searched",
    ),
    field("metric", Accepts::Choice(&["cosine", "dot", "l2"]), Fallback::Text("cosine"), "what near means"),
    field(
        "recall",
        Accepts::Share,
        Fallback::Float(0.98),
        "least share of the true nearest rows that is found",
    ),
    field("m", Accepts::Int(2, 256), Fallback::Int(16), "links of a node"),
    field("ef_build", Accepts::Int(1, 4_096), Fallback::Int(200), "candidates while building"),
    field("ef", Accepts::Int(1, 4_096), Fallback::Int(64), "candidates while searching"),
    field("lists", Accepts::Int(1, 1_048_576), Fallback::None, "number of cells"),
    field("probes", Accepts::Int(1, 1_048_576), Fallback::Int(8), "cells that are searched"),
    field(
        "sub",
        Accepts::Int(1, 4096),
        Fallback::None,
        "parts of a vector that are quantised apart; they divide it",
    ),
    field("bits", Accepts::Int(4, 8), Fallback::Int(8), "bits of a code, 4 or 8"),
    field("seed", Accepts::Seed, Fallback::None, "decides the training"),
    field("refine", Accepts::Int(1, 1024), Fallback::Int(4), "exact re-ranking of so many times k"),
    field("k1", Accepts::Float(0.0, 100.0), Fallback::Float(1.2), "saturation of word counts"),
    field("b", Accepts::Float(0.0, 1.0), Fallback::Float(0.75), "weight of the length"),
    field("stem", Accepts::Choice(STEMMERS), Fallback::Text("en"), "language of the stemmer"),
    field("stop", Accepts::Choice(STOP_LISTS), Fallback::Text("en"), "language of the list of stop words"),
    field(
        "positions",
        Accepts::Bool,
        Fallback::Bool(false),
        "whether positions are kept, for phrases between quotation marks",
    ),
    field("title", Accepts::Raw, Fallback::None, "a text column whose words are indexed too"),
    field("title_weight", Accepts::Int(1, 100), Fallback::Int(2), "how often a word of the title counts"),
    field("permutations", Accepts::Int(8, 4096), Fallback::Int(128), "length of a signature"),
    field("shingle", Accepts::Int(1, 64), Fallback::Int(5), "words of a shingle"),
];

/// Kinds of indexes: (kind, whether it is over vectors, whether it needs a seed, its fields beside `kind`).
pub const INDEX_KINDS: &[(&str, bool, bool, &[&str])] = &[
    ("auto", true, false, &["metric", "recall"]),
    ("flat", true, false, &["metric"]),
    ("hnsw", true, true, &["metric", "m", "ef_build", "ef", "seed"]),
    ("ivf_flat", true, true, &["metric", "lists", "probes", "seed", "refine"]),
    ("ivf_pq", true, true, &["metric", "lists", "probes", "sub", "bits", "seed", "refine"]),
    ("bm25", false, false, &["k1", "b", "stem", "stop", "positions", "title", "title_weight"]),
    ("minhash", false, false, &["permutations", "shingle"]),
];

const KEY: FieldSpec = field("key", Accepts::Raw, Fallback::None, "rows are sorted by these columns");
const OVERWRITE: FieldSpec =
    field("overwrite", Accepts::Bool, Fallback::Bool(true), "whether an existing output is replaced");

/// Kinds of sinks.
pub const SINKS: &[Format] = &[
    Format { name: "jsonl", positional: 1, parameters: &[PATH, KEY, OVERWRITE], area: None },
    Format { name: "csv", positional: 1, parameters: &[PATH, KEY, OVERWRITE], area: None },
    Format {
        name: "parquet",
        positional: 1,
        parameters: &[
            PATH,
            KEY,
            field("partition", Accepts::Raw, Fallback::None, "columns that name folders"),
            OVERWRITE,
        ],
        area: None,
    },
    Format { name: "lance", positional: 1, parameters: &[PATH, KEY, OVERWRITE], area: None },
    Format {
        name: "files",
        positional: 1,
        parameters: &[
            field("dir", Accepts::Text, Fallback::Required, "the folder"),
            field("name", Accepts::Raw, Fallback::Required, "the name of each row's file"),
            field("body", Accepts::Raw, Fallback::Required, "the content of each row's file"),
            OVERWRITE,
        ],
        area: None,
    },
];

/// Fields of the block of a `param`; read by their owner, since their type is the param's.
pub const PARAM: &[FieldSpec] = &[
    field("min", Accepts::Raw, Fallback::None, "smallest value"),
    field("max", Accepts::Raw, Fallback::None, "largest value"),
    field("choices", Accepts::Raw, Fallback::None, "the only values"),
    field("doc", Accepts::Text, Fallback::None, "what it is for"),
];
