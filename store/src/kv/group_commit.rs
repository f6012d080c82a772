//! The one place that writes the log: writers queue, one of them leads and writes for a group.
//!
//! ```text
//! writers --batch--> queue (bounded) --> leader: numbers, one WriteBatch, one sync --> acknowledgements
//!                                          |
//!                                          '-- leads on: the first that waits, if any
//! ```
//!
//! There is no thread of its own: the writer that finds nobody leading leads, so a lone writer pays two locks and nothing
//! else. While it writes, others queue; the next leader takes them together. Sequences are given by the leader, and only
//! one leads, so their order is the order in which writes become visible.
//!
//! # Decisions
//! *Waiting for company.* With nothing but the queue, 64 writers in a closed loop alternate between a group of one (the first
//! that came back) and one of 63. So a leader of synced writes waits until as many are there as were active when the last
//! group ended, at most [`Tuning::group_wait`] and at most as long as the last sync took: a longer wait could not pay. A lone
//! writer never waits.
//!
//! *A failed sync ends writing.* After a failed `fsync` the kernel may have dropped the pages and marked them clean, so a
//! second one that succeeds proves nothing (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
//! All later writes are refused; reads go on; the next open reads what the device has. A full disk is the exception: RocksDB
//! itself refuses writes until it has brought what it holds in memory into tables, so no second sync of that log is trusted;
//! [`room`](super::room) sees to it that it gets there.
//!
//! *A failed write may be there.* Its record can have reached the log before the sync failed. It was not acknowledged.

use super::codec::Batch;
use super::tuning::{Durability, GROUP_RECORDS_MAX, Tuning};
use super::{Kv, KvError, LOG, RECORDS};
use crate::failpoint::Site;
use rocksdb::{WriteBatch, WriteOptions};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Writers that may wait; further ones wait for a place. As many threads as a large server has.
const WAITING_WRITERS_MAX: usize = 1_024;
/// Bytes that may wait, one batch excepted.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Bytes of one group, its first batch excepted; RocksDB's own bound for what it writes together is 1 MiB.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// A write that is done: its number in the log, and the checksum of its log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Number of its log record, from 1. Rises with every write of the store.
    pub sequence: u64,
    /// Checksum of its log record, which covers keys, values and sequence.
    pub crc: u32,
}

/// What was written since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Acknowledged writes: puts, deletes and batches.
    pub writes: u64,
    /// Groups that they were written in.
    pub groups: u64,
    /// Groups that ended with a sync.
    pub syncs: u64,
    /// Writes of the largest group.
    pub largest_group: u64,
}

#[derive(Debug)]
pub(super) struct GroupCommit {
    kv: Arc<Kv>,
    group_records: usize,
    group_wait: Duration,
    queue: Mutex<Queue>,
    /// The leader waits here for company.
    arrived: Condvar,
    /// Writers wait here for a place in the queue.
    room: Condvar,
    #[cfg(test)]
    fault: Mutex<Option<KvError>>,
}

#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Arc<Ticket>>,
    waiting_bytes: usize,
    /// Somebody leads, or was told to. Without it nobody waits.
    is_led: bool,
    /// Writers that the leader waits for, itself included; none if it does not wait.
    wanted: Option<usize>,
    next_sequence: u64,
    /// Writers that were active when the last synced group ended.
    active_writers: usize,
    /// How long the last sync took.
    sync_time: Duration,
    /// Why nothing is written any more.
    stopped: Option<String>,
    counts: WriteCounts,
}

/// A writer that waits.
#[derive(Debug)]
struct Ticket {
    durability: Durability,
    operation_count: usize,
    size_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
enum State {
    Waiting(Batch),
    /// The batch is with the leader.
    Taken,
    /// This writer leads next.
    Leads(Batch),
    Done(Result<Ack, KvError>),
}

enum Turn {
    Leads(Batch),
    Done(Result<Ack, KvError>),
}

impl GroupCommit {
    /// The first write is number 1, or what [`GroupCommit::begin_at`] says.
    pub(super) fn new(kv: Arc<Kv>, tuning: &Tuning) -> Self {
        let queue = Queue {
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            is_led: false,
            wanted: None,
            next_sequence: 1,
            active_writers: 1,
            sync_time: tuning.group_wait,
            stopped: None,
            counts: WriteCounts::default(),
        };
        Self {
            kv,
            group_records: tuning.group_records.clamp(1, GROUP_RECORDS_MAX),
            group_wait: tuning.group_wait,
            queue: Mutex::new(queue),
            arrived: Condvar::new(),
            room: Condvar::new(),
            #[cfg(test)]
            fault: Mutex::new(None),
        }
    }

    /// Numbers the next write, before there was one.
    pub(super) fn begin_at(&self, next_sequence: u64) {
        lock(&self.queue).next_sequence = next_sequence;
    }

    /// Number of the last write that was acknowledged or failed.
    pub(super) fn last_sequence(&self) -> u64 {
        lock(&self.queue).next_sequence - 1
    }

    pub(super) fn counts(&self) -> WriteCounts {
        lock(&self.queue).counts
    }

    /// Writes the batch as one log record and its operations, durable as asked when it returns.
    pub(super) fn write(&self, batch: Batch, durability: Durability) -> Result<Ack, KvError> {
        self.kv.check_writable()?;
        let mut queue = lock(&self.queue);
        while queue.waiting.len() >= WAITING_WRITERS_MAX || queue.waiting_bytes >= WAITING_BYTES_MAX {
            queue = self.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if !queue.is_led {
            queue.is_led = true;
            return self.lead(queue, batch, durability);
        }
        let ticket = Arc::new(Ticket::new(batch, durability));
        queue.waiting_bytes += ticket.size_bytes;
        queue.waiting.push_back(ticket.clone());
        if queue.wanted.is_some_and(|wanted| queue.waiting.len() + 1 >= wanted) {
            self.arrived.notify_one();
        }
        drop(queue);
        match ticket.turn() {
            Turn::Done(result) => result,
            Turn::Leads(batch) => self.lead(lock(&self.queue), batch, durability),
        }
    }

    /// Brings what is written to the device: tables for what RocksDB's log does not have, then a sync of that log.
    pub(super) fn sync(&self) -> Result<(), KvError> {
        let kv = &*self.kv;
        kv.check_writable()?;
        if let Some(cause) = lock(&self.queue).stopped.clone() {
            return Err(KvError::Stopped { path: kv.path.clone(), cause });
        }
        kv.reach(Site::LogBeforeSync)?;
        let last = kv.now().last_logged(&kv.path)?;
        kv.flush_unlogged()?;
        match kv.now().db.flush_wal(true).map_err(|source| kv.refused(source, 0)) {
            Ok(()) => {
                kv.synced.note(last);
                kv.reach(Site::LogAfterSync)
            }
            Err(full @ KvError::Full { .. }) => Err(full),
            Err(error) => {
                let cause = error.to_string();
                lock(&self.queue).stopped = Some(cause.clone());
                kv.doubt();
                Err(KvError::SyncFailed { path: kv.path.clone(), detail: cause })
            }
        }
    }

    /// Writes `batch` and what waits behind it, tells the others, and hands the lead on.
    fn lead(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        mut batch: Batch,
        durability: Durability,
    ) -> Result<Ack, KvError> {
        if durability == Durability::GroupCommit {
            queue = self.wait_for_company(queue, batch.len());
        }
        let members = self.take_members(&mut queue, &batch, durability);
        let first = queue.next_sequence;
        let count = 1 + members.len();
        queue.next_sequence += count as u64;
        let stopped = queue.stopped.clone();
        drop(queue);
        if !members.is_empty() {
            self.room.notify_all();
        }
        let started = durability.is_synced().then(Instant::now);
        let mut others: Vec<Batch> = members.iter().map(|ticket| ticket.take()).collect();
        let mut panic = None;
        let result = match stopped {
            Some(cause) => Err(KvError::Stopped { path: self.kv.path.clone(), cause }),
            // A leader that unwound without a word would let all others wait for ever.
            None => match catch_unwind(AssertUnwindSafe(|| {
                self.commit(first, &mut batch, &mut others, durability)
            })) {
                Ok(result) => result,
                Err(payload) => {
                    panic = Some(payload);
                    let detail = "the writer of its group panicked".to_owned();
                    Err(KvError::SyncFailed { path: self.kv.path.clone(), detail })
                }
            },
        };
        self.end(&result, count, durability, started.map(|started| started.elapsed()));
        let ack = |number: usize| {
            let crcs = result.as_ref().map_err(Clone::clone)?;
            Ok(Ack { sequence: first + number as u64, crc: crcs[number] })
        };
        for (number, ticket) in (1..).zip(&members) {
            ticket.finish(ack(number));
        }
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        ack(0)
    }

    fn wait_for_company<'a>(
        &self,
        mut queue: MutexGuard<'a, Queue>,
        operation_count: usize,
    ) -> MutexGuard<'a, Queue> {
        let wanted = queue.active_writers.min(self.group_records.saturating_sub(operation_count) + 1);
        let deadline = Instant::now() + self.group_wait.min(queue.sync_time);
        while queue.waiting.len() + 1 < wanted {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue.wanted = Some(wanted);
            queue = self.arrived.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.wanted = None;
        queue
    }

    /// The next writers with the same level that fit into a group with `batch`, taken from the queue.
    fn take_members(&self, queue: &mut Queue, batch: &Batch, durability: Durability) -> Vec<Arc<Ticket>> {
        let (mut operations, mut bytes) = (batch.len(), batch.size_bytes());
        let mut members = Vec::new();
        while let Some(next) = queue.waiting.front() {
            operations += next.operation_count;
            bytes += next.size_bytes;
            let fits = operations <= self.group_records && bytes <= GROUP_BYTES_MAX;
            if next.durability != durability || durability == Durability::WalFsync || !fits {
                break;
            }
            queue.waiting_bytes -= next.size_bytes;
            members.extend(queue.waiting.pop_front());
        }
        members
    }

    /// One `WriteBatch` for all: log records and operations. Answers the checksums of the log records.
    fn commit(
        &self,
        first: u64,
        batch: &mut Batch,
        others: &mut [Batch],
        durability: Durability,
    ) -> Result<Vec<u32>, KvError> {
        #[cfg(test)]
        {
            if let Some(error) = lock(&self.fault).take() {
                return Err(error);
            }
        }
        let kv = &*self.kv;
        kv.reach(Site::LogBeforeCommit)?;
        let opened = kv.now();
        let (log, records) = (opened.family(LOG), opened.family(RECORDS));
        let size_bytes = batch.size_bytes() + others.iter().map(Batch::size_bytes).sum::<usize>();
        // Log records repeat the keys, not the values; short batches grow the buffer once.
        let mut together = WriteBatch::with_capacity_bytes(size_bytes + size_bytes / 8 + 256);
        let mut crcs = Vec::with_capacity(1 + others.len());
        let mut log_value = Vec::new();
        for (sequence, batch) in (first..).zip(std::iter::once(batch).chain(others)) {
            crcs.push(batch.seal(sequence, &mut log_value));
            together.put_cf(log, sequence.to_be_bytes(), &log_value);
            for (key, stored) in batch.operations() {
                match stored {
                    Some(stored) => together.put_cf(records, key, stored),
                    None => together.delete_cf(records, key),
                }
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability.is_synced());
        options.disable_wal(durability == Durability::None);
        drop(opened);
        let write = || {
            kv.reach(Site::LogBeforeWrite)
                .and_then(|()| kv.write(together, options))
                .and_then(|()| kv.reach(Site::LogAfterWrite))
        };
        let written = if durability == Durability::None { kv.write_unlogged(write) } else { write() };
        match written {
            Ok(()) => {
                if durability.is_synced() {
                    kv.synced.note(first + crcs.len() as u64 - 1);
                }
                Ok(crcs)
            }
            Err(full @ KvError::Full { .. }) => Err(full),
            Err(error) if durability.is_synced() => {
                Err(KvError::SyncFailed { path: kv.path.clone(), detail: error.to_string() })
            }
            Err(error) => Err(error),
        }
    }

    /// Counts, stops after a failure, and hands the lead on.
    fn end(
        &self,
        result: &Result<Vec<u32>, KvError>,
        count: usize,
        durability: Durability,
        sync_time: Option<Duration>,
    ) {
        let mut queue = lock(&self.queue);
        match result {
            Ok(_) => {
                let counts = &mut queue.counts;
                counts.writes += count as u64;
                counts.groups += 1;
                counts.syncs += u64::from(durability.is_synced());
                counts.largest_group = counts.largest_group.max(count as u64);
            }
            Err(KvError::Full { .. } | KvError::Stopped { .. }) => {}
            Err(error) => {
                queue.stopped = Some(error.to_string());
                self.kv.doubt();
            }
        }
        if durability == Durability::GroupCommit {
            queue.active_writers = count + queue.waiting.len();
        }
        if let Some(sync_time) = sync_time {
            queue.sync_time = sync_time;
        }
        match queue.waiting.pop_front() {
            Some(next) => {
                queue.waiting_bytes -= next.size_bytes;
                drop(queue);
                self.room.notify_all();
                next.promote();
            }
            None => queue.is_led = false,
        }
    }
}

impl Ticket {
    fn new(batch: Batch, durability: Durability) -> Self {
        Self {
            durability,
            operation_count: batch.len(),
            size_bytes: batch.size_bytes(),
            state: Mutex::new(State::Waiting(batch)),
            changed: Condvar::new(),
        }
    }

    /// Waits until this writer leads or is done.
    fn turn(&self) -> Turn {
        let mut state = lock(&self.state);
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Leads(batch) => return Turn::Leads(batch),
                State::Done(result) => return Turn::Done(result),
                unchanged => *state = unchanged,
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The batch, for the leader.
    fn take(&self) -> Batch {
        match std::mem::replace(&mut *lock(&self.state), State::Taken) {
            State::Waiting(batch) | State::Leads(batch) => batch,
            State::Taken | State::Done(_) => Batch::new(),
        }
    }

    fn promote(&self) {
        let batch = self.take();
        *lock(&self.state) = State::Leads(batch);
        self.changed.notify_one();
    }

    fn finish(&self, result: Result<Ack, KvError>) {
        *lock(&self.state) = State::Done(result);
        self.changed.notify_one();
    }
}

/// Nothing is left half changed by a panic while one of these locks is held: they guard moves and counts.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group_commit(dir: &std::path::Path, tuning: &Tuning) -> Arc<GroupCommit> {
        Arc::new(GroupCommit::new(Kv::open(dir, false, None).unwrap(), tuning))
    }

    fn put(key: &[u8]) -> Batch {
        let mut batch = Batch::new();
        batch.put(key, b"value").unwrap();
        batch
    }

    /// Lets `writer_count` writers queue behind a leader that does nothing, then has the first of them lead.
    fn write_together(writes: &Arc<GroupCommit>, writer_count: usize, durability: Durability) -> Vec<Ack> {
        lock(&writes.queue).is_led = true;
        let write = |number: usize| {
            let writes = writes.clone();
            std::thread::spawn(move || writes.write(put(&[number as u8]), durability).unwrap())
        };
        let threads: Vec<_> = (0..writer_count).map(write).collect();
        while lock(&writes.queue).waiting.len() < writer_count {
            std::thread::yield_now();
        }
        let mut queue = lock(&writes.queue);
        let first = queue.waiting.pop_front().unwrap();
        queue.waiting_bytes -= first.size_bytes;
        drop(queue);
        first.promote();
        let mut acks: Vec<Ack> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        acks.sort_by_key(|ack| ack.sequence);
        acks
    }

    #[test]
    fn writers_that_wait_share_one_sync() {
        let dir = tempfile::tempdir().unwrap();
        let writes = group_commit(dir.path(), &Tuning::STANDARD);
        let acks = write_together(&writes, 20, Durability::GroupCommit);
        assert_eq!(acks.iter().map(|ack| ack.sequence).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
        let expected = WriteCounts { writes: 20, groups: 1, syncs: 1, largest_group: 20 };
        assert_eq!(writes.counts(), expected);
        assert!(!lock(&writes.queue).is_led && lock(&writes.queue).waiting_bytes == 0);
    }

    #[test]
    fn groups_are_bounded_and_own_syncs_are_not_shared() {
        let dir = tempfile::tempdir().unwrap();
        let writes = group_commit(dir.path(), &Tuning { group_records: 8, ..Tuning::STANDARD });
        write_together(&writes, 20, Durability::GroupCommit);
        assert_eq!((writes.counts().syncs, writes.counts().largest_group), (3, 8));
        write_together(&writes, 5, Durability::WalFsync);
        assert_eq!((writes.counts().syncs, writes.counts().largest_group), (8, 8));
        write_together(&writes, 5, Durability::Wal);
        assert_eq!((writes.counts().syncs, writes.counts().groups, writes.last_sequence()), (8, 9, 30));
    }

    #[test]
    fn a_lone_writer_does_not_wait_for_company() {
        let dir = tempfile::tempdir().unwrap();
        let tuning = Tuning { group_wait: Duration::from_secs(3_600), ..Tuning::STANDARD };
        let writes = group_commit(dir.path(), &tuning);
        for number in 0..3 {
            writes.write(put(&[number]), Durability::GroupCommit).unwrap();
        }
        assert_eq!(writes.counts().largest_group, 1);
    }

    #[test]
    fn a_failed_sync_ends_writing_with_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let writes = group_commit(dir.path(), &Tuning::STANDARD);
        writes.write(put(b"a"), Durability::WalFsync).unwrap();
        let path = dir.path().to_path_buf();
        *lock(&writes.fault) = Some(KvError::SyncFailed { path, detail: "EIO".into() });
        let error = writes.write(put(b"b"), Durability::GroupCommit).unwrap_err();
        assert!(matches!(error, KvError::SyncFailed { .. }), "{error}");
        for durability in Durability::ALL {
            let error = writes.write(put(b"c"), durability).unwrap_err();
            assert_eq!(error.code(), "E1005");
            assert!(matches!(&error, KvError::Stopped { cause, .. } if cause.contains("EIO")), "{error}");
        }
        assert_eq!(writes.counts().writes, 1);
        let opened = writes.kv.now();
        assert!(opened.db.get_cf(opened.family(RECORDS), b"a").unwrap().is_some(), "reads go on");
        assert!(opened.db.get_cf(opened.family(RECORDS), b"c").unwrap().is_none());
    }

    #[test]
    fn a_full_disk_is_an_error_of_that_write_alone() {
        let dir = tempfile::tempdir().unwrap();
        let writes = group_commit(dir.path(), &Tuning::STANDARD);
        let path = dir.path().to_path_buf();
        *lock(&writes.fault) = Some(KvError::Full { path, detail: "No space left on device".into() });
        assert_eq!(writes.write(put(b"a"), Durability::GroupCommit).unwrap_err().code(), "E1004");
        assert_eq!(writes.write(put(b"a"), Durability::GroupCommit).unwrap().sequence, 2);
    }
}
