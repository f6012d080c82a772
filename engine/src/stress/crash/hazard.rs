//! What happens to the writing process and to its disk.
//!
//! | hazard | the disk | what is done | then compared |
//! |---|---|---|---|
//! | kill | the user's | SIGKILL | the store as it is |
//! | power cut | ext4 in an image | SIGSTOP, the image is copied, sectors that were on the way are torn, SIGKILL | the copy, and the store as it is |
//! | full disk | 64 MiB in memory | filled, freed after writes failed, SIGKILL when they go on | the store as it is |

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::EngineError;
use crate::measure::Random;
use crate::stress::disk::{Disk, Refused};
use crate::stress::fault;

/// Bytes of the disk whose power goes.
const IMAGE_BYTES: u64 = 256 << 20;
/// Bytes of the disk that is filled.
const SMALL_BYTES: u64 = 64 << 20;
/// A sector: what a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Longest wait for a process that was told to stop.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for writes to fail on the full disk: a store of which everything fits into what it has reserved fails later.
const FAILS_WITHIN: Duration = Duration::from_secs(10);
/// How long the disk stays full after the first write failed.
const FULL_FOR: Duration = Duration::from_millis(200);
/// Longest wait for writes to go on; the promise is ten seconds, and a wait that ends tells which.
const RESUMES_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What is done to the writing process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hazard {
    /// It is killed.
    Kill,
    /// The power of its disk goes.
    PowerCut,
    /// Its disk has no room for a while; then it is killed.
    FullDisk,
}

impl Hazard {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kill, Self::PowerCut, Self::FullDisk];

    /// Its name in the history and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill_9",
            Self::PowerCut => "power_cut",
            Self::FullDisk => "disk_full",
        }
    }

    /// The hazard that a text names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hazard| hazard.as_str() == text)
    }
}

/// The disk of a run, made for its hazard below its folder.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    disk: Option<Disk>,
    hazard: Hazard,
}

/// A process that writes, as its parent sees it.
#[derive(Debug)]
pub(super) struct Victim<'a> {
    pub(super) process: u32,
    /// Acknowledgements so far.
    pub(super) said: &'a AtomicU64,
    /// Writes that failed for want of room so far.
    pub(super) failed: &'a AtomicU64,
}

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// What the cut left. Dropped before the next cycle.
    pub(super) cut: Option<Disk>,
    /// Sectors that were torn.
    pub(super) torn_sectors: u64,
    /// From the moment at which there was room to the next acknowledgement.
    pub(super) resumed: Option<Duration>,
    /// There was room, and writes did not go on.
    pub(super) is_stuck: bool,
}

impl Place {
    pub(super) fn make(folder: &Path, hazard: Hazard) -> Result<Self, Refused> {
        let mount = folder.join("disk");
        let disk = match hazard {
            Hazard::Kill => None,
            Hazard::PowerCut => Some(Disk::ext4(&folder.join("disk.img"), &mount, IMAGE_BYTES)?),
            Hazard::FullDisk => Some(Disk::in_memory(&mount, SMALL_BYTES)?),
        };
        Ok(Self { folder: folder.to_path_buf(), disk, hazard })
    }

    /// Where the stores are.
    pub(super) fn path(&self) -> &Path {
        self.disk.as_ref().map_or(&self.folder, Disk::path)
    }

    /// Log records of a store from which on a new one is begun: every cycle compares all of them, and the disk must hold them.
    pub(super) fn log_records_max(&self) -> u64 {
        match self.hazard {
            Hazard::Kill => 200_000,
            Hazard::PowerCut => 20_000,
            Hazard::FullDisk => 0,
        }
    }

    /// Where a store that is not as it must be is kept: a disk of its own ends with the run.
    pub(super) fn keep(&self, store: &Path) -> Result<PathBuf, EngineError> {
        if self.disk.is_none() {
            return Ok(store.to_path_buf());
        }
        let kept = self.folder.join(store.file_name().unwrap_or_default());
        let copied = Command::new("cp").arg("-r").args([store, &kept]).stdin(Stdio::null()).status();
        match copied {
            Ok(status) if status.success() => Ok(kept),
            _ => Err(fault(format!("{} cannot be copied", store.display()), "make room and run it again")),
        }
    }

    /// Removes what is left, the disk first.
    pub(super) fn remove(self) -> Result<(), EngineError> {
        let Self { folder, disk, .. } = self;
        drop(disk);
        Self::clear(&folder)
    }

    /// Removes what making a disk leaves in its folder, mounted or refused.
    pub(super) fn clear(folder: &Path) -> Result<(), EngineError> {
        for name in ["disk", "cut"] {
            // A folder that holds something is a mount that stays, which `umount` has reported.
            let _ = fs::remove_dir(folder.join(name));
        }
        for name in ["disk.img", "cut.img"] {
            match fs::remove_file(folder.join(name)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(EngineError::Program { path: folder.join(name), source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Does it to a process that has written for a while. Whoever calls kills the process afterwards.
    pub(super) fn strike(&self, victim: &Victim<'_>, random: &mut Random) -> Result<Done, EngineError> {
        match (self.hazard, &self.disk) {
            (Hazard::PowerCut, Some(disk)) => self.cut(disk, victim, random),
            (Hazard::FullDisk, Some(disk)) => fill(disk, victim),
            _ => Ok(Done::default()),
        }
    }

    fn cut(&self, disk: &Disk, victim: &Victim<'_>, random: &mut Random) -> Result<Done, EngineError> {
        stop(victim.process)?;
        let cut = disk.cut(&self.folder.join("cut.img"), &self.folder.join("cut")).map_err(refused)?;
        let torn = tear(disk.path(), cut.path(), random);
        let torn_sectors =
            torn.map_err(|source| EngineError::Program { path: cut.path().to_path_buf(), source })?;
        Ok(Done { cut: Some(cut), torn_sectors, ..Done::default() })
    }
}

pub(super) fn refused(refused: Refused) -> EngineError {
    fault(refused.0, "a power cut needs the right to mount file systems, and `mkfs.ext4`")
}

fn stop(process: u32) -> Result<(), EngineError> {
    let told = Command::new("kill").args(["-STOP", &process.to_string()]).stdin(Stdio::null()).status();
    if !told.is_ok_and(|status| status.success()) {
        return Err(fault("the writing process cannot be stopped", "`kill` is needed, of package procps"));
    }
    let until = Instant::now() + STOPPED_WITHIN;
    // The state stands behind the name, which is in brackets and may hold anything.
    let is_stopped = || {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    };
    while !is_stopped() && Instant::now() < until {
        std::thread::sleep(LOOK_EVERY);
    }
    // Threads of the process are stopped one after the other.
    std::thread::sleep(LOOK_EVERY);
    Ok(())
}

/// Of what had not reached the disk, half of the sectors of each file reach it all the same, in no order: those in which the file
/// as the process sees it differs from what the cut left. A file under a name that another file had at the cut stays as it is.
fn tear(live: &Path, cut: &Path, random: &mut Random) -> io::Result<u64> {
    let mut torn = 0;
    for entry in fs::read_dir(cut)? {
        let entry = entry?;
        let twin = live.join(entry.file_name());
        let (Ok(left), Ok(seen)) = (entry.metadata(), fs::symlink_metadata(&twin)) else { continue };
        if left.is_dir() {
            torn += if entry.file_name() == "lost+found" { 0 } else { tear(&twin, &entry.path(), random)? };
        } else if left.is_file() && left.ino() == seen.ino() {
            torn += tear_file(&twin, &entry.path(), random)?;
        }
    }
    Ok(torn)
}

fn tear_file(live: &Path, cut: &Path, random: &mut Random) -> io::Result<u64> {
    let (seen, mut left) = (fs::read(live)?, fs::read(cut)?);
    if seen == left {
        return Ok(0);
    }
    let mut torn = 0;
    for (number, sector) in seen.chunks(SECTOR_BYTES).enumerate() {
        let start = number * SECTOR_BYTES;
        let end = start + sector.len();
        let is_there = left.get(start..end) == Some(sector);
        if !is_there && random.coin() {
            left.resize(left.len().max(end), 0);
            left[start..end].copy_from_slice(sector);
            torn += 1;
        }
    }
    fs::write(cut, left)?;
    Ok(torn)
}

fn fill(disk: &Disk, victim: &Victim<'_>) -> Result<Done, EngineError> {
    let ballast = disk.path().join("ballast");
    let io = |source| EngineError::Program { path: ballast.clone(), source };
    let mut file = fs::File::create(&ballast).map_err(io)?;
    // Until nothing fits any more; the process writes meanwhile.
    for bytes in [1 << 20, 4 << 10] {
        while file.write_all(&vec![1; bytes]).is_ok() {}
    }
    drop(file);
    let until = Instant::now() + FAILS_WITHIN;
    while victim.failed.load(Ordering::Relaxed) == 0 && Instant::now() < until {
        std::thread::sleep(LOOK_EVERY);
    }
    std::thread::sleep(FULL_FOR);
    fs::remove_file(&ballast).map_err(io)?;
    let (freed, said) = (Instant::now(), victim.said.load(Ordering::Relaxed));
    while victim.said.load(Ordering::Relaxed) == said {
        if freed.elapsed() > RESUMES_WITHIN {
            return Ok(Done { is_stuck: true, ..Done::default() });
        }
        std::thread::sleep(LOOK_EVERY);
    }
    // What went on all the time has not gone on again.
    let is_known = victim.failed.load(Ordering::Relaxed) > 0;
    Ok(Done { resumed: is_known.then(|| freed.elapsed()), ..Done::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_files_mix_what_was_left_with_what_was_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let (live, cut) = (dir.path().join("live"), dir.path().join("cut"));
        let seen: Vec<u8> = (0..40_u8).flat_map(|sector| [sector + 1; SECTOR_BYTES]).collect();
        fs::write(&live, &seen).unwrap();
        fs::write(&cut, &seen[..10 * SECTOR_BYTES]).unwrap();
        let torn = tear_file(&live, &cut, &mut Random::new(1)).unwrap();
        let left = fs::read(&cut).unwrap();
        assert_eq!(left[..10 * SECTOR_BYTES], seen[..10 * SECTOR_BYTES], "what was there stays");
        let rest = left[10 * SECTOR_BYTES..]
            .chunks(SECTOR_BYTES)
            .zip(seen[10 * SECTOR_BYTES..].chunks(SECTOR_BYTES));
        let arrived = rest.clone().filter(|(left, seen)| left == seen).count();
        assert!(rest.clone().all(|(left, seen)| left == seen || left.iter().all(|byte| *byte == 0)));
        assert!(arrived as u64 == torn && (5..25).contains(&arrived), "{arrived}");
    }

    #[test]
    fn texts_of_hazards_are_read_back() {
        assert!(Hazard::ALL.into_iter().all(|hazard| Hazard::parse(hazard.as_str()) == Some(hazard)));
    }
}
