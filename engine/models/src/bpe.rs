//! Byte-level tokenizers: which tokens of a vocabulary is a text made of, and which text do tokens make?
//!
//! ```text
//!  bytes ─ added tokens ─ pieces of an expression ─ known words, else merges by rank ─▶ ids ─ their bytes in order ─▶ bytes
//! ```
//! Every byte string has ids, and its ids have its bytes. Byte pair encoding after Sennrich, Haddow and Birch (2016), over bytes
//! and with the expression of Radford et al. (2019); with the ids of Hugging Face's `BPE` with `ByteLevel`. What stands in a
//! `tokenizer.json` and would not be computed exactly is refused by its name.
//!
//! # Decisions
//! - What a text costs is looking up its words, so a word of up to 15 bytes is a number of 128 bits. Words that are one token
//!   stand in a table that is made with the vocabulary; others in a cache that the caller keeps, so that a tokenizer itself
//!   never changes and is shared by threads without a lock.
//! - Classes of characters are those that `tokenizers` has, asked of it one by one (`tests/oracle/bpe_characters.py`): its
//!   tables are older than the newest Unicode, and models were trained with it.

mod added;
mod alphabet;
mod error;
mod file;
mod merge;
mod split;
mod train;
mod words;
mod write;

use std::collections::HashMap;
use std::fmt;

use added::{AddedToken, Pass};
pub use error::BpeError;
pub use file::{MERGES_MAX, TOKENIZER_BYTES_MAX, TOKENS_MAX};
use merge::{Merge, MergeScratch, Ranks};
pub use split::Split;
pub use train::BpeTraining;
use words::{KEY_BYTES_MAX, Key, Seeds, WordCache, Words};

/// A tokenizer that is ready.
pub struct Bpe {
    split: Split,
    ranks: Ranks,
    words: Words,
    /// Words of the vocabulary, where those are taken without merging.
    whole: Option<HashMap<Box<[u8]>, u32>>,
    seeds: Seeds,
    passes: [Pass; 2],
    parts: Parts,
    /// The bytes of all tokens, one after the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    identity: [u8; 32],
}

/// What a tokenizer is made of, checked: ids are places in `tokens`, all bytes are tokens, no pair is merged twice.
struct Parts {
    split: Split,
    /// Bytes of each token of the vocabulary.
    tokens: Vec<Vec<u8>>,
    /// By rank.
    merges: Vec<Merge>,
    ignores_merges: bool,
    /// Those that are not in the vocabulary have the ids behind it, in order.
    added: Vec<AddedToken>,
    /// Ids of the special tokens before and behind a text.
    before: Vec<u32>,
    behind: Vec<u32>,
}

/// What a tokenizer needs between texts: words that were merged, at most 65,536 of them, and space. It may serve several
/// tokenizers, and then forgets the words of the one before.
#[derive(Debug, Default)]
pub struct BpeScratch {
    owner: Option<[u8; 32]>,
    cache: WordCache,
    merge: MergeScratch,
}

/// Where ids go.
trait Sink {
    fn put(&mut self, id: u32);
    fn put_all(&mut self, ids: &[u32]);
}

impl Sink for Vec<u32> {
    #[inline]
    fn put(&mut self, id: u32) {
        self.push(id);
    }

    #[inline]
    fn put_all(&mut self, ids: &[u32]) {
        self.extend_from_slice(ids);
    }
}

impl Sink for usize {
    #[inline]
    fn put(&mut self, _: u32) {
        *self += 1;
    }

    #[inline]
    fn put_all(&mut self, ids: &[u32]) {
        *self += ids.len();
    }
}

impl fmt::Debug for Bpe {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { split, tokens, merges, .. } = &self.parts;
        let mut out = out.debug_struct("Bpe");
        out.field("split", split).field("tokens", &tokens.len()).field("merges", &merges.len());
        out.finish_non_exhaustive()
    }
}

impl Bpe {
    /// Reads a `tokenizer.json`. Its settings of truncation and padding are checked and not used, and its template is
    /// [`Self::ends`]. Cost: about 70 ms for 50,000 tokens.
    ///
    /// # Errors
    /// If a part of it is none of a byte-level BPE tokenizer or would change the ids in a way that is not known here, or if
    /// the vocabulary and the merges do not fit each other.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BpeError> {
        Ok(Self::new(file::parts(bytes)?))
    }

    /// Learns merges from texts: over the counts of all pieces, the most frequent pair first, of equal ones the smaller in
    /// bytes, until the vocabulary is full or no pair stands twice. The tokens are the 256 bytes in order, the merges in
    /// order, and the special tokens. The same texts give the same bytes, in whatever order they come. Cost: memory for each
    /// different piece; about 0.4 s for 10 MB of English and 8,192 tokens.
    ///
    /// # Errors
    /// If the vocabulary has no room for the bytes and the special tokens, or one of these is empty or stands twice.
    pub fn train<T: AsRef<[u8]>>(
        texts: impl IntoIterator<Item = T>,
        training: &BpeTraining,
    ) -> Result<Self, BpeError> {
        Ok(Self::new(train::parts(texts, training)?))
    }

    /// The tokenizer as a `tokenizer.json`, which other programs read with the same ids.
    pub fn to_json(&self) -> String {
        write::to_json(self)
    }

    fn new(parts: Parts) -> Self {
        let identity = identity(&parts);
        let seeds = Seeds::new(&identity);
        let mut byte_ids = [0; 256];
        for (token, id) in parts.tokens.iter().zip(0..) {
            if let [byte] = token[..] {
                byte_ids[usize::from(byte)] = id;
            }
        }
        let ranks = Ranks::new(byte_ids, &parts.merges, seeds);
        let words = words(&parts, &ranks, seeds);
        let whole = parts.ignores_merges.then(|| {
            let tokens = parts.tokens.iter().map(|token| token.as_slice().into());
            tokens.zip(0..).collect()
        });
        let pass = |normalized: bool| {
            Pass::new(parts.added.iter().filter(|token| token.normalized == normalized).cloned())
        };
        let passes = [pass(false), pass(true)];
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for token in parts.texts() {
            bytes.extend(token);
            ends.push(bytes.len());
        }
        let split = parts.split;
        Self { split, ranks, words, whole, seeds, passes, parts, bytes, ends, identity }
    }

    /// Hash of everything that ids depend on. The form of a file is not part of it.
    pub fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// Number of tokens, the added ones among them: ids are less.
    pub fn token_count(&self) -> usize {
        self.ends.len()
    }

    /// How texts are cut.
    pub fn split(&self) -> Split {
        self.split
    }

    /// The bytes of a token; of an added one the text that it is found by.
    pub fn bytes_of(&self, id: u32) -> Option<&[u8]> {
        let idx = id as usize;
        let end = *self.ends.get(idx)?;
        Some(&self.bytes[idx.checked_sub(1).map_or(0, |before| self.ends[before])..end])
    }

    /// Id of an added token, such as `<|endoftext|>`.
    pub fn added_id(&self, content: &str) -> Option<u32> {
        self.parts.added.iter().find(|token| token.content == content).map(|token| token.id)
    }

    /// Ids that the model expects before and behind a text.
    pub fn ends(&self) -> (&[u32], &[u32]) {
        (&self.parts.before, &self.parts.behind)
    }

    /// Appends the ids of a text to `ids`, without those of [`Self::ends`]. An added token that stands in the text as such
    /// has its id. Bytes that are no UTF-8 have ids too. Cost: about 7 ns a byte of English with the words of the text in
    /// the scratch, 9 with an empty one; a piece of n bytes that no blank ends takes n log n.
    pub fn encode(&self, text: impl AsRef<[u8]>, scratch: &mut BpeScratch, ids: &mut Vec<u32>) {
        self.read(text.as_ref(), scratch, ids);
    }

    /// The same without added tokens: what looks like one is text. For texts that users give.
    pub fn encode_plain(&self, text: impl AsRef<[u8]>, scratch: &mut BpeScratch, ids: &mut Vec<u32>) {
        scratch.serve(&self.identity);
        self.read_pieces(text.as_ref(), scratch, ids);
    }

    /// Number of ids that [`Self::encode`] gives.
    pub fn count(&self, text: impl AsRef<[u8]>, scratch: &mut BpeScratch) -> usize {
        let mut count = 0;
        self.read(text.as_ref(), scratch, &mut count);
        count
    }

    /// The bytes of tokens, one after the other: those of a text, if the ids are a text's and no added token has taken blanks
    /// along. They may end within a character.
    ///
    /// # Errors
    /// If an id has no token.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<u8>, BpeError> {
        let mut bytes = Vec::new();
        for id in ids {
            let unknown = || BpeError::UnknownId { id: *id, token_count: self.token_count() };
            bytes.extend(self.bytes_of(*id).ok_or_else(unknown)?);
        }
        Ok(bytes)
    }

    fn read(&self, text: &[u8], scratch: &mut BpeScratch, sink: &mut impl Sink) {
        scratch.serve(&self.identity);
        let [first, second] = &self.passes;
        each_part(first, text, sink, &mut |text, sink| {
            each_part(second, text, sink, &mut |text, sink| self.read_pieces(text, scratch, sink));
        });
    }

    fn read_pieces(&self, text: &[u8], scratch: &mut BpeScratch, sink: &mut impl Sink) {
        let mut start = 0;
        while start < text.len() {
            let end = self.split.end(text, start);
            self.read_piece(text, start, end, scratch, sink);
            start = end;
        }
    }

    #[inline]
    fn read_piece(
        &self,
        text: &[u8],
        start: usize,
        end: usize,
        scratch: &mut BpeScratch,
        sink: &mut impl Sink,
    ) {
        if end - start > KEY_BYTES_MAX {
            return sink.put_all(self.merged(&text[start..end], &mut scratch.merge));
        }
        let key = Key::new(text, start, end);
        let hash = key.hash(self.seeds);
        if let Some(id) = self.words.find(key, hash) {
            return sink.put(id);
        }
        if let Some(ids) = scratch.cache.find(key, hash) {
            return sink.put_all(ids);
        }
        let ids = self.merged(&text[start..end], &mut scratch.merge);
        sink.put_all(ids);
        scratch.cache.insert(key, ids, self.seeds);
    }

    /// The ids of a piece, without tables of words.
    fn merged<'a>(&'a self, piece: &[u8], scratch: &'a mut MergeScratch) -> &'a [u32] {
        match self.whole.as_ref().and_then(|whole| whole.get(piece)) {
            Some(id) => std::slice::from_ref(id),
            None => self.ranks.merge(piece, scratch),
        }
    }
}

impl Parts {
    /// The bytes of each id; those of an added token are its text.
    fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let behind = self.added.iter().filter(|token| token.id as usize >= self.tokens.len());
        self.tokens.iter().map(Vec::as_slice).chain(behind.map(|token| token.content.as_bytes()))
    }
}

impl BpeScratch {
    /// Forgets the words of another tokenizer.
    fn serve(&mut self, identity: &[u8; 32]) {
        if self.owner.as_ref() != Some(identity) {
            self.owner = Some(*identity);
            self.cache.clear();
        }
    }
}

/// The ids of the tokens that one pass finds, and what stands between them.
fn each_part<S: Sink>(pass: &Pass, text: &[u8], sink: &mut S, between: &mut impl FnMut(&[u8], &mut S)) {
    let mut start = 0;
    while let Some(found) = pass.find(text, start) {
        between(&text[start..found.start], sink);
        sink.put(found.id);
        start = found.end;
    }
    between(&text[start..], sink);
}

/// The words of the vocabulary that are one token.
fn words(parts: &Parts, ranks: &Ranks, seeds: Seeds) -> Words {
    let (mut words, mut scratch) = (Words::new(parts.tokens.len()), MergeScratch::default());
    for (token, id) in parts.tokens.iter().zip(0..) {
        if (1..=KEY_BYTES_MAX).contains(&token.len())
            && (parts.ignores_merges || ranks.merge(token, &mut scratch) == [id])
        {
            let key = Key::new(token, 0, token.len());
            words.insert(key, key.hash(seeds), id);
        }
    }
    words
}

/// Hash of everything that ids depend on.
fn identity(parts: &Parts) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("promptc byte-level tokenizer 1");
    let Parts { split, tokens, merges, ignores_merges, added, before, behind } = parts;
    let mut numbers: Vec<u64> = vec![u64::from(*ignores_merges)];
    numbers
        .extend([tokens.len(), merges.len(), added.len(), before.len(), behind.len()].map(|len| len as u64));
    numbers.extend(before.iter().chain(behind).map(|id| u64::from(*id)));
    for AddedToken { content, id, lstrip, normalized, special } in added {
        let flags = [*lstrip, *normalized, *special].map(u64::from);
        numbers.extend([content.len() as u64, u64::from(*id)].into_iter().chain(flags));
    }
    numbers.extend(tokens.iter().map(|token| token.len() as u64));
    let ids = merges.iter().flat_map(|Merge { left, right, merged }| [*left, *right, *merged]);
    numbers.extend(ids.map(u64::from));
    let contents = added.iter().map(|token| token.content.as_bytes());
    let texts = contents.chain(tokens.iter().map(Vec::as_slice)).collect::<Vec<&[u8]>>().concat();
    let bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
    hasher.update(&bytes).update(&texts).update(split.pattern().as_bytes());
    *hasher.finalize().as_bytes()
}
