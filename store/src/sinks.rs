//! Rows of a stream to the user's output files.
