//! Output paths that stay inside their folder.
//!
//! A program names its outputs relative to its own folder, or to the folder that the user gave for outputs. A path that
//! is absolute, climbs with `..`, holds control characters, or passes through a symbolic link that leads outside is
//! refused with E2501 before anything is written.
//!
//! Not covered: another process that swaps a folder for a link between the check and the rename. The hidden file is
//! created with `O_EXCL` and a rename replaces a link instead of following it, so the last component is safe; the folders
//! above it are as trustworthy as whoever may write to them.

use crate::medium::disk;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Longest name of one file or folder, in bytes: the limit of the usual file systems, less room for the hidden form.
const NAME_BYTES_MAX: usize = 240;

/// Longest path below its folder, in bytes.
const PATH_BYTES_MAX: usize = 2_048;

/// Why an output path is refused. All are E2501.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// Nothing is named.
    #[error("the output path is empty")]
    Empty,
    /// A path from the root, or with a drive or share.
    #[error("output path `{path}` is absolute")]
    Absolute {
        /// The path as written.
        path: String,
    },
    /// A step to the parent folder.
    #[error("output path `{path}` leaves its folder through `..`")]
    Parent {
        /// The path as written.
        path: String,
    },
    /// A symbolic link on the way leads out of the folder.
    #[error("output path `{path}` leaves its folder: `{link}` is a symbolic link to `{target}`")]
    Link {
        /// The path as written.
        path: String,
        /// The component that is a link.
        link: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A control character, a backslash before a drive, or the like.
    #[error("output path {path:?} holds the control character {character:?}")]
    Character {
        /// The path as written.
        path: String,
        /// The character.
        character: char,
    },
    /// A component or the whole path is too long.
    #[error("output path `{path}` has {bytes} bytes in one piece, at most {limit} are written")]
    Long {
        /// The first part of the path.
        path: String,
        /// Length found.
        bytes: usize,
        /// Length allowed.
        limit: usize,
    },
    /// A folder stands where a file is to be written, or the other way round, or a device, pipe or socket.
    #[error("output path `{path}`: `{found}` is {kind}")]
    Occupied {
        /// The path as written.
        path: String,
        /// What is in the way.
        found: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The system refused to look or to make a folder.
    #[error("output path `{path}`: {action} `{at}`: {source}")]
    Io {
        /// The path as written.
        path: String,
        /// What was tried.
        action: &'static str,
        /// On what.
        at: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl PathError {
    /// The code of the diagnostic.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => "E1004",
            _ => "E2501",
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Empty => "name a file, as in \"out/prompts.jsonl\"".into(),
            Self::Absolute { .. } | Self::Parent { .. } => {
                "write below the program's folder, or give another folder with --out DIR".into()
            }
            Self::Link { target, .. } => {
                format!("remove the link, or give its target with --out {}", target.display())
            }
            Self::Character { .. } | Self::Long { .. } => "choose a plain and shorter name".into(),
            Self::Occupied { found, .. } => format!("move {} away or choose another name", found.display()),
            Self::Io { at, .. } => {
                format!("check that {} may be written, or give another folder with --out DIR", at.display())
            }
        }
    }
}

/// Checks the text of an output path alone, without looking at the disk, and returns its plain components joined.
/// `./a//b` becomes `a/b`. Errors: everything of [`PathError`] that needs no disk.
pub fn relative_output(path: &str) -> Result<PathBuf, PathError> {
    let shown = || path.chars().take(200).collect::<String>();
    if let Some(character) = path.chars().find(|character| character.is_control()) {
        return Err(PathError::Character { path: shown(), character });
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(PathError::Long { path: shown(), bytes: path.len(), limit: PATH_BYTES_MAX });
    }
    if path.starts_with(['/', '\\']) || has_drive(path) {
        return Err(PathError::Absolute { path: shown() });
    }
    // A backslash is an ordinary character of a name here, but a step elsewhere; a program must mean the same everywhere.
    if path.split(['/', '\\']).any(|piece| piece == "..") {
        return Err(PathError::Parent { path: shown() });
    }
    let mut plain = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) if name.len() > NAME_BYTES_MAX => {
                return Err(PathError::Long { path: shown(), bytes: name.len(), limit: NAME_BYTES_MAX });
            }
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err(PathError::Parent { path: shown() }),
            Component::RootDir | Component::Prefix(_) => return Err(PathError::Absolute { path: shown() }),
        }
    }
    if plain.as_os_str().is_empty() {
        return Err(PathError::Empty);
    }
    Ok(plain)
}

fn has_drive(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.len() >= 3 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && matches!(bytes[2], b'/' | b'\\')
}

/// Checks `path` below `base` against the disk, makes missing folders above it, and returns where to write.
///
/// `base` itself may be a link: the user chose it. Links below it are followed only if they stay inside. The last
/// component must be absent or a regular file. Cost: one `lstat` per component.
pub fn output_file(base: &Path, path: &str) -> Result<PathBuf, PathError> {
    let plain = relative_output(path)?;
    let root = output_root(base, path)?;
    let mut at = root.clone();
    let mut components = plain.components().peekable();
    while let Some(component) = components.next() {
        at.push(component);
        let is_last = components.peek().is_none();
        match found(&at, path)? {
            None if is_last => return Ok(at),
            None => make_folder(&at, path)?,
            Some(Found::Link) => {
                at = inside(&root, &at, path)?;
                expect_kind(&at, is_last, path)?;
            }
            Some(kind) => refuse_other(kind, &at, is_last, path)?,
        }
    }
    Ok(at)
}

/// As [`output_file`], but makes nothing below `base`: for a check before any effect.
pub fn check_output_file(base: &Path, path: &str) -> Result<(), PathError> {
    let plain = relative_output(path)?;
    let root = output_root(base, path)?;
    let mut at = root.clone();
    let mut components = plain.components().peekable();
    while let Some(component) = components.next() {
        at.push(component);
        let is_last = components.peek().is_none();
        match found(&at, path)? {
            None => return Ok(()),
            Some(Found::Link) => {
                at = inside(&root, &at, path)?;
                expect_kind(&at, is_last, path)?;
            }
            Some(kind) => refuse_other(kind, &at, is_last, path)?,
        }
    }
    Ok(())
}

/// As [`output_file`] for a folder: makes `path` and everything above it, and returns it.
pub fn output_folder(base: &Path, path: &str) -> Result<PathBuf, PathError> {
    let plain = relative_output(path)?;
    let root = output_root(base, path)?;
    let mut at = root.clone();
    for component in plain.components() {
        at.push(component);
        match found(&at, path)? {
            None => make_folder(&at, path)?,
            Some(Found::Link) => {
                at = inside(&root, &at, path)?;
                expect_kind(&at, false, path)?;
            }
            Some(kind) => refuse_other(kind, &at, false, path)?,
        }
    }
    Ok(at)
}

#[derive(Clone, Copy, PartialEq)]
enum Found {
    File,
    Folder,
    Link,
    Other,
}

/// The folder that outputs stand in, made if it is missing, without links in its own path.
fn output_root(base: &Path, path: &str) -> Result<PathBuf, PathError> {
    let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let failed = |action, source| PathError::Io { path: path.into(), action, at: base.to_path_buf(), source };
    disk::create_dir_all(base).map_err(|source| failed("make folder", source))?;
    base.canonicalize().map_err(|source| failed("find", source))
}

fn found(at: &Path, path: &str) -> Result<Option<Found>, PathError> {
    match fs::symlink_metadata(at) {
        Ok(metadata) if metadata.is_symlink() => Ok(Some(Found::Link)),
        Ok(metadata) if metadata.is_dir() => Ok(Some(Found::Folder)),
        Ok(metadata) if metadata.is_file() => Ok(Some(Found::File)),
        Ok(_) => Ok(Some(Found::Other)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => {
            Err(PathError::Io { path: path.into(), action: "look at", at: at.to_path_buf(), source })
        }
    }
}

fn make_folder(at: &Path, path: &str) -> Result<(), PathError> {
    match disk::create_dir(at) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(PathError::Io { path: path.into(), action: "make folder", at: at.to_path_buf(), source })
        }
        _ => Ok(()),
    }
}

/// Where the link `at` leads, if that is inside `root`.
fn inside(root: &Path, at: &Path, path: &str) -> Result<PathBuf, PathError> {
    let leaves = |target: PathBuf| PathError::Link { path: path.into(), link: at.to_path_buf(), target };
    match at.canonicalize() {
        Ok(target) if target.starts_with(root) => Ok(target),
        Ok(target) => Err(leaves(target)),
        // A link to nothing could be made to lead anywhere.
        Err(_) => Err(leaves(fs::read_link(at).unwrap_or_default())),
    }
}

fn expect_kind(at: &Path, is_file: bool, path: &str) -> Result<(), PathError> {
    match found(at, path)? {
        Some(kind) => refuse_other(kind, at, is_file, path),
        None => Ok(()),
    }
}

fn refuse_other(kind: Found, at: &Path, is_file: bool, path: &str) -> Result<(), PathError> {
    let kind = match (kind, is_file) {
        (Found::File, true) | (Found::Folder, false) => return Ok(()),
        (Found::Folder, true) => "a folder",
        (Found::File, false) => "a file, not a folder",
        (Found::Link | Found::Other, _) => "neither a file nor a folder",
    };
    Err(PathError::Occupied { path: path.into(), found: at.to_path_buf(), kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_are_refused() {
        let cases = [
            "",
            ".",
            "./",
            "/etc/passwd",
            "//host/share",
            "\\\\host\\share",
            "C:/x",
            "c:\\x",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            "a\\..\\b",
            "x\0y",
            "a\nb",
            "a/\u{7f}",
            "\u{1b}[0m",
        ];
        for case in cases {
            assert!(relative_output(case).is_err(), "{case:?} was accepted");
        }
        assert!(relative_output(&"x".repeat(241)).is_err());
        assert!(relative_output(&"x/".repeat(2_000)).is_err());
    }

    #[test]
    fn plain_texts_are_kept() {
        let cases = [
            ("a", "a"),
            ("./a//b", "a/b"),
            ("...", "..."),
            ("a..b/c", "a..b/c"),
            ("日本/語.md", "日本/語.md"),
            ("~/x", "~/x"),
        ];
        for (case, expected) in cases {
            assert_eq!(relative_output(case).unwrap(), Path::new(expected));
        }
    }

    #[test]
    fn links_that_leave_are_refused_and_links_that_stay_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (base, outside) = (dir.path().join("base"), dir.path().join("outside"));
        fs::create_dir_all(base.join("real")).unwrap();
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, base.join("out")).unwrap();
        std::os::unix::fs::symlink("real", base.join("alias")).unwrap();
        std::os::unix::fs::symlink(outside.join("nothing"), base.join("dangling")).unwrap();
        for path in ["out/x", "out", "dangling", "dangling/x"] {
            let error = output_file(&base, path).unwrap_err();
            assert!(matches!(error, PathError::Link { .. }), "{path}: {error}");
        }
        assert!(output_file(&base, "alias/x").unwrap().ends_with("real/x"));
        assert!(output_folder(&base, "alias").unwrap().ends_with("real"));
        assert!(fs::read_dir(&outside).unwrap().next().is_none());
    }

    #[test]
    fn folders_are_made_and_what_is_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = output_file(dir.path(), "a/b/c.txt").unwrap();
        assert!(file.parent().unwrap().is_dir());
        fs::write(&file, "x").unwrap();
        assert!(matches!(output_file(dir.path(), "a/b").unwrap_err(), PathError::Occupied { .. }));
        assert!(matches!(output_file(dir.path(), "a/b/c.txt/d").unwrap_err(), PathError::Occupied { .. }));
        assert!(matches!(output_folder(dir.path(), "a/b/c.txt").unwrap_err(), PathError::Occupied { .. }));
    }
}
