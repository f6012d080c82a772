//! Fields of the declarations of later areas.

use crate::catalog::{Accepts, Fallback, FieldSpec};
use crate::resolve::DeclKind;

const fn required(name: &'static str, accepts: Accepts, doc: &'static str) -> FieldSpec {
    FieldSpec::new(name, accepts, Fallback::Required, doc)
}

const fn optional(name: &'static str, accepts: Accepts, doc: &'static str) -> FieldSpec {
    FieldSpec::new(name, accepts, Fallback::None, doc)
}

const fn with_default(
    name: &'static str,
    accepts: Accepts,
    fallback: Fallback,
    doc: &'static str,
) -> FieldSpec {
    FieldSpec::new(name, accepts, fallback, doc)
}

/// A positive count that fits 32 bits.
const COUNT: Accepts = Accepts::Int(1, 4_294_967_295);

/// A positive float.
const POSITIVE: Accepts = Accepts::Float(0.0, 1e30);

/// Matrices of a decoder that an adapter or a fold can target.
pub(crate) const PROJECTIONS: &[&str] =
    &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Fields of `model`.
pub(crate) const MODEL: &[FieldSpec] = &[
    required(
        "arch",
        Accepts::Choice(&["decoder", "encoder", "diffusion", "remote"]),
        "what kind of network it is",
    ),
    optional("file", Accepts::Text, "a safetensors or GGUF file"),
    optional("init", Accepts::Raw, "`seed(n)`: random weights instead of a file"),
    optional("shape", Accepts::Choice(&["tiny", "small"]), "size of a model with `init`"),
    optional("blake3", Accepts::Text, "first hex digits of the file's hash, at least 6"),
    required("context", Accepts::Tok, "largest number of tokens of one call"),
    required("tokenizer", Accepts::Declared(&[DeclKind::Tokenizer]), "a declared tokenizer"),
    optional(
        "dtype",
        Accepts::Choice(&["f32", "bf16", "f16", "q8", "q4k"]),
        "element of the weights; as in the file",
    ),
    optional("kv", Accepts::Block(KV), "the cache of keys and values"),
    optional("endpoint", Accepts::Text, "the address of a remote model"),
    optional("record", Accepts::Text, "where the answers of a remote model are kept"),
];

const KV: &[FieldSpec] = &[
    with_default("window", Accepts::Tok, Fallback::Int(512), "tokens that stay exact"),
    with_default("kind", Accepts::Choice(&["q4", "q8"]), Fallback::Text("q8"), "element of older entries"),
];

/// Fields of `trajectory`.
pub(crate) const TRAJECTORY: &[FieldSpec] = &[
    required("episode", Accepts::Raw, "columns that identify an episode"),
    required("steps", Accepts::Raw, "what happened, in order"),
    required("state", Accepts::Raw, "what was seen"),
    required("action", Accepts::Raw, "what was done"),
    required("reward", Accepts::Raw, "how good it was"),
    optional("advantage", Accepts::Raw, "reward compared with others; `reward` by default"),
    optional("split", Accepts::Raw, "parts by a hash of a column"),
    optional("weight", Accepts::Raw, "how much an episode counts"),
];

/// Fields of `patterns`.
pub(crate) const PATTERNS: &[FieldSpec] = &[
    with_default(
        "on",
        Accepts::Choice(&["state", "action"]),
        Fallback::Text("state"),
        "which text is embedded",
    ),
    required("embed", Accepts::Declared(&[DeclKind::Embedder]), "an embedder"),
    required("k", Accepts::Int(1, 65_536), "number of patterns"),
    with_default(
        "init",
        Accepts::Choice(&["kmeanspp", "random"]),
        Fallback::Text("kmeanspp"),
        "first centroids",
    ),
    required("seed", Accepts::Seed, "decides the first centroids"),
    optional("keep", Accepts::Raw, "which episodes count"),
    optional("merge", Accepts::Float(-1.0, 1.0), "cosine above which two centroids become one"),
    with_default("iters", COUNT, Fallback::Int(50), "most rounds"),
    optional("index", Accepts::Declared(&[DeclKind::Index]), "an index on the same space"),
];

/// Fields of `adapter`.
pub(crate) const ADAPTER: &[FieldSpec] = &[
    required("kind", Accepts::Choice(&["micro_lora", "base_lora"]), "which loop learns it"),
    required("rank", Accepts::Int(1, 256), "rank of the difference"),
    optional("alpha", POSITIVE, "its scale; twice the rank by default"),
    required("targets", Accepts::Choices(PROJECTIONS), "projections of the base"),
    optional("protect", Accepts::Raw, "`ewc(lambda, fisher, seed)`: what must not be forgotten"),
    with_default("init", Accepts::Choice(&["zero_b"]), Fallback::Text("zero_b"), "first weights"),
    with_default("dtype", Accepts::Choice(&["f32"]), Fallback::Text("f32"), "element of the weights"),
];

/// Parameters of `protect = ewc(...)`.
pub(crate) const EWC: &[FieldSpec] = &[
    required("lambda", POSITIVE, "strength"),
    required("fisher", Accepts::Raw, "the trajectory that says what matters"),
    required("seed", Accepts::Seed, "decides the sample"),
];

/// Fields of `scorer`; [`SCORER_KINDS`] tells which kind takes which.
pub(crate) const SCORER: &[FieldSpec] = &[
    required("kind", Accepts::Choice(&["linear", "fusion", "model"]), "what it scores, and how"),
    optional("unit", Accepts::Choice(&["passage", "sentence", "clause"]), "what is scored"),
    with_default("features", Accepts::Choice(&["standard24"]), Fallback::Text("standard24"), "what it sees"),
    optional("file", Accepts::Text, "a fitted scorer"),
    optional("from", Accepts::DeclaredList(&[DeclKind::Index]), "the indexes whose weights are learned"),
    optional(
        "id",
        Accepts::Raw,
        "the column of the indexed stream that names what is relevant; its key by default",
    ),
];

/// Kinds of scorers: (kind, the field that it needs, its fields beside `kind`).
pub(crate) const SCORER_KINDS: &[(&str, &str, &[&str])] = &[
    ("linear", "unit", &["unit", "features", "file"]),
    ("fusion", "from", &["from", "id"]),
    ("model", "unit", &["unit", "features", "file"]),
];

/// Fields of `learn`.
pub(crate) const LEARN: &[FieldSpec] = &[
    required("objective", Accepts::Raw, "what is learned"),
    optional("steps", COUNT, "number of steps"),
    optional("epochs", COUNT, "number of passes over the rows"),
    required("batch", COUNT, "rows of a step"),
    required("lr", POSITIVE, "size of a step"),
    required("seed", Accepts::Seed, "decides order and first weights"),
    optional("with", Accepts::Declared(&[DeclKind::Patterns, DeclKind::Adapter]), "what it starts from"),
    optional("optimizer", Accepts::Choice(&["sgd", "adam", "adam_atan2"]), "how steps are made"),
    optional("decay", POSITIVE, "weight decay"),
    optional("warmup", Accepts::Int(0, 4_294_967_295), "steps until the full size"),
    optional("clip", POSITIVE, "largest norm of a gradient"),
    optional("loop", Accepts::Choice(&["instant", "background", "deep"]), "when it learns"),
];

/// Fields of `learn` of a scorer of kind `fusion`, which takes no steps.
pub(crate) const LEARN_FUSION: &[FieldSpec] = &[
    required("objective", Accepts::Raw, "what is learned"),
    required("seed", Accepts::Seed, "decides which rows judge weights that were chosen on the others"),
];

/// Objectives of `learn`: name, and the parameters in order.
pub(crate) const OBJECTIVES: &[(&str, &[&str])] = &[
    ("imitate", &["cond"]),
    ("reinforce", &["col"]),
    ("prefer", &["by", "within"]),
    ("rank", &["passages", "query", "answers", "titles"]),
    ("retrieve", &["query", "relevant"]),
    ("language", &["text"]),
    ("supervised", &["input", "output"]),
];

/// Fields of `dynamics`.
pub(crate) const DYNAMICS: &[FieldSpec] = &[
    required("context", Accepts::Raw, "a text column or a prompt"),
    optional("method", Accepts::Choice(&["exact", "iterative", "compiled"]), "how it is computed"),
    with_default("rank", Accepts::Int(1, 4096), Fallback::Int(16), "rank of the difference"),
    optional("lr", POSITIVE, "size of a step of `iterative`"),
    with_default("tolerance", POSITIVE, Fallback::Float(1e-4), "when it ends"),
    optional("targets", Accepts::Choices(PROJECTIONS), "projections of the base"),
    optional("calibrate", Accepts::Raw, "a stream to measure on"),
    optional("fallback", Accepts::Choice(&["tokens", "kv"]), "what is done above `max_kl`"),
    optional("max_kl", POSITIVE, "largest divergence from the context as tokens"),
];

/// Fields of `recursion`.
pub(crate) const RECURSION: &[FieldSpec] = &[
    required("task", Accepts::Choice(&["sudoku", "maze", "grid"]), "what it solves"),
    required("arch", Accepts::Choice(&["mlp", "attention", "conv"]), "how cells are mixed"),
    optional("width", Accepts::Int(8, 65_536), "size of a state"),
    with_default("layers", Accepts::Int(1, 64), Fallback::Int(2), "layers of one step"),
    with_default("inner", Accepts::Int(1, 1024), Fallback::Int(6), "latent steps of a cycle"),
    with_default("outer", Accepts::Int(1, 1024), Fallback::Int(3), "cycles of a supervision step"),
    with_default("supervise", Accepts::Int(1, 1024), Fallback::Int(16), "supervision steps"),
    optional("halt", Accepts::Choice(&["learned", "fixed"]), "when it stops"),
    required("seed", Accepts::Seed, "decides the first weights"),
];

/// Fields of `diffusion`.
pub(crate) const DIFFUSION: &[FieldSpec] = &[
    with_default("steps", Accepts::Int(1, 65_536), Fallback::Int(8), "denoising steps"),
    with_default(
        "schedule",
        Accepts::Choice(&["cosine", "linear"]),
        Fallback::Text("cosine"),
        "noise over the steps",
    ),
    optional("adapters", Accepts::Raw, "`[use(a, steps = 0..3), ...]`; together all steps once"),
    optional("guide", Accepts::Declared(&[DeclKind::Index]), "an index whose neighbours guide"),
    required("seed", Accepts::Seed, "decides the noise"),
];

/// Fields of `federation`.
pub(crate) const FEDERATION: &[FieldSpec] = &[
    required("clients", Accepts::Raw, "the column that says whose row it is"),
    required("rounds", COUNT, "number of rounds"),
    optional("aggregate", Accepts::Raw, "`mean`, `trimmed(share)`, `median` or `krum(n)`"),
    optional("sparsify", Accepts::Share, "share of the weights that is sent"),
    optional("privacy", Accepts::Raw, "`dp(epsilon, delta, clip)`"),
    with_default("secure", Accepts::Bool, Fallback::Bool(false), "whether only the sum is seen"),
    required("seed", Accepts::Seed, "decides clients and noise"),
];

/// Parameters of `privacy = dp(...)`.
pub(crate) const DP: &[FieldSpec] = &[
    required("epsilon", POSITIVE, "loss of privacy"),
    required("delta", Accepts::Float(0.0, 1.0), "probability of a larger loss"),
    required("clip", POSITIVE, "largest norm of an update"),
];

/// Fields of `service`.
pub(crate) const SERVICE: &[FieldSpec] = &[
    optional("bind", Accepts::Text, "address to listen on"),
    optional(
        "routes",
        Accepts::DeclaredList(&[DeclKind::Prompt, DeclKind::Pipeline, DeclKind::Model]),
        "what is served",
    ),
    optional("limits", Accepts::Block(LIMITS), "bounds of the service"),
    with_default("metrics", Accepts::Bool, Fallback::Bool(true), "whether it is measured"),
    optional("auth", Accepts::Raw, "`token_file(path)`"),
];

const LIMITS: &[FieldSpec] = &[
    with_default("inflight", COUNT, Fallback::Int(64), "requests at work"),
    with_default("queue", COUNT, Fallback::Int(256), "requests that wait"),
    with_default("body", Accepts::Size, Fallback::Int(1 << 20), "largest request"),
    with_default("timeout", Accepts::Duration, Fallback::Int(30_000_000_000), "longest request"),
];
