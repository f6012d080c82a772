//! A disk of its own: small, or one whose power can go.
//!
//! ```text
//! image file --mount -o loop--> ext4     what waits in the page cache above it is not in the image file:
//!     '-- copied while it is mounted --> what a cut of the power would leave; mounting it replays the journal
//! tmpfs of some MiB                      full when that is written
//! ```
//!
//! Mounting needs the right to do so, and the system's `mount`; [`Refused`] says why there is none. Does not know what is stored.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why there is no such disk here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A mounted file system. Unmounted when it is dropped; its image file stays.
#[derive(Debug)]
pub struct Disk {
    image: Option<PathBuf>,
    mount: PathBuf,
}

impl Disk {
    /// A new ext4 file system in the file `image`, mounted at `mount`.
    ///
    /// # Errors
    /// There is no `mkfs.ext4`, or this user may not mount.
    pub fn ext4(image: &Path, mount: &Path, bytes: u64) -> Result<Self, Refused> {
        let file = std::fs::File::create(image).and_then(|file| file.set_len(bytes));
        file.map_err(|error| Refused(format!("{}: {error}", image.display())))?;
        succeed(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
        Self::open(image.to_path_buf(), mount)
    }

    fn open(image: PathBuf, mount: &Path) -> Result<Self, Refused> {
        make(mount)?;
        succeed(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(mount))?;
        Ok(Self { image: Some(image), mount: mount.to_path_buf() })
    }

    /// A new file system in memory with room for so many bytes, mounted at `mount`.
    ///
    /// # Errors
    /// This user may not mount.
    pub fn in_memory(mount: &Path, bytes: u64) -> Result<Self, Refused> {
        make(mount)?;
        let size = format!("size={bytes}");
        succeed(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(mount))?;
        Ok(Self { image: None, mount: mount.to_path_buf() })
    }

    /// Where its files are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// What would be left if the power went now: a copy of the image in the file `image`, mounted at `mount`. Processes that
    /// write meanwhile make it a disk of no one moment: stop them first.
    ///
    /// # Errors
    /// It is in memory, or the copy cannot be made or mounted.
    pub fn cut(&self, image: &Path, mount: &Path) -> Result<Self, Refused> {
        let own = self.image.as_ref().ok_or_else(|| Refused("a disk in memory loses everything".into()))?;
        succeed(Command::new("cp").arg("--sparse=always").args([own.as_path(), image]))?;
        Self::open(image.to_path_buf(), mount)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A mount that stays is the system's to report; the folder then stays too.
        let _ = Command::new("umount").arg(&self.mount).stderr(Stdio::null()).status();
    }
}

fn make(folder: &Path) -> Result<(), Refused> {
    std::fs::create_dir_all(folder).map_err(|error| Refused(format!("{}: {error}", folder.display())))
}

fn succeed(command: &mut Command) -> Result<(), Refused> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error: io::Error| Refused(format!("`{name}`: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it failed without a word");
    Err(Refused(format!("`{name}`: {}", line.trim())))
}
