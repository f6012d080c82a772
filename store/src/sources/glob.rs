//! A pattern to the files that it matches.
//!
//! `*` and `?` match within one name, `[a-z]` one character, `**` any number of folders. The walk starts below the part
//! of the pattern that has no wildcard, looks only into folders that the pattern can reach, does not follow symbolic
//! links to folders nor enter `.promptc`, and asks for the size of matching files only. Folders are read in parallel.

use super::files::{FileEntry, kind_of, unreadable};
use super::{SourceError, SourceSpec};
use crate::medium::disk;
use globset::{GlobBuilder, GlobMatcher};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Threads that read folders; their time is the system's, so a few more than two cores help a cold cache.
const THREADS: usize = 4;
/// The store's usual folder: what is in it is ours and never a source that a pattern meant.
const STORE_FOLDER: &str = ".promptc";
/// Folders below each other; a deeper tree is a loop or a mistake.
const DEPTH_MAX: usize = 128;

/// The files of a source in byte order of their paths.
///
/// `home` replaces a leading `~`. A `lance` source is the folder of a dataset: all its files. Errors: E2101 for a
/// malformed pattern, no match, a folder that cannot be read, a match that is not a file or whose name is not UTF-8.
/// Cost: one directory read per reachable folder, one `stat` per matching file.
pub fn resolve(spec: &SourceSpec, home: Option<&Path>) -> Result<Vec<FileEntry>, SourceError> {
    let pattern = Pattern::parse(&spec.path, &spec.base, home)?;
    let mut files =
        if spec.kind == "lance" { dataset_files(&pattern, spec)? } else { pattern.files(spec)? };
    files.sort_by(|left, right| path_bytes(left).cmp(path_bytes(right)));
    if files.is_empty() {
        return Err(SourceError::NoMatch { pattern: spec.path.clone(), base: pattern.root });
    }
    Ok(files)
}

/// The folder or file that a path without wildcard names, relative to `base`, with `~` replaced.
pub(super) fn plain_path(path: &str, base: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            home.join(rest.trim_start_matches('/'))
        }
        _ => base.join(path),
    }
}

fn path_bytes(file: &FileEntry) -> &[u8] {
    file.path.as_os_str().as_encoded_bytes()
}

/// A pattern split at its first wildcard.
struct Pattern {
    /// Folder to start from; the file itself if there is no wildcard.
    root: PathBuf,
    /// One matcher for each folder between the root and the file, up to a `**`; they keep the walk small.
    levels: Vec<GlobMatcher>,
    /// Whether folders below the levels are walked without limit.
    is_deep: bool,
    /// Folders between the root and the file, if the pattern is not deep.
    depth: usize,
    /// The part from the first wildcard on.
    whole: Option<GlobMatcher>,
    /// The file's own name, which most files fail; `None` if any name will do.
    last: Option<GlobMatcher>,
}

impl Pattern {
    fn parse(text: &str, base: &Path, home: Option<&Path>) -> Result<Self, SourceError> {
        let fail = |detail: &str| SourceError::Pattern { pattern: text.into(), detail: detail.into() };
        if text.is_empty() {
            return Err(fail("it is empty"));
        }
        if text.starts_with('~') && (text == "~" || text.starts_with("~/")) && home.is_none() {
            return Err(fail("`~` is used, and no home folder is known"));
        }
        if text.contains('\0') {
            return Err(fail("it holds a NUL character"));
        }
        let pieces: Vec<&str> = text.split('/').collect();
        let first = pieces.iter().position(|piece| piece.contains(['*', '?', '[']));
        let Some(first) = first else {
            let root = plain_path(text, base, home);
            return Ok(Self { root, levels: Vec::new(), is_deep: false, depth: 0, whole: None, last: None });
        };
        let prefix = pieces[..first].join("/");
        // "/*.md" has the empty prefix of the file system's root.
        let prefix = if text.starts_with('/') && prefix.is_empty() { "/".to_owned() } else { prefix };
        let rest: Vec<&str> =
            pieces[first..].iter().copied().filter(|piece| !matches!(*piece, "" | ".")).collect();
        if rest.contains(&"..") {
            return Err(fail("`..` stands after a wildcard"));
        }
        if rest.iter().any(|piece| piece.contains("**") && *piece != "**") {
            return Err(fail("`**` stands for whole folders and needs a slash on both sides"));
        }
        let deep_at = rest.iter().position(|piece| *piece == "**");
        let folders = deep_at.unwrap_or(rest.len() - 1).min(rest.len() - 1);
        let levels = rest[..folders].iter().map(|piece| matcher(piece, text)).collect::<Result<_, _>>()?;
        // A pattern that ends in `**` means the files below.
        let ends_deep = rest.last() == Some(&"**");
        let whole = if ends_deep { format!("{}/*", rest.join("/")) } else { rest.join("/") };
        Ok(Self {
            root: plain_path(&prefix, base, home),
            levels,
            is_deep: deep_at.is_some(),
            depth: folders,
            whole: Some(matcher(&whole, text)?),
            last: rest.last().filter(|_| !ends_deep).map(|piece| matcher(piece, text)).transpose()?,
        })
    }

    fn files(&self, spec: &SourceSpec) -> Result<Vec<FileEntry>, SourceError> {
        let Some(whole) = &self.whole else {
            return match fs::metadata(&self.root) {
                Ok(metadata) if metadata.is_file() => {
                    let name = self.root.file_name().and_then(|name| name.to_str());
                    let name =
                        name.ok_or_else(|| SourceError::NameNotText { path: self.root.clone() })?.to_owned();
                    Ok(vec![FileEntry::from_metadata(self.root.clone(), name, &metadata)?])
                }
                Ok(metadata) => {
                    Err(SourceError::NotAFile { path: self.root.clone(), found: kind_of(&metadata) })
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Err(SourceError::NoMatch { pattern: spec.path.clone(), base: spec.base.clone() })
                }
                Err(source) => Err(unreadable(&self.root, source)),
            };
        };
        if !self.root.is_dir() {
            return Err(SourceError::NoMatch { pattern: spec.path.clone(), base: self.root.clone() });
        }
        let accepts = |prefix: &str, name: &str| {
            self.last.as_ref().is_none_or(|last| last.is_match(name))
                && whole.is_match(format!("{prefix}{name}"))
        };
        Walk::run(&self.root, &|depth, name| self.enters(depth, name), &accepts)
    }

    /// Whether the folder `name`, `depth` folders below the root, can hold a match.
    fn enters(&self, depth: usize, name: &str) -> bool {
        match self.levels.get(depth) {
            Some(level) => level.is_match(name),
            None => self.is_deep && depth < DEPTH_MAX || depth < self.depth,
        }
    }
}

fn dataset_files(pattern: &Pattern, spec: &SourceSpec) -> Result<Vec<FileEntry>, SourceError> {
    if pattern.whole.is_some() {
        let detail = "a lance source names one dataset and takes no wildcard".into();
        return Err(SourceError::Pattern { pattern: spec.path.clone(), detail });
    }
    if !pattern.root.is_dir() {
        return Err(SourceError::NoMatch { pattern: spec.path.clone(), base: spec.base.clone() });
    }
    Walk::run(&pattern.root, &|depth, _| depth < DEPTH_MAX, &|_, _| true)
}

fn matcher(piece: &str, pattern: &str) -> Result<GlobMatcher, SourceError> {
    // Braces are ordinary characters in our patterns.
    let mut plain = String::with_capacity(piece.len());
    for character in piece.chars() {
        match character {
            '{' => plain.push_str("[{]"),
            '}' => plain.push_str("[}]"),
            other => plain.push(other),
        }
    }
    let glob = GlobBuilder::new(&plain).literal_separator(true).backslash_escape(false).build();
    let detail = |error: globset::Error| SourceError::Pattern {
        pattern: pattern.into(),
        detail: error.kind().to_string(),
    };
    Ok(glob.map_err(detail)?.compile_matcher())
}

/// A folder that waits to be read.
struct Folder {
    path: PathBuf,
    /// Path below the root with a trailing slash; empty for the root.
    prefix: String,
    depth: usize,
}

struct Queue {
    waiting: Vec<Folder>,
    /// Folders taken and not yet finished; the walk ends when none wait and none are open.
    open: usize,
}

/// A parallel walk. The threads share a stack of folders.
struct Walk<'a> {
    queue: Mutex<Queue>,
    changed: Condvar,
    enters: &'a (dyn Fn(usize, &str) -> bool + Sync),
    /// Whether a file, by the path of its folder below the root and its name, is wanted.
    accepts: &'a (dyn Fn(&str, &str) -> bool + Sync),
}

impl<'a> Walk<'a> {
    fn run(
        root: &Path,
        enters: &'a (dyn Fn(usize, &str) -> bool + Sync),
        accepts: &'a (dyn Fn(&str, &str) -> bool + Sync),
    ) -> Result<Vec<FileEntry>, SourceError> {
        let start = Folder { path: root.to_path_buf(), prefix: String::new(), depth: 0 };
        let queue = Mutex::new(Queue { waiting: vec![start], open: 0 });
        let walk = Self { queue, changed: Condvar::new(), enters, accepts };
        let results = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| walk.work())).collect();
            let joined = workers.into_iter().map(|worker| worker.join());
            joined
                .map(|files| files.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Vec<_>>()
        });
        let mut files = Vec::new();
        let mut errors = Vec::new();
        for (found, failed) in results {
            files.extend(found);
            errors.extend(failed);
        }
        // Of several failures always the same is named.
        errors.sort_by_key(ToString::to_string);
        errors.into_iter().next().map_or(Ok(files), Err)
    }

    fn work(&self) -> (Vec<FileEntry>, Vec<SourceError>) {
        let (mut files, mut errors) = (Vec::new(), Vec::new());
        while let Some(folder) = self.take() {
            let below = self.read(&folder, &mut files).unwrap_or_else(|error| {
                errors.push(error);
                Vec::new()
            });
            let mut queue = self.lock();
            queue.waiting.extend(below);
            queue.open -= 1;
            drop(queue);
            self.changed.notify_all();
        }
        (files, errors)
    }

    fn take(&self) -> Option<Folder> {
        let mut queue = self.lock();
        loop {
            if let Some(folder) = queue.waiting.pop() {
                queue.open += 1;
                return Some(folder);
            }
            if queue.open == 0 {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one folder: matching files to `files`, folders that can hold more are returned.
    fn read(&self, folder: &Folder, files: &mut Vec<FileEntry>) -> Result<Vec<Folder>, SourceError> {
        let mut below = Vec::new();
        let fail = |source| unreadable(&folder.path, source);
        for entry in disk::read_dir(&folder.path).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            let shown = name.to_string_lossy();
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_dir() {
                if shown != STORE_FOLDER && (self.enters)(folder.depth, &shown) {
                    let prefix = format!("{}{shown}/", folder.prefix);
                    below.push(Folder { path: entry.path(), prefix, depth: folder.depth + 1 });
                }
                continue;
            }
            if !(self.accepts)(&folder.prefix, &shown) {
                continue;
            }
            let relative = format!("{}{shown}", folder.prefix);
            let path = entry.path();
            let metadata = fs::metadata(&path).map_err(|source| unreadable(&path, source))?;
            // A link to a folder is not followed; pipes, sockets and devices would block or never end.
            if !metadata.is_file() {
                continue;
            }
            if name.to_str().is_none() {
                return Err(SourceError::NameNotText { path });
            }
            files.push(FileEntry::from_metadata(path, relative, &metadata)?);
        }
        Ok(below)
    }
}
