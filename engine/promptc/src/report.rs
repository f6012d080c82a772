//! The benchmark report: what a run measured, as a page, a comment, a test result, a scan result and a dashboard.
//!
//! ```text
//!   SQL over the history --> ReportData --> html      one file for whoever decides about a release
//!                                       --> markdown  a comment of at most 60 lines on a pull request
//!                                       --> junit     one case per gate and benchmark
//!                                       --> sarif     one result per failure, at the benchmark's source line
//!                                       --> terminal  a dashboard of a given width
//! ```
//!
//! Everything is a function of [`ReportData`](data::ReportData) alone: no clock, no files, no environment, so equal data gives equal bytes.
//! It computes no statistics but the curves that it draws; every number comes with the data.

mod area;
mod bounds;
pub(crate) mod data;
mod html;
mod junit;
mod markdown;
mod markup;
mod number;
mod rank;
#[cfg(test)]
pub(crate) mod sample;
mod sarif;
mod svg;
mod terminal;

pub(crate) use html::html;
pub(crate) use junit::junit;
pub(crate) use markdown::markdown;
pub(crate) use sarif::sarif;
pub(crate) use terminal::terminal;
