//! Module words.
