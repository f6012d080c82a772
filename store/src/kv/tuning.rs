//! How the database is tuned, and when a write counts as done.

use std::time::Duration;

/// When a write of [`Records`](super::Records) is acknowledged, and so what it survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// In memory only: lost when the process ends without closing the store. For what can be computed again.
    None,
    /// In the log, in the system's page cache: survives a kill of the process.
    Wal,
    /// In the log and synced, one sync for all writers that wait: survives a power cut.
    GroupCommit,
    /// In the log and synced, one sync for this write alone: survives a power cut.
    WalFsync,
}

impl Durability {
    /// All levels, the weakest first.
    pub const ALL: [Self; 4] = [Self::None, Self::Wal, Self::GroupCommit, Self::WalFsync];

    /// The text in the benchmark history and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Wal => "wal",
            Self::GroupCommit => "group_commit",
            Self::WalFsync => "wal_fsync",
        }
    }

    /// The level that a text names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }

    /// Whether the log is on the device before the write is acknowledged.
    #[must_use]
    pub fn is_synced(self) -> bool {
        matches!(self, Self::GroupCommit | Self::WalFsync)
    }
}

/// How blocks of the family `records` are compressed. Every one can read files of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// lz4: fast, for short texts.
    Lz4,
    /// zstd, level 3: smaller.
    Zstd,
}

/// Settings of the database. None of them changes what is stored or when it is durable, so a directory may be opened with
/// others than those it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Blocks of all families, index and filter blocks included. What write buffers leave of their part is for blocks as well,
    /// and where they need more for a while, blocks go.
    pub block_cache_bytes: usize,
    /// One write buffer; two per family may wait for their flush, and all of them together begin to be written at twice this.
    /// At least 64 KiB.
    pub write_buffer_bytes: usize,
    /// A block of a table.
    pub block_bytes: usize,
    /// Compression of `records`.
    pub compression: Compression,
    /// Operations that one group commit writes at most, one write excepted that has more. At least 1.
    pub group_records: usize,
    /// Longest wait of a group commit for further writers; it never waits longer than its last sync took.
    pub group_wait: Duration,
}

impl Tuning {
    /// What the database holds in memory.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.block_cache_bytes + self.write_buffers_bytes()
    }

    /// What blocks and write buffers hold of it together. The rest is for merging, which the library does not count, and for what
    /// the allocator loses: 70 MiB beside a cache of 384 MiB under a mixed load.
    #[must_use]
    pub const fn cache_bytes(&self) -> usize {
        self.memory_bytes() / 6 * 5
    }

    pub(super) const fn write_buffers_bytes(&self) -> usize {
        2 * self.write_buffer_bytes
    }

    /// For a machine of two cores with little memory; see the decisions of [`kv`](super).
    pub const STANDARD: Self = Self {
        block_cache_bytes: 64 << 20,
        write_buffer_bytes: 16 << 20,
        block_bytes: 16 << 10,
        compression: Compression::Lz4,
        group_records: GROUP_RECORDS_MAX,
        group_wait: Duration::from_millis(2),
    };
}

/// Bound of [`Tuning::group_records`]: beyond it a larger group saves nothing against the sync, and delays its first writer.
pub const GROUP_RECORDS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_levels_are_read_back() {
        for level in Durability::ALL {
            assert_eq!(Durability::parse(level.as_str()), Some(level));
        }
        assert_eq!(Durability::parse("fsync"), None);
    }
}
