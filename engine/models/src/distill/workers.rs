//! Jobs side by side, on threads that the caller has.
//!
//! This crate starts no threads. What is computed is cut into jobs whose number and bounds depend on the data alone, and each
//! job writes what no other reads, so the result has the same bits however many threads there are.

use std::sync::Mutex;

/// Who runs jobs.
pub trait Workers: Sync {
    /// Calls `job` with each number below `job_count` once, in any order and from any threads, and returns when all calls
    /// have returned.
    fn run(&self, job_count: usize, job: &(dyn Fn(usize) + Sync));
}

/// The thread of the caller, job after job.
#[derive(Debug, Clone, Copy)]
pub struct OneWorker;

impl Workers for OneWorker {
    fn run(&self, job_count: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..job_count).for_each(job);
    }
}

/// Gives each item to a job of its own, with its number.
pub(super) fn each<T: Send>(
    workers: &dyn Workers,
    items: impl Iterator<Item = T>,
    job: impl Fn(usize, T) + Sync,
) {
    let items: Vec<Mutex<Option<T>>> = items.map(|item| Mutex::new(Some(item))).collect();
    workers.run(items.len(), &|idx| {
        let item = items[idx].lock().expect("invariant: nothing panics while an item is taken").take();
        job(idx, item.expect("invariant: each job runs once"));
    });
}
