//! Measuring two builds against each other.
//!
//! ```text
//! project --cargo bench --no-run--> executables --list--> titles
//!                                        |
//!   one title:  base cand | cand base | cand base | base cand ...      each word is one process, one observation
//!                                        |
//!                              pairs --judge--> regression, improvement, no_change, cannot_tell (--> more pairs)
//! ```
//!
//! A *slice* is one process start of one side. The two slices of a pair are neighbours in time, and which of them comes first is drawn
//! from the seed, so that drift and other processes hit both sides alike; address spaces are laid out anew in every slice.
//!
//! # Decisions
//! *Slices are criterion's own runs*, short ones, in a scratch folder: every project that has criterion benches can be measured as
//! it is, and the observation is the median of criterion's samples per iteration. Benches that know that they are slices measure
//! the time of their processor, which other processes do not stretch, and tell what they measure without criterion.
//!
//! *The environment of a run* is this machine and the build of what was measured, never that of the program that measures. A bench
//! that knows slices tells its build; of others the executable, cargo and its files say a part (`built`). What nobody says, and
//! what differs between the two sides, is unknown.
//!
//! *One build against itself* is measured until the verdicts are known of the pairs as they are and with a slower second side: what the
//! pairs after which equal builds are dropped say of a slower side is not what a whole measurement says.

mod bisect;
mod built;
mod executable;
mod judge;
mod pairs;
mod slice;
mod worktree;

pub use bisect::Bisection;
pub use executable::{Executable, build, build_commit, titles};
pub use judge::{Judged, Rule};
pub use pairs::{Against, Measured, Plan, Progress, build_of, judge_in_looks, measure, rows};
pub use slice::{Quantity, Slicing};
pub use worktree::{Checkout, checkout, first_parents};

use crate::error::EngineError;

/// An executable, a folder or a commit that cannot be measured.
fn fault(message: impl Into<String>) -> EngineError {
    EngineError::Row { code: "E2103", message: message.into() }
}

/// splitmix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// Numbers that follow from the seed alone.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    /// A number below `bound`, which is not 0: the high product of Lemire 2019 without its rejection (bias below 2^-32 for
    /// bounds below 2^32).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A fair coin.
    pub(crate) fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }
}
