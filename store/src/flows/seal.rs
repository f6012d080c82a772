//! Checksums of a Parquet file of ours, written while it is written and verified whenever it is read.
//!
//! ```text
//!  offset 0                           sealed_from                                     end
//!  | data in blocks of 16 KiB         | page index | footer: ... block table, mark ... |
//!    one 8-byte hash each -----------------------------^              |
//!                                     ^---- one 32-byte hash, its own 64 digits read as zeros
//! ```
//!
//! The block table and the mark are ordinary key-value entries of the Parquet footer. The mark is looked for in the raw
//! bytes, so that nothing of the footer is parsed before its hash was compared.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::FlowError;
use crate::medium::disk::File;

/// Bytes hashed together: reading one page verifies at most two blocks more than the page.
const BLOCK_BYTES: usize = 16 * 1024;
/// Start of the mark in the footer.
const MARK: &str = "promptc-seal-blake3:";
/// Length of the hash in the mark, in hexadecimal digits.
const HASH_DIGITS: usize = 64;
/// Length of the offset in the mark, in hexadecimal digits.
const OFFSET_DIGITS: usize = 16;
/// Key of the footer entry that holds the mark.
pub(crate) const SEAL_KEY: &str = "promptc.seal";
/// Key of the footer entry that holds the block table.
pub(crate) const BLOCKS_KEY: &str = "promptc.blocks";
/// Key of the footer entry that holds the file's name without its ending: a whole file under another one's name is damage.
pub(crate) const NAME_KEY: &str = "promptc.name";
/// A Parquet file ends with the footer's length (4 bytes) and `PAR1`.
const FOOTER_END_BYTES: usize = 8;

/// A file, or bytes in memory, that hashes what is written to it.
#[derive(Debug)]
pub(crate) struct SealWriter<W> {
    file: W,
    hasher: blake3::Hasher,
    in_block: usize,
    written: u64,
    blocks: Vec<u8>,
    /// The bytes after the data, kept so that they can be sealed; `None` while data is written.
    tail: Option<Vec<u8>>,
}

impl<W: Write + Seek> SealWriter<W> {
    pub(crate) fn new(file: W) -> Self {
        let hasher = blake3::Hasher::new();
        Self { file, hasher, in_block: 0, written: 0, blocks: Vec::new(), tail: None }
    }

    /// Ends the data. Returns the footer entries (mark, block table) that must be written after it.
    pub(crate) fn end_data(&mut self) -> (String, String) {
        if self.in_block > 0 {
            self.close_block();
        }
        self.tail = Some(Vec::new());
        let zeros = "0".repeat(HASH_DIGITS);
        (format!("{MARK}{zeros}:{:016x}", self.written), to_hex(&self.blocks))
    }

    /// Puts the hash of the bytes after the data into its place. Returns the size in bytes. Syncs nothing.
    pub(crate) fn seal(&mut self) -> std::io::Result<u64> {
        let tail = self.tail.take().unwrap_or_default();
        let hash_at = find_mark(&tail).ok_or_else(|| std::io::Error::other("the footer holds no seal"))?;
        let tail_at = self.written - tail.len() as u64;
        self.file.seek(SeekFrom::Start(tail_at + hash_at as u64))?;
        self.file.write_all(blake3::hash(&tail).to_hex().as_bytes())?;
        Ok(self.written)
    }

    /// What was written to.
    pub(crate) fn file_mut(&mut self) -> &mut W {
        &mut self.file
    }
}

impl<W> SealWriter<W> {
    fn close_block(&mut self) {
        self.blocks.extend_from_slice(&self.hasher.finalize().as_bytes()[..8]);
        self.hasher.reset();
        self.in_block = 0;
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = match &mut self.tail {
            Some(tail) => {
                let count = self.file.write(bytes)?;
                tail.extend_from_slice(&bytes[..count]);
                count
            }
            None => {
                let room = BLOCK_BYTES - self.in_block;
                let count = self.file.write(&bytes[..bytes.len().min(room)])?;
                self.hasher.update(&bytes[..count]);
                self.in_block += count;
                if self.in_block == BLOCK_BYTES {
                    self.close_block();
                }
                count
            }
        };
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// A sealed file: every byte handed out was compared with its hash.
#[derive(Debug, Clone)]
pub(crate) struct SealedFile(Arc<Sealed>);

#[derive(Debug)]
struct Sealed {
    path: PathBuf,
    file: File,
    byte_count: u64,
    sealed_from: u64,
    tail: Bytes,
    blocks: std::sync::OnceLock<Vec<u8>>,
    broken_at: std::sync::OnceLock<u64>,
    /// The system's answer when a read failed; libraries in between keep only its words.
    unreadable: std::sync::OnceLock<(std::io::ErrorKind, String)>,
}

impl SealedFile {
    /// Opens `path` and verifies everything after the data.
    ///
    /// # Errors
    /// [`FlowError::Damaged`] if the file is shorter than it was, has no seal, or the hash differs.
    pub(crate) fn open(path: &Path) -> Result<Self, FlowError> {
        let damaged = |detail: &str| FlowError::Damaged { file: path.to_owned(), detail: detail.to_owned() };
        let io = |source| FlowError::io(path, source);
        let file = File::open(path).map_err(io)?;
        let byte_count = file.metadata().map_err(io)?.len();
        if byte_count < FOOTER_END_BYTES as u64 {
            return Err(damaged("the file is too short to have a footer"));
        }
        let mut end = [0u8; FOOTER_END_BYTES];
        file.read_exact_at(&mut end, byte_count - FOOTER_END_BYTES as u64).map_err(io)?;
        let footer_bytes =
            u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]])) + FOOTER_END_BYTES as u64;
        if &end[4..] != b"PAR1" || footer_bytes > byte_count {
            return Err(damaged("the end of the file is not that of a flow"));
        }
        let mut footer = vec![0u8; footer_bytes as usize];
        file.read_exact_at(&mut footer, byte_count - footer_bytes).map_err(io)?;
        let sealed_from = find_mark(&footer)
            .and_then(|hash_at| read_offset(&footer[hash_at + HASH_DIGITS..]))
            .filter(|&offset| offset <= byte_count - footer_bytes)
            .ok_or_else(|| damaged("the footer holds no seal"))?;
        let mut tail = vec![0u8; (byte_count - sealed_from) as usize];
        file.read_exact_at(&mut tail, sealed_from).map_err(io)?;
        let hash_at = find_mark(&tail).ok_or_else(|| damaged("the footer holds no seal"))?;
        let stated: Vec<u8> = tail[hash_at..hash_at + HASH_DIGITS].to_vec();
        let mut zeroed = tail.clone();
        zeroed[hash_at..hash_at + HASH_DIGITS].fill(b'0');
        if blake3::hash(&zeroed).to_hex().as_bytes() != stated.as_slice() {
            return Err(damaged("the footer differs from what was written"));
        }
        let sealed = Sealed {
            path: path.to_owned(),
            file,
            byte_count,
            sealed_from,
            tail: Bytes::from(tail),
            blocks: std::sync::OnceLock::new(),
            broken_at: std::sync::OnceLock::new(),
            unreadable: std::sync::OnceLock::new(),
        };
        Ok(Self(Arc::new(sealed)))
    }

    /// Takes the block table from the verified footer; data can be read afterwards.
    pub(crate) fn install_blocks(&self, table: Option<&str>) -> Result<(), FlowError> {
        let expected = self.0.sealed_from.div_ceil(BLOCK_BYTES as u64) * 8;
        let blocks = table.and_then(from_hex).filter(|blocks| blocks.len() as u64 == expected);
        let Some(blocks) = blocks else {
            return Err(self.damaged("the footer holds no block table"));
        };
        self.0.blocks.get_or_init(|| blocks);
        Ok(())
    }

    /// The error for this file if a block was found broken while it was read, or the system refused to read it.
    pub(crate) fn broken(&self) -> Option<FlowError> {
        if let Some(offset) = self.0.broken_at.get() {
            return Some(self.damaged(&format!("the block at byte {offset} differs from what was written")));
        }
        let (kind, said) = self.0.unreadable.get()?;
        Some(FlowError::io(&self.0.path, std::io::Error::new(*kind, said.clone())))
    }

    /// Reads and verifies all data.
    pub(crate) fn verify(&self) -> Result<(), ParquetError> {
        let sealed_from = self.0.sealed_from;
        for start in (0..sealed_from).step_by(64 * BLOCK_BYTES) {
            self.verified_blocks(start, sealed_from.min(start + 64 * BLOCK_BYTES as u64))?;
        }
        Ok(())
    }

    /// Compares the name that a verified footer states with the name that the file has. Files written before names were stated
    /// have none.
    pub(crate) fn check_name(&self, stated: Option<&str>) -> Result<(), FlowError> {
        match stated {
            Some(stated) if self.0.path.file_stem().is_none_or(|stem| stem != stated) => {
                Err(self.damaged(&format!("it was written as `{stated}` and stands under another name")))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    fn damaged(&self, detail: &str) -> FlowError {
        FlowError::Damaged { file: self.0.path.clone(), detail: detail.to_owned() }
    }

    /// Verified bytes `[start, start + byte_count)`.
    fn verified(&self, start: u64, byte_count: usize) -> Result<Bytes, ParquetError> {
        let sealed = &*self.0;
        let end = start + byte_count as u64;
        if end > sealed.byte_count {
            return Err(ParquetError::EOF(format!("bytes {start}..{end} of {}", sealed.byte_count)));
        }
        if start >= sealed.sealed_from {
            let from = (start - sealed.sealed_from) as usize;
            return Ok(sealed.tail.slice(from..from + byte_count));
        }
        let data_end = end.min(sealed.sealed_from);
        let mut bytes = self.verified_blocks(start, data_end)?;
        if end > data_end {
            let mut joined = bytes.to_vec();
            joined.extend_from_slice(&sealed.tail[..(end - data_end) as usize]);
            bytes = Bytes::from(joined);
        }
        Ok(bytes)
    }

    /// Reads the blocks that cover `[start, end)` of the data, compares each with its hash, and cuts out the range.
    fn verified_blocks(&self, start: u64, end: u64) -> Result<Bytes, ParquetError> {
        let sealed = &*self.0;
        let blocks = sealed.blocks.get().map_or(&[][..], Vec::as_slice);
        let first_block = start / BLOCK_BYTES as u64;
        let from = first_block * BLOCK_BYTES as u64;
        let to = end.next_multiple_of(BLOCK_BYTES as u64).min(sealed.sealed_from);
        let mut bytes = vec![0u8; (to - from) as usize];
        sealed.file.read_exact_at(&mut bytes, from).map_err(|error| {
            sealed.unreadable.get_or_init(|| (error.kind(), error.to_string()));
            ParquetError::External(Box::new(error))
        })?;
        for (block, block_idx) in bytes.chunks(BLOCK_BYTES).zip(first_block as usize..) {
            let stated = blocks.get(block_idx * 8..block_idx * 8 + 8);
            if stated != Some(&blake3::hash(block).as_bytes()[..8]) {
                let offset = block_idx as u64 * BLOCK_BYTES as u64;
                sealed.broken_at.get_or_init(|| offset);
                return Err(ParquetError::General(format!("checksum mismatch at byte {offset}")));
            }
        }
        Ok(Bytes::from(bytes).slice((start - from) as usize..(end - from) as usize))
    }
}

impl Length for SealedFile {
    fn len(&self) -> u64 {
        self.0.byte_count
    }
}

impl ChunkReader for SealedFile {
    type T = SealedReader;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(SealedReader { file: self.clone(), at: start, rest: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.verified(start, length)
    }
}

/// Reads a sealed file onward from one place, a block at a time.
#[derive(Debug)]
pub(crate) struct SealedReader {
    file: SealedFile,
    at: u64,
    rest: Bytes,
}

impl Read for SealedReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() {
            let block_end = (self.at / BLOCK_BYTES as u64 + 1) * BLOCK_BYTES as u64;
            let end = block_end.min(self.file.len());
            let byte_count = end.saturating_sub(self.at) as usize;
            self.rest = self.file.verified(self.at, byte_count).map_err(std::io::Error::other)?;
            self.at += byte_count as u64;
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

/// Position of the first hash digit of the last mark.
fn find_mark(bytes: &[u8]) -> Option<usize> {
    let mark = MARK.as_bytes();
    let needed = mark.len() + HASH_DIGITS + 1 + OFFSET_DIGITS;
    let last = bytes.len().checked_sub(needed)?;
    (0..=last).rev().find(|&at| &bytes[at..at + mark.len()] == mark).map(|at| at + mark.len())
}

/// Reads `:` and sixteen hexadecimal digits.
fn read_offset(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.strip_prefix(b":")?.get(..OFFSET_DIGITS)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)] as char, DIGITS[usize::from(byte & 15)] as char])
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|value| value as u8);
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_there_and_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&bytes)).unwrap(), bytes);
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("zz"), None);
    }

    #[test]
    fn the_last_mark_counts() {
        let zeros = "0".repeat(HASH_DIGITS);
        let text = format!("{MARK}{zeros}:{:016x} between {MARK}{zeros}:{:016x} end", 1, 2);
        let hash_at = find_mark(text.as_bytes()).unwrap();
        assert_eq!(read_offset(&text.as_bytes()[hash_at + HASH_DIGITS..]), Some(2));
        assert_eq!(find_mark(MARK.as_bytes()), None);
    }
}
