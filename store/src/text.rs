//! Full-text indexes in Tantivy.
