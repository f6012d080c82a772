//! Module chunk.
