//! What an index refuses.

use std::fmt;

use super::graph::LINKS_MAX;
use super::{BITS_DIM_MIN, DIM_MAX, ROWS_MAX};

/// Why an index could not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NearestError {
    /// A vector of another length.
    Dim {
        /// Numbers that it has.
        found: usize,
        /// Numbers of the index's vectors.
        expected: usize,
    },
    /// A number that is NaN, infinite or so large that its square is none.
    Number {
        /// Place in the vector.
        place: usize,
        /// The number.
        found: f32,
    },
    /// An index of this dimension cannot be made.
    Unsupported {
        /// What was asked for.
        dim: usize,
    },
    /// 1-bit codes were asked for by name, and the vectors are too short for them.
    Short {
        /// Numbers of a vector.
        dim: usize,
    },
    /// The id is there already.
    Duplicate {
        /// The id.
        id: u64,
    },
    /// No row has this id.
    Absent {
        /// The id.
        id: u64,
    },
    /// The caller has no vector for a row of the index.
    Original {
        /// Of the row.
        id: u64,
    },
    /// The mask was made before the index changed.
    Mask,
    /// The tuning is of an index with another structure by name, or holds a number that no calibration gives.
    Tuning,
    /// A graph of this shape cannot be made.
    Shape {
        /// Links that were asked for.
        links: usize,
    },
    /// The bytes are not those of a graph over these rows.
    Graph,
    /// There are as many rows as fit.
    Full,
    /// Recall cannot be measured without rows and queries.
    Sample,
    /// Whoever watched said so.
    Stopped,
}

impl NearestError {
    /// Largest magnitude of a number: sums of squares of [`DIM_MAX`] of them stay within `f32`.
    pub const LARGEST: f32 = 1e17;
}

impl fmt::Display for NearestError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dim { found, expected } => {
                write!(out, "vector of {found} numbers found, expected {expected}")
            }
            Self::Number { place, found } => {
                write!(
                    out,
                    "{found} found at place {place} of a vector, expected a number of at most {:e}",
                    Self::LARGEST
                )
            }
            Self::Unsupported { dim } => {
                write!(out, "vectors of {dim} numbers found, expected 1 to {DIM_MAX}")
            }
            Self::Short { dim } => {
                write!(
                    out,
                    "vectors of {dim} numbers found, expected at least {BITS_DIM_MIN} for codes of 1 bit"
                )
            }
            Self::Duplicate { id } => write!(out, "row {id} is in the index already"),
            Self::Absent { id } => write!(out, "row {id} is not in the index"),
            Self::Original { id } => write!(out, "row {id} of the index has no vector"),
            Self::Mask => write!(out, "the index has changed since the mask was made"),
            Self::Tuning => write!(out, "the tuning does not belong to this index; calibrate it"),
            Self::Shape { links } => {
                write!(
                    out,
                    "a graph of {links} links found, expected 2 to {LINKS_MAX} and a beam of at least 1"
                )
            }
            Self::Graph => write!(out, "the graph does not belong to these rows; build the index without it"),
            Self::Full => write!(out, "{ROWS_MAX} rows found, which is the most an index takes"),
            Self::Sample => write!(out, "recall cannot be measured without rows and queries"),
            Self::Stopped => write!(out, "stopped before all rows had links"),
        }
    }
}

impl std::error::Error for NearestError {}
