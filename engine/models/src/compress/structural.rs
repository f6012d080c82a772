//! Structural cleaning (first version: nothing removed).
use crate::spans::{self, Piece};

/// What happens to link targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// They stay.
    #[default]
    Keep,
    /// They move to a list of their own.
    Side,
    /// They go.
    Drop,
}

/// A cleaned text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clean {
    /// The text.
    pub text: String,
    /// Map to the input.
    pub pieces: Vec<Piece>,
    /// Link targets with the output byte they stood at.
    pub links: Vec<(u32, String)>,
}

/// Cleans a text.
pub fn clean(text: &str, _links: Links) -> Clean {
    Clean { text: text.to_owned(), pieces: spans::identity_pieces(text), links: Vec::new() }
}
