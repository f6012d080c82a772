//! Vector indexes in Lance datasets.
