//! Operators, one file each: the contract, the arguments and the result. Algorithms stand in `promptc_models`.

pub mod arms;
pub mod assemble;
pub mod chunk;
pub mod codes;
pub mod compress;
pub mod dedup;
pub mod embed;
pub mod fit_fusion;
pub mod fit_scorer;
pub mod fuse;
pub mod index;
pub mod retrieve;
pub mod scan;
pub mod write;
