//! Integration tests of the store: one binary, one module per subject.
