//! A store directory: its version, its lock, its folders.
