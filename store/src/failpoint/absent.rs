//! No failpoints: the functions of `armed`, empty.

use super::{Control, Site};
use std::io;
use std::path::Path;

/// Nothing can be armed in this build, and nothing is read.
///
/// # Errors
/// Never.
#[inline(always)]
pub fn arm(_variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    Ok(())
}

/// Goes on.
///
/// # Errors
/// Never.
#[inline(always)]
pub fn reach(_site: Site) -> io::Result<()> {
    Ok(())
}

/// Goes on.
#[inline(always)]
pub(crate) fn call(_action: &'static str, _path: &Path) -> io::Result<()> {
    Ok(())
}

/// No.
#[inline(always)]
#[must_use]
pub fn is_broken(_control: Control) -> bool {
    false
}
