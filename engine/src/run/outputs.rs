//! Where a program may write: inside its folder, each path once, and never over what it reads.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use promptc_compiler::graph::Graph;
use promptc_compiler::op::Op;
use promptc_store::sources::FileEntry;

use crate::error::EngineError;
use crate::program::Program;

/// Refuses outputs that would replace a source, the program or the data directory, and outputs that share a path. Nothing has been
/// written when this fails.
///
/// # Errors
/// E2501 with both paths.
pub(super) fn check<'a>(
    graph: &Graph,
    program: &Program,
    folder: &Path,
    data_dir: &Path,
    sources: impl Iterator<Item = &'a FileEntry>,
) -> Result<(), EngineError> {
    let data_dir = absolute(data_dir);
    let mut folders = Folders::default();
    let mut taken: BTreeMap<PathBuf, String> = sources
        .map(|file| (folders.absolute(&file.path), "a source of this program".to_owned()))
        .chain([(absolute(&program.path), "the program itself".to_owned())])
        .collect();
    for (_, id) in &graph.outputs {
        let Op::Write(write) = &graph.node(*id).op else { continue };
        let path = absolute(&folder.join(&write.path));
        if path.starts_with(&data_dir) {
            return Err(refused(&write.path, "lies in the data directory"));
        }
        let clash = taken.iter().find(|(other, _)| other.starts_with(&path) || path.starts_with(other));
        if let Some((_, what)) = clash {
            return Err(refused(&write.path, &format!("is {what}")));
        }
        taken.insert(path, format!("also written by `write ... to {}(\"{}\")`", write.kind, write.path));
    }
    Ok(())
}

fn refused(path: &str, why: &str) -> EngineError {
    EngineError::Store {
        code: "E2501",
        message: format!("output `{path}` {why}"),
        help: Some("give each output a path of its own, for example below `out/`".to_owned()),
    }
}

/// Folders whose links were resolved already: sources lie by the thousand in few folders.
#[derive(Default)]
struct Folders {
    resolved: BTreeMap<PathBuf, PathBuf>,
}

impl Folders {
    /// As [`absolute`], asking the system only for links and for folders not seen before.
    fn absolute(&mut self, path: &Path) -> PathBuf {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return absolute(path) };
        if path.is_symlink() {
            return absolute(path);
        }
        if let Some(folder) = self.resolved.get(folder) {
            return folder.join(name);
        }
        let resolved = absolute(folder);
        self.resolved.insert(folder.to_owned(), resolved.clone());
        resolved.join(name)
    }
}

/// The path from the root, with links of its folders resolved as far as they exist.
fn absolute(path: &Path) -> PathBuf {
    let mut lexical = std::env::current_dir().unwrap_or_default();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(lexical.pop()),
            Component::CurDir => {}
            other => lexical.push(other),
        }
    }
    if let Ok(real) = std::fs::canonicalize(&lexical) {
        return real;
    }
    match (lexical.parent(), lexical.file_name()) {
        (Some(parent), Some(name)) => absolute(parent).join(name),
        _ => lexical,
    }
}
