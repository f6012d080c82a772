//! The command from outside: what it prints where, and how it ends.
#![expect(missing_docs, reason = "tests")]

mod cli;
