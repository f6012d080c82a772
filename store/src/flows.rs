//! Named streams as Parquet files.
