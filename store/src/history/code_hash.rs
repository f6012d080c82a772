//! The code of an executable, without what only a debugger reads, and the compiler that made it.
//!
//! Two builds of different commits that leave a benchmark's code alone have the same hash, so that a pair of them need not
//! be measured. Of an ELF file the sections that are loaded into memory are hashed (flag `SHF_ALLOC`), apart from the
//! build id, with their names and addresses (System V ABI, chapter 4, "Sections"); any other file is hashed as it is.

use std::path::Path;

use super::error::HistoryError;

/// The section is in memory while the program runs.
const ALLOCATED: u64 = 0x2;
/// The section has no bytes in the file.
const NO_BITS: u32 = 8;
/// A hash of the whole build, debug sections included.
const BUILD_ID: &[u8] = b".note.gnu.build-id";
/// How rustc begins its text in the section `.comment`.
const COMPILER: &str = "rustc version ";

/// blake3 of the code and data of the executable `path`, in hexadecimal digits. Cost: the file is read once into memory.
///
/// # Errors
/// A file that cannot be read.
pub fn code_hash(path: &Path) -> Result<String, HistoryError> {
    let bytes = std::fs::read(path).map_err(|source| HistoryError::io("read", path, source))?;
    let hash = loaded_sections(&bytes).unwrap_or_else(|| blake3::hash(&bytes));
    Ok(hash.to_hex().to_string())
}

/// The compiler that made the executable `path`, as `rustc --version` tells it: what it left in the section `.comment`. None if it
/// left nothing, if several did, and for files other than ELF.
///
/// # Errors
/// A file that cannot be read.
pub fn rustc_version(path: &Path) -> Result<Option<String>, HistoryError> {
    let bytes = std::fs::read(path).map_err(|source| HistoryError::io("read", path, source))?;
    Ok(comment(&bytes).and_then(compiler))
}

/// The only compiler among the texts of a section `.comment`, each of which ends with a zero.
fn compiler(comment: &[u8]) -> Option<String> {
    let texts = comment.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
    let mut versions: Vec<&str> = texts.filter_map(|text| text.strip_prefix(COMPILER)).collect();
    versions.sort_unstable();
    versions.dedup();
    let [version] = versions[..] else { return None };
    Some(format!("rustc {version}"))
}

fn comment(bytes: &[u8]) -> Option<&[u8]> {
    let (_, section) = sections(bytes)?.into_iter().find(|(name, _)| *name == b".comment")?;
    section.content(bytes)
}

/// The hash over the loaded sections; none for a file without sections.
fn loaded_sections(bytes: &[u8]) -> Option<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut section_count = 0;
    for (name, section) in sections(bytes)? {
        if section.flags & ALLOCATED == 0 || name == BUILD_ID {
            continue;
        }
        let content = if section.kind == NO_BITS { &[][..] } else { section.content(bytes)? };
        for length in [name.len() as u64, section.address, section.byte_count, content.len() as u64] {
            hasher.update(&length.to_le_bytes());
        }
        hasher.update(name);
        hasher.update(content);
        section_count += 1;
    }
    (section_count > 0).then(|| hasher.finalize())
}

/// The sections of a little-endian ELF file of 64 bits with their names; none for anything else.
fn sections(bytes: &[u8]) -> Option<Vec<(&[u8], Section)>> {
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table_at = usize::try_from(number(bytes, 0x28, 8)?).ok()?;
    let entry_bytes = usize::try_from(number(bytes, 0x3a, 2)?).ok()?;
    let count = usize::try_from(number(bytes, 0x3c, 2)?).ok()?;
    let names_idx = usize::try_from(number(bytes, 0x3e, 2)?).ok()?;
    let section = |idx: usize| Section::read(bytes, table_at.checked_add(idx.checked_mul(entry_bytes)?)?);
    let names = section(names_idx)?.content(bytes)?;
    let named = |idx: usize| {
        let section = section(idx)?;
        let name = names.get(section.name_at..)?.split(|byte| *byte == 0).next()?;
        Some((name, section))
    };
    (0..count).map(named).collect()
}

/// One entry of the section table.
struct Section {
    name_at: usize,
    kind: u32,
    flags: u64,
    address: u64,
    offset: u64,
    byte_count: u64,
}

impl Section {
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let field = |offset: usize, width: usize| number(bytes, at.checked_add(offset)?, width);
        Some(Self {
            name_at: usize::try_from(field(0x00, 4)?).ok()?,
            kind: u32::try_from(field(0x04, 4)?).ok()?,
            flags: field(0x08, 8)?,
            address: field(0x10, 8)?,
            offset: field(0x18, 8)?,
            byte_count: field(0x20, 8)?,
        })
    }

    fn content<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset).ok()?;
        let end = start.checked_add(usize::try_from(self.byte_count).ok()?)?;
        bytes.get(start..end)
    }
}

/// A little-endian number of `width` bytes, at most eight.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let found = bytes.get(at..at.checked_add(width)?)?;
    Some(found.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_sections_do_not_count_and_code_does() {
        let program = std::env::current_exe().unwrap();
        let mut bytes = std::fs::read(&program).unwrap();
        let Some(hash) = loaded_sections(&bytes) else { return }; // not ELF: nothing to compare
        assert_eq!(code_hash(&program).unwrap(), hash.to_hex().to_string());
        let sections = |bytes: &[u8]| {
            let table_at = number(bytes, 0x28, 8).unwrap() as usize;
            let count = number(bytes, 0x3c, 2).unwrap() as usize;
            (0..count).map(|idx| Section::read(bytes, table_at + idx * 64).unwrap()).collect::<Vec<_>>()
        };
        let all = sections(&bytes);
        let is_code = |section: &&Section| section.flags & 0x4 != 0 && section.byte_count > 0;
        let code = all.iter().find(is_code).unwrap();
        // Section headers and names apart, whatever is not allocated may change.
        let names_idx = number(&bytes, 0x3e, 2).unwrap() as usize;
        let other = all.iter().enumerate().find(|(idx, section)| {
            section.flags & ALLOCATED == 0
                && section.byte_count > 0
                && *idx != names_idx
                && section.kind != NO_BITS
        });
        if let Some((_, section)) = other {
            bytes[section.offset as usize] ^= 1;
            assert_eq!(loaded_sections(&bytes), Some(hash));
        }
        bytes[code.offset as usize] ^= 1;
        assert_ne!(loaded_sections(&bytes), Some(hash));
    }

    #[test]
    fn the_compiler_is_read_from_what_it_left() {
        let own = rustc_version(&std::env::current_exe().unwrap()).unwrap();
        assert!(cfg!(not(target_os = "linux")) || own.is_some_and(|own| own.starts_with("rustc 1.")));
        let one = "rustc 1.95.0 (59807616e 2026-04-14)".to_owned();
        let text = b"\0rustc version 1.95.0 (59807616e 2026-04-14)\0GCC: (Debian) 12.2.0\0";
        assert_eq!(compiler(text), Some(one));
        assert_eq!(compiler(b"rustc version 1.95.0\0rustc version 1.94.0\0"), None);
        assert_eq!(compiler(b"GCC: (Debian) 12.2.0\0"), None);
    }

    #[test]
    fn other_and_cut_files_are_hashed_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        for bytes in [&b"#!/bin/sh\n"[..], b"\x7fELF\x02\x01", b""] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(code_hash(&path).unwrap(), blake3::hash(bytes).to_hex().to_string());
            assert_eq!(rustc_version(&path).unwrap(), None);
        }
        assert_eq!(code_hash(&dir.path().join("none")).unwrap_err().code(), "E2501");
    }
}
