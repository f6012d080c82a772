//! Module embed.
