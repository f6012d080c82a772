//! RocksDB: the row cache and the ledger of builds.
