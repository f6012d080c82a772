//! One value of a row, checked against its declared type but not yet in an array.

/// A typed value. Which variant stands for which Arrow type is in [`super::convert`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datum {
    Null,
    Bool(bool),
    /// All integers, dates in days, timestamps in microseconds, durations in nanoseconds.
    Int(i128),
    /// All floats; finite.
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Lists of any and of fixed length.
    List(Vec<Datum>),
    /// Fields in the order of the type.
    Record(Vec<Datum>),
    /// Keys ascending, without duplicates.
    Map(Vec<(Datum, Datum)>),
}

impl Datum {
    /// A text, or null.
    pub(crate) fn optional_text(text: Option<String>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}
