//! Failpoints: named places where a test makes the program fail, to see what it leaves on the disk.
//!
//! ```text
//! FAILPOINTS=flow-before-rename=abort     the place is reached: an error, a panic, or the end of the process
//! FAILPOINTS=flow-before-rename=return@3  the same when it is reached for the third time
//! FAILPOINTS_CALL=17                      the 17th call on a file answers EIO
//! FAILPOINTS_TRACE=<file>                 a line for every place and call that is reached, and what was made to fail
//! ```
//!
//! [`Site`] is the table of all places, with what is on the disk there. A test compares it with the source and with what
//! the sweep of `engine/promptc/tests/it/failpoints` reaches, so that no place is forgotten on either side.
//!
//! Compiled in by the feature `failpoints` in builds with debug assertions, which the tests have. Everywhere else the twin
//! `absent` stands here, whose functions are empty. Does not read the environment: the binary does.
//!
//! # Decisions
//! *By hand, not with the crate `fail`.* It has neither an abort nor a list of its places, so that table, counting and
//! trace would be ours anyway; and it switches on a feature of `log` that nobody else here does, for which Arrow, DataFusion
//! and Lance would be compiled anew.
//!
//! *Calls are counted in [`crate::medium`].* What RocksDB, Lance and Tantivy do inside is theirs; sites stand around it.

#[cfg(not(all(feature = "failpoints", debug_assertions)))]
mod absent;
#[cfg(all(feature = "failpoints", debug_assertions))]
mod armed;
mod sites;

#[cfg(not(all(feature = "failpoints", debug_assertions)))]
use absent as twin;
#[cfg(all(feature = "failpoints", debug_assertions))]
use armed as twin;

pub use sites::Site;
pub use twin::arm;
pub(crate) use twin::call;
pub use twin::{is_broken, reach};

/// An order that a test breaks on purpose, to see that the sweep finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// A file gets its name before its bytes are in it.
    NameFirst,
    /// A build is remembered before its outputs are written.
    RecordFirst,
    /// What a flow's name stands for is under it before it is whole.
    FlowFirst,
    /// An index holds what the log may lose.
    IndexFirst,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NameFirst, Self::RecordFirst, Self::FlowFirst, Self::IndexFirst];

    /// Its name in `FAILPOINTS_CONTROL`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NameFirst => "name-first",
            Self::RecordFirst => "record-first",
            Self::FlowFirst => "flow-first",
            Self::IndexFirst => "index-first",
        }
    }
}
