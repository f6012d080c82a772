//! The user's files to Arrow record batches.
