//! Read-only check of a store directory, and what garbage collection may remove.
