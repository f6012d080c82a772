//! The syntax tree: what a program says, in the order it says it, with the place of every part.
//!
//! Nothing is resolved here: names are text. Comments and blanks are not part of the tree; they stand beside
//! it in [`File::comments`] with their spans, so that the formatter can put them back.

use crate::source::{SourceId, Span};

/// One parsed program text.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// The text it was parsed from.
    pub source: SourceId,
    /// `edition 2026`, if it is the first item.
    pub edition: Option<Edition>,
    /// `//!` lines at the top, without the marks, joined by newlines.
    pub doc: Option<String>,
    /// Declarations in the order written.
    pub items: Vec<Item>,
    /// All comments in the order written, doc comments included.
    pub comments: Vec<Comment>,
}

/// `edition 2026`.
#[derive(Debug, Clone, PartialEq)]
pub struct Edition {
    /// The number as written.
    pub year: u64,
    /// From the keyword to the number.
    pub span: Span,
}

/// A line comment.
#[derive(Debug, Clone, PartialEq)]
pub struct Comment {
    /// From the slashes to the end of the line, line break excluded.
    pub span: Span,
    /// What kind of comment it is.
    pub kind: CommentKind,
}

/// The three kinds of comments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentKind {
    /// `//`
    Line,
    /// `///`, documents the declaration, field or column after it.
    Doc,
    /// `//!` at the top, documents the file.
    File,
}

/// A name with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Ident {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub span: Span,
}

/// Names joined by dots: `hits.text`.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// At least one name.
    pub segments: Vec<Ident>,
    /// From the first to the last name.
    pub span: Span,
}

impl Path {
    /// The path as written, without blanks.
    #[must_use]
    pub fn text(&self) -> String {
        self.segments.iter().map(|ident| ident.name.as_str()).collect::<Vec<_>>().join(".")
    }
}

/// A declaration.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The whole declaration, comments before it excluded.
    pub span: Span,
    /// `///` lines before it, without the marks, joined by newlines.
    pub doc: Option<String>,
    /// What is declared.
    pub kind: ItemKind,
}

/// The forms of declarations; the groups follow the grammar.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the line above each variant names its fields")]
pub enum ItemKind {
    /// `import "path" as name`
    Import { path: Text, alias: Option<Ident> },
    /// `param name : type = default { min, max, choices, doc }`
    Param { name: Ident, ty: Type, default: Expr, block: Option<Block> },
    /// `type Name = type`
    Type { name: Ident, ty: Type },
    /// `source name : type = kind(args) { fields }`
    Source { name: Ident, ty: Type, call: Call, block: Option<Block> },
    /// `keyword name { fields }`
    Plain { keyword: PlainKeyword, keyword_span: Span, name: Ident, block: Block },
    /// `index name on stream(column) { fields }`
    Index { name: Ident, on: Path, column: Ident, block: Block },
    /// `adapter name on model { fields }` and its kin
    On { keyword: OnKeyword, keyword_span: Span, name: Ident, on: Path, block: Block },
    /// `trajectory name from stream { fields }` and its kin
    From { keyword: FromKeyword, keyword_span: Span, name: Ident, from: Path, block: Block },
    /// `federation name for adapter { fields }`
    Federation { name: Ident, target: Path, block: Block },
    /// `prompt name(formals) within budget { messages }`
    Prompt { name: Ident, formals: Vec<Formal>, within: Expr, messages: Vec<Message> },
    /// `pipeline name { stages }`
    Pipeline { name: Ident, stages: Vec<Stage> },
    /// `query name = sql #"..."#`
    Query { name: Ident, sql: Text },
    /// `gate name on bench { sql ... require ... on pass {...} on fail {...} }`
    Gate { name: Ident, on: Path, sql: Text, requires: Vec<Expr>, outcomes: Vec<Outcome> },
    /// `test name for pipeline { given ... expect ... }`
    Test { name: Ident, target: Path, givens: Vec<Given>, expects: Vec<Expr> },
    /// Text that is no declaration; a diagnostic was given for it.
    Bad,
}

/// Keywords of declarations of the form `keyword name { fields }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the keyword of its name")]
pub enum PlainKeyword {
    Tokenizer,
    Embedder,
    Model,
    Scorer,
    Recursion,
    Bench,
    Service,
}

/// Keywords of declarations of the form `keyword name on path { fields }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the keyword of its name")]
pub enum OnKeyword {
    Adapter,
    Dynamics,
    Diffusion,
}

/// Keywords of declarations of the form `keyword name from path { fields }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the keyword of its name")]
pub enum FromKeyword {
    Trajectory,
    Patterns,
    Learn,
}

/// `{ name = value, name { ... } }`
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Fields in the order written.
    pub fields: Vec<Field>,
    /// From brace to brace.
    pub span: Span,
}

/// One field of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The field's name.
    pub name: Ident,
    /// Its value.
    pub value: FieldValue,
    /// `///` lines before it.
    pub doc: Option<String>,
    /// From the name to the end of the value.
    pub span: Span,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// `= expression`
    Expr(Expr),
    /// `{ fields }`
    Block(Block),
    /// Text that is no field; a diagnostic was given for it.
    Bad,
}

/// `name : type` in a prompt's formals or a record type.
#[derive(Debug, Clone, PartialEq)]
pub struct Formal {
    /// The name.
    pub name: Ident,
    /// Its type.
    pub ty: Type,
    /// `///` lines before it.
    pub doc: Option<String>,
}

/// One message of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The role.
    pub role: Role,
    /// Where the role's keyword stands.
    pub role_span: Span,
    /// Attributes in parentheses; empty without.
    pub attributes: Vec<Argument>,
    /// The template.
    pub template: Text,
    /// From the role to the end of the template.
    pub span: Span,
}

/// Roles of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "each variant is the keyword of its name")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// A stage of a pipeline.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the line above each variant names its fields")]
pub enum Stage {
    /// `operand |> step ... -> name : type`
    Flow(Flow),
    /// `write stream to sink(...)`
    Write { stream: Path, sink: Call, span: Span },
    /// Text that is no stage; a diagnostic was given for it. The name after `->` is kept, so that its users are not reported.
    Bad { name: Option<Ident>, span: Span },
}

/// `operand |> step ... -> name : type`
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// A path or a call.
    pub operand: Expr,
    /// Operators in order.
    pub steps: Vec<Step>,
    /// The flow's name.
    pub name: Ident,
    /// The declared type, if any.
    pub ty: Option<Type>,
    /// `///` lines before it.
    pub doc: Option<String>,
    /// From the operand to the name or type.
    pub span: Span,
}

/// `|> operator(args) as name`
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The operator; `None` where the text was no call and a diagnostic was given.
    pub call: Option<Call>,
    /// The name after `as`.
    pub alias: Option<Ident>,
    /// From `|>` to the end.
    pub span: Span,
}

/// `path(args)`
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called.
    pub callee: Path,
    /// Arguments in the order written.
    pub args: Vec<Argument>,
    /// From the callee to the closing parenthesis.
    pub span: Span,
}

/// An argument, named or positional.
#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    /// `name =`, if given.
    pub name: Option<Ident>,
    /// The value.
    pub value: Expr,
    /// From the name or value to the end of the value.
    pub span: Span,
}

/// `on pass { calls }`
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Whether it is `on pass`; otherwise `on fail`.
    pub on_pass: bool,
    /// The actions.
    pub calls: Vec<Call>,
    /// From `on` to the closing brace.
    pub span: Span,
}

/// `given path = expr`
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The source that is replaced.
    pub stream: Path,
    /// Its rows.
    pub rows: Expr,
    /// From `given` to the end.
    pub span: Span,
}

/// An expression with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands, enclosing parentheses included.
    pub span: Span,
}

/// The forms of expressions.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the line above each variant names its fields")]
pub enum ExprKind {
    /// `a or b` and all other binary operators
    Binary { op: BinaryOp, op_span: Span, left: Box<Expr>, right: Box<Expr> },
    /// `not a`, `-a`
    Unary { op: UnaryOp, operand: Box<Expr> },
    /// `f(x)`
    Call(Call),
    /// `12tok`, `"text"`, `true`, `null`
    Literal(Literal),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `hits.text`
    Path(Path),
    /// `(a)`: kept, so that the formatter can write it back
    Paren(Box<Expr>),
    /// Text that is no expression; a diagnostic was given for it.
    Bad,
}

/// Binary operators, loosest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the operator of its name")]
pub enum BinaryOp {
    Or,
    And,
    Eq,
    NotEq,
    Less,
    LessEq,
    Greater,
    GreaterEq,
    In,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Unary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the operator of its name")]
pub enum UnaryOp {
    Not,
    Negate,
}

/// A literal.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// A number with an optional unit.
    Number(Number),
    /// `"..."` or a raw string.
    Text(Text),
    /// `true`, `false`
    Bool(bool),
    /// `null`
    Null,
}

/// A number literal.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// The digits as written, without underscores and unit: `1.5e-3`.
    pub digits: String,
    /// The unit that follows without a blank.
    pub unit: Option<Unit>,
}

/// Units of number literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "each variant is the unit of its name")]
pub enum Unit {
    Tok,
    Ratio,
    Percent,
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Bytes,
    KiB,
    MiB,
    GiB,
}

/// A string or raw string.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// The value: escapes replaced, or the indentation of a raw string removed.
    pub value: String,
    /// Quotes included.
    pub span: Span,
    /// Number of `#` marks of a raw string; 0 is a plain string.
    pub marks: u8,
    /// Where each byte of `value` stands in the source: pairs (offset in `value`, offset in the source text),
    /// ascending, one at the start of every run of bytes that were copied together. Places inside templates
    /// and SQL are found with it.
    pub offsets: Vec<(u32, u32)>,
}

impl Text {
    /// The span of bytes `[start, end)` of the value.
    #[must_use]
    pub fn span_of(&self, start: usize, end: usize) -> Span {
        let place = |offset: usize| {
            let idx = self.offsets.partition_point(|(at, _)| *at as usize <= offset);
            match idx.checked_sub(1).and_then(|idx| self.offsets.get(idx)) {
                Some((at, src)) => *src as usize + (offset - *at as usize),
                None => self.span.start as usize,
            }
        };
        let first = place(start);
        let last = if end > start { place(end - 1) + 1 } else { first };
        Span::new(self.span.source, first, last.max(first))
    }
}

/// A type expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    /// The form.
    pub kind: TypeKind,
    /// Whether `?` follows.
    pub optional: bool,
    /// Where it stands.
    pub span: Span,
}

/// The forms of types.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the line above each variant names its fields")]
pub enum TypeKind {
    /// `stream<T>`
    Stream(Box<Type>),
    /// `list<T>`
    List(Box<Type>),
    /// `map<K, V>`
    Map(Box<Type>, Box<Type>),
    /// `vector<256, f16 @ e>`
    Vector { dim: u64, dim_span: Span, element: Option<Ident>, space: Option<Path> },
    /// `tokens<t>`
    Tokens(Path),
    /// `enum("a", "b")`
    Enum(Vec<Text>),
    /// `{ a: T }`
    Record(Vec<Formal>),
    /// `text`, `u32`, an alias
    Named(Path),
}
