//! The one door to the file system: files and names that the store itself reads and changes.
//!
//! Each function is that of [`std::fs`] of the same name, counted, so that a test can let the n-th call fail
//! ([`crate::failpoint`]). What only looks (metadata, links, paths) does not pass here, nor do the libraries below the store.

use crate::failpoint::call;
use std::fs::{self, Metadata, OpenOptions, ReadDir, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// An open file; no name, because who holds it knows it.
#[derive(Debug)]
pub(crate) struct File(fs::File);

impl File {
    /// For reading.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        call("open", path)?;
        fs::File::open(path).map(Self)
    }

    /// For writing, where nothing is of that name, not even a link.
    pub(crate) fn create_new(path: &Path) -> io::Result<Self> {
        call("create", path)?;
        fs::File::create_new(path).map(Self)
    }

    /// For reading and writing as it is, or empty and new.
    pub(crate) fn open_or_create(path: &Path) -> io::Result<Self> {
        call("open", path)?;
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map(Self)
    }

    /// Brings bytes and metadata to the device.
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        call("sync", Path::new(""))?;
        self.0.sync_all()
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    pub(crate) fn set_len(&self, byte_count: u64) -> io::Result<()> {
        call("cut", Path::new(""))?;
        self.0.set_len(byte_count)
    }

    pub(crate) fn try_lock(&self) -> Result<(), TryLockError> {
        self.0.try_lock()
    }

    pub(crate) fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.0.try_lock_shared()
    }

    /// Fills `buffer` from `offset` on.
    #[cfg(unix)]
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        call("read", Path::new(""))?;
        std::os::unix::fs::FileExt::read_exact_at(&self.0, buffer, offset)
    }

    /// Fills `buffer` from `offset` on.
    #[cfg(windows)]
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        call("read", Path::new(""))?;
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            match std::os::windows::fs::FileExt::seek_read(&self.0, &mut buffer[done..], at)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => done += count,
            }
        }
        Ok(())
    }

    /// For a library that asks for a file of the system.
    pub(crate) fn into_std(self) -> fs::File {
        self.0
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        call("read", Path::new(""))?;
        self.0.read(buffer)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        call("write", Path::new(""))?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    call("rename", from)?;
    fs::rename(from, to)
}

pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    call("remove", path)?;
    fs::remove_file(path)
}

pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    call("remove", path)?;
    fs::remove_dir(path)
}

pub(crate) fn remove_dir_all(path: &Path) -> io::Result<()> {
    call("remove", path)?;
    fs::remove_dir_all(path)
}

pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    call("make folder", path)?;
    fs::create_dir(path)
}

/// Makes the folders of a path that are missing; their names are on the disk when it returns, as what is synced in them must not go
/// with them.
pub(crate) fn create_dir_all(path: &Path) -> io::Result<()> {
    call("make folder", path)?;
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(path)?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

pub(crate) fn read_dir(path: &Path) -> io::Result<ReadDir> {
    call("read folder", path)?;
    fs::read_dir(path)
}

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    call("read", path)?;
    fs::read(path)
}

pub(crate) fn read_to_string(path: &Path) -> io::Result<String> {
    call("read", path)?;
    fs::read_to_string(path)
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    call("write", path)?;
    fs::write(path, bytes)
}

pub(crate) fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    call("link", to)?;
    fs::hard_link(from, to)
}

pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    call("copy", to)?;
    fs::copy(from, to)
}
