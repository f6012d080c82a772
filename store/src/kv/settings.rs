//! What RocksDB is told about memory, files and compaction.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel, Options,
    WriteBufferManager,
};

use super::tuning::{Compression, Tuning};
use super::{RECORDS, ROWS};

/// Files that RocksDB keeps open; far below the usual limit of 1,024 that Lance and Tantivy share.
const OPEN_FILES_MAX: i32 = 256;

/// What the database and its families are opened with. Blocks and write buffers of one opening share its memory.
pub(super) struct Settings {
    pub(super) options: Options,
    cache: Cache,
    tuning: Tuning,
}

impl Settings {
    pub(super) fn new(tuning: &Tuning) -> Self {
        // Its readers take no lock, where those of RocksDB's LRU cache do at each look, three times a read. Entries are blocks of
        // any size: the table grows with their number.
        let cache = Cache::new_hyper_clock_cache(tuning.cache_bytes(), 0);
        // What write buffers hold is charged to the cache: blocks make room for them. No writer waits for that.
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            tuning.write_buffers_bytes(),
            false,
            cache.clone(),
        );
        Self { options: database_options(tuning, &buffers), cache, tuning: *tuning }
    }

    pub(super) fn family(&self, name: &str) -> ColumnFamilyDescriptor {
        ColumnFamilyDescriptor::new(name, self.family_options(name))
    }

    pub(super) fn family_options(&self, name: &str) -> Options {
        let tuning = &self.tuning;
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_block_size(tuning.block_bytes);
        table.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        let compression = if name == RECORDS { tuning.compression } else { Compression::Lz4 };
        options.set_compression_type(match compression {
            Compression::None => DBCompressionType::None,
            Compression::Lz4 => DBCompressionType::Lz4,
            Compression::Zstd => DBCompressionType::Zstd,
        });
        if compression == Compression::Zstd {
            // The library's own window, level 3, its own strategy, no dictionary.
            options.set_compression_options(-14, 3, 0, 0);
        }
        options.set_write_buffer_size(tuning.write_buffer_bytes);
        options.set_max_write_buffer_number(2);
        options.set_level_compaction_dynamic_level_bytes(true);
        if name == ROWS {
            // Evictions delete long stretches of entries; compact a file once a quarter of a window of it is deletions.
            options.add_compact_on_deletion_collector_factory(16_384, 4_096, 0.25);
        }
        options
    }
}

fn database_options(tuning: &Tuning, buffers: &WriteBufferManager) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_write_buffer_manager(buffers);
    options.set_max_total_wal_size(tuning.write_buffers_bytes() as u64 * 2);
    options.set_atomic_flush(true);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options
}
