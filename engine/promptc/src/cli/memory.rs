//! Memory that operators may use where nobody says how much.
//!
//! What the operators count is not all that a process takes: code, buffers of files, and what the allocator has not given back come
//! on top. So a process in a small control group counts on a part of its limit.
//!
//! # Decisions
//! *The allocator of glibc gives back what is freed, in a small group.* By itself it keeps blocks of up to 32 MiB once one of that size
//! was freed, in an arena for each thread. A sort of 2 GiB of rows of 256 bytes in a group of 512 MiB was killed with 307, 170 and
//! 100 MiB for its operators; with blocks from 64 KiB on their own pages it ended with 307 and 170 (2026-11, glibc 2.36, two
//! cores). The settings are read from the environment when a process starts, so the program starts itself again with them: some
//! milliseconds, in a small group and for one verb alone. Setting them from within needs `unsafe`, another allocator a build of
//! its own.
//!
//! *Where a store's memory is measured, half as many arenas as processors.* What merging had freed in one arena was no use to readers
//! that had the other: 466 MiB for a store that may hold 384, and 394 MiB with one arena.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A group with at most this is small: beyond it, what the allocator keeps is little against the limit.
const SMALL_GROUP_BYTES: u64 = 2 << 30;
/// What the allocator reads: arenas, from which size on a block has pages of its own, how much may be kept at an arena's end.
const SETTINGS: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

/// What a store holds in memory is measured here: what other threads have freed is none of it.
const MEASURED_VERB: &str = "stress";

/// Where there is no limit, or a large one.
const DEFAULT_BYTES: usize = 512 << 20;
/// Of a control group's limit: two fifths. A sort of 2 GiB of 1 KiB rows took 1.65 times what its operators counted, and 85 MiB
/// besides: with 307 MiB for them it is killed in a group of 512 MiB.
const PART: (u64, u64) = (2, 5);

/// 512 MiB, or two fifths of the control group's limit if that is less.
pub(super) fn default_bytes() -> usize {
    let limit = own_limit().map_or(u64::MAX, |limit| limit / PART.1 * PART.0);
    usize::try_from(limit).unwrap_or(usize::MAX).min(DEFAULT_BYTES)
}

/// Starts this program again with an allocator that gives back what is freed, where nobody has set it up: in a small control group,
/// and for the verb whose store's memory is a figure. Does not return then; if it cannot be started, it goes on as it is.
pub(super) fn settle() {
    let is_set = SETTINGS.iter().any(|(name, _)| std::env::var_os(name).is_some());
    let is_small = || own_limit().is_some_and(|limit| limit <= SMALL_GROUP_BYTES);
    let is_measured = std::env::args_os().any(|arg| arg == MEASURED_VERB);
    if is_set || !(is_measured || is_small()) {
        return;
    }
    let Ok(executable) = std::env::current_exe() else { return };
    let mut command = Command::new(executable);
    let mut args = std::env::args_os();
    command.arg0(args.next().unwrap_or_default()).args(args).envs(SETTINGS);
    if is_measured {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        command.env(SETTINGS[0].0, (processors / 2).max(1).to_string());
    }
    let _ = command.exec();
}

fn own_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limit(&groups, &|path| fs::read_to_string(path).ok())
}

/// The smallest limit of the groups that `/proc/self/cgroup` names, of version 2 and 1, and of the roots that a container sees.
fn limit(groups: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let own = |is_it: &dyn Fn(&str) -> bool| {
        let line = |line: &str| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            is_it(controllers).then(|| path.trim_end_matches('/').to_owned())
        };
        groups.lines().find_map(line).unwrap_or_default()
    };
    let second = own(&|controllers| controllers.is_empty());
    let first = own(&|controllers| controllers.split(',').any(|name| name == "memory"));
    let paths = [
        format!("/sys/fs/cgroup{second}/memory.max"),
        "/sys/fs/cgroup/memory.max".to_owned(),
        format!("/sys/fs/cgroup/memory{first}/memory.limit_in_bytes"),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned(),
    ];
    // "max" is no number, and version 1 has one beyond every machine.
    paths.iter().filter_map(|path| read(path)?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_either_version_counts() {
        let files = |files: &'static [(&str, &str)]| {
            move |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        };
        let first = "4:memory:/a/b\n3:cpuset:/\n0::/\n";
        let read = files(&[
            ("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "1000\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(limit(first, &read), Some(1_000));
        let read = files(&[("/sys/fs/cgroup/x/memory.max", "max\n"), ("/sys/fs/cgroup/memory.max", "7\n")]);
        assert_eq!(limit("0::/x\n", &read), Some(7));
        assert_eq!(limit("", &files(&[])), None);
        assert!(default_bytes() <= DEFAULT_BYTES);
    }
}
