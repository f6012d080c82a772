//! Output paths that stay inside their folder.
