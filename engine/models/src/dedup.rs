//! Module dedup.
