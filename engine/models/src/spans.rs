//! Module spans.
