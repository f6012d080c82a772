//! One row's values as a tree that templates walk.

use std::sync::Arc;

use promptc_models::spans::Span;

/// A value of a formal.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Null; renders as nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it is written.
    Number(String),
    /// A text with the places that its bytes come from.
    Text(String, Arc<[Span]>),
    /// A list.
    List(Vec<Value>),
    /// A record.
    Record(Vec<(String, Value)>),
}

impl Value {
    /// A text whose bytes have no known source.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into(), Arc::from([]))
    }

    /// What `{% if %}` sees: null, false, zero and everything empty are false.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(digits) => digits.parse::<f64>().is_ok_and(|number| number != 0.0),
            Self::Text(text, _) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Record(cells) => !cells.is_empty(),
        }
    }

    /// The field of a record or the element of a list; null if there is none.
    #[must_use]
    pub fn field(&self, name: &str) -> &Value {
        match self {
            Self::Record(cells) => {
                cells.iter().find(|(cell, _)| cell == name).map_or(&Self::Null, |(_, value)| value)
            }
            _ => &Self::Null,
        }
    }

    /// The element of a list; null beyond its end.
    #[must_use]
    pub fn element(&self, idx: usize) -> &Value {
        match self {
            Self::List(items) => items.get(idx).unwrap_or(&Self::Null),
            _ => &Self::Null,
        }
    }

    /// The value as JSON, for the filter `tojson` and for lists and records that are shown whole.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(digits) => serde_json::from_str(digits).unwrap_or_else(|_| digits.clone().into()),
            Self::Text(text, _) => text.clone().into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Record(cells) => {
                let cells = cells.iter().map(|(name, value)| (name.clone(), value.to_json()));
                serde_json::Value::Object(cells.collect())
            }
        }
    }
}
