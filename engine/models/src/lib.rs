//! What can be computed about a text or a tensor without a machine around it?
//!
//! Pure functions only: no files, no clock, no environment, no threads, no randomness without a seed. The engine
//! hands text and numbers in and takes text ranges and numbers out, so every module also runs under wasm32.
//!
//! | module | question |
//! |---|---|
//! | [`tokenize`] | how many tokens is this text, and where do they begin and end? |
//! | [`spans`] | which bytes of the source stand where in an output? |
//! | [`words`] | which words count when two texts are compared? |
//! | [`markdown`] | which blocks does a Markdown text have? |
//! | [`chunk`] | where is a long text cut for an index? |
//! | [`safetensors`] | which numbers does a file of tensors hold, and is it whole? |
//! | [`wordpiece`] | which pieces of a BERT vocabulary is a text made of? |
//! | [`bpe`] | which tokens of a byte-level vocabulary is a text made of, and which text do tokens make? |
//! | [`bert`] | which vector stands for a text, by a trained encoder? |
//! | [`static_table`] | which vector stands for a text, by one stored row for each of its pieces? |
//! | [`embed`] | which vector stands for this text without a trained model? |
//! | [`distill`] | which rows does a static table need to stand for an encoder? |
//! | [`dedup`] | which blocks or rows say the same as an earlier one? |
//! | [`nearest`] | which stored vectors are nearest to a query? |
//! | [`fusion`] | which ranking comes from the candidates of several indexes? |
//! | [`metrics`] | how good is an answer or a ranking? |
//! | [`compress`] | which parts of a text are worth their tokens, given a query? |
#![forbid(unsafe_code)]

pub mod bert;
pub mod bpe;
mod characters;
pub mod chunk;
pub mod compress;
pub mod dedup;
pub mod distill;
pub mod embed;
pub mod fusion;
pub mod markdown;
pub mod metrics;
pub mod nearest;
pub mod safetensors;
pub mod spans;
pub mod static_table;
pub mod tokenize;
pub mod wordpiece;
pub mod words;
