//! Types of the language: what a column can hold, with units, embedding spaces and tokenizers.
//!
//! Spaces and tokenizers are nominal by fingerprint: two embedders with equal parameters are one space whatever
//! their names. The name is kept for messages only and takes no part in equality or serialisation.

use serde::Serialize;

/// A 256-bit fingerprint, shown as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fp(pub [u8; 32]);

impl Fp {
    /// The first `digits` hex digits.
    #[must_use]
    pub fn short(&self, digits: usize) -> String {
        self.to_string()[..digits.min(64)].to_owned()
    }
}

impl std::fmt::Display for Fp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Fp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fp({})", self.short(12))
    }
}

impl Serialize for Fp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Something nominal: equal by fingerprint, shown by name.
#[derive(Debug, Clone)]
pub struct Nominal {
    /// Identity.
    pub fp: Fp,
    /// The name under which the program declares it.
    pub name: String,
}

impl PartialEq for Nominal {
    fn eq(&self, other: &Self) -> bool {
        self.fp == other.fp
    }
}
impl Eq for Nominal {}

impl Serialize for Nominal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fp.serialize(serializer)
    }
}

/// Element of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// 32-bit float, the default.
    F32,
    /// 16-bit float.
    F16,
    /// 8-bit integer with a scale.
    I8,
    /// One bit.
    Bit,
}

/// Handles: declared things that are named in parameters and have no column form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is the declaration of its name")]
pub enum Handle {
    Index,
    Adapter,
    Model,
    Bank,
    Scorer,
    Trajectory,
    Embedder,
    Tokenizer,
    Prompt,
    Dynamics,
    Recursion,
    Diffusion,
}

/// A column of a record or stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name. Hidden key columns carry a leading `~`, which no program can write.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// A type. `Unknown` stands only next to an error, matches everything and yields no second diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "variants carry the names of the language reference")]
pub enum Type {
    Unknown,
    /// The type of the literal `null`.
    Null,
    Bool,
    Int {
        signed: bool,
        bits: u8,
    },
    Float {
        bits: u8,
    },
    Text,
    Bytes,
    Date,
    Timestamp,
    Optional(Box<Type>),
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Record(Vec<Column>),
    Enum(Vec<String>),
    /// A number of tokens of a tokenizer; `None` takes the tokenizer of the place it is compared with.
    Tok(Option<Nominal>),
    Ratio,
    Share,
    /// Nanoseconds.
    Duration,
    /// Bytes.
    Size,
    Vector {
        dim: u32,
        element: Element,
        space: Option<Nominal>,
    },
    /// Token ids.
    Tokens(Nominal),
    /// Record of `doc: text, start: u64, end: u64, at: u32`.
    Span,
    /// Record of `role, content`.
    Message,
    Stream(Vec<Column>),
    /// `a..b` of two equal types, inclusive; parameter values only.
    Range(Box<Type>),
    Handle(Handle),
}

impl Type {
    /// `u32`
    pub const U32: Type = Type::Int { signed: false, bits: 32 };
    /// `u64`
    pub const U64: Type = Type::Int { signed: false, bits: 64 };
    /// `i64`
    pub const I64: Type = Type::Int { signed: true, bits: 64 };
    /// `f64`
    pub const F64: Type = Type::Float { bits: 64 };

    /// The type with `?`; optional stays as it is.
    #[must_use]
    pub fn optional(self) -> Type {
        match self {
            Type::Optional(_) | Type::Unknown | Type::Null => self,
            other => Type::Optional(Box::new(other)),
        }
    }

    /// The type without `?`.
    #[must_use]
    pub fn required(&self) -> &Type {
        if let Type::Optional(inner) = self { inner } else { self }
    }

    /// Whether null may occur.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        matches!(self, Type::Optional(_) | Type::Null)
    }

    /// Whether an error hides here.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Type::Unknown)
    }
}

fn write_columns(f: &mut std::fmt::Formatter<'_>, columns: &[Column]) -> std::fmt::Result {
    write!(f, "{{ ")?;
    let shown = columns.iter().filter(|column| !column.name.starts_with('~'));
    for (idx, column) in shown.enumerate() {
        write!(f, "{}{}: {}", if idx == 0 { "" } else { ", " }, column.name, column.ty)?;
    }
    write!(f, " }}")
}

/// The type as the language writes it.
impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Type::Unknown => write!(f, "unknown"),
            Type::Null => write!(f, "null"),
            Type::Bool => write!(f, "bool"),
            Type::Int { signed, bits } => write!(f, "{}{bits}", if *signed { 'i' } else { 'u' }),
            Type::Float { bits } => write!(f, "f{bits}"),
            Type::Text => write!(f, "text"),
            Type::Bytes => write!(f, "bytes"),
            Type::Date => write!(f, "date"),
            Type::Timestamp => write!(f, "timestamp"),
            Type::Optional(inner) => write!(f, "{inner}?"),
            Type::List(inner) => write!(f, "list<{inner}>"),
            Type::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Type::Record(columns) => write_columns(f, columns),
            Type::Enum(values) => {
                let quoted: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
                write!(f, "enum({})", quoted.join(", "))
            }
            Type::Tok(_) => write!(f, "tok"),
            Type::Ratio => write!(f, "ratio"),
            Type::Share => write!(f, "share"),
            Type::Duration => write!(f, "duration"),
            Type::Size => write!(f, "size"),
            Type::Vector { dim, element, space } => {
                write!(f, "vector<{dim}")?;
                match element {
                    Element::F32 => {}
                    Element::F16 => write!(f, ", f16")?,
                    Element::I8 => write!(f, ", i8")?,
                    Element::Bit => write!(f, ", bit")?,
                }
                match space {
                    Some(space) => write!(f, " @ {}>", space.name),
                    None => write!(f, ">"),
                }
            }
            Type::Tokens(tokenizer) => write!(f, "tokens<{}>", tokenizer.name),
            Type::Span => write!(f, "span"),
            Type::Message => write!(f, "message"),
            Type::Stream(columns) => {
                write!(f, "stream<")?;
                write_columns(f, columns)?;
                write!(f, ">")
            }
            Type::Range(inner) => write!(f, "{inner}..{inner}"),
            Type::Handle(handle) => write!(f, "{}", format!("{handle:?}").to_lowercase()),
        }
    }
}
