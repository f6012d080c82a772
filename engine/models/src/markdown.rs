//! Module markdown.
