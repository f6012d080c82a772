//! Clients that call an operation again and again, and how long each call took.
//!
//! *Closed loop*: a client calls when its last call has ended. That finds the highest rate; its latencies leave out the calls
//! that would have come while one was slow. *Open loop*: calls are due at a fixed rate, and a latency counts from the moment
//! at which the call was due, so that a stall is seen by every call that it delayed (Gil Tene's "coordinated omission").

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Barrier, mpsc};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::whole_micros::WholeMicros;
use crate::context::Cancel;
use crate::error::EngineError;

/// Longest latency that is told apart: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Decimal digits that a latency keeps.
const DIGITS: u8 = 3;
/// Before a call is due the client spins and does not sleep: waking up takes this long.
const SPIN: Duration = Duration::from_micros(150);

/// Time between two reports of progress.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Calls after which a client says how many it made: few enough to move, many enough to cost nothing.
const CALLS_TOLD: u64 = 64;

/// When the clients call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pacing {
    /// When the last call has ended.
    Closed,
    /// At this rate over all clients.
    Open {
        /// Calls a second.
        per_second: f64,
    },
}

/// When it ends: with the first of both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// Calls over all clients.
    pub(super) calls: u64,
    /// Time.
    pub(super) time: Duration,
}

/// What was measured.
#[derive(Debug, Clone)]
pub(super) struct Driven {
    /// Latencies in nanoseconds.
    pub(super) latencies: Histogram<u64>,
    /// The same as `db_bench` counts them; of a closed loop.
    pub(super) whole_micros: WholeMicros,
    /// What the calls said that they handled.
    pub(super) records: u64,
    /// From the start to the end of the last call.
    pub(super) elapsed: Duration,
    /// Calls that were due and not made in time: the rate is beyond what the store does.
    pub(super) unsent: u64,
}

/// Runs `make(client)` on a thread for each client. A call is given its number among all and says how many records it handled.
/// `tell` hears now and then how many calls were made.
///
/// # Errors
/// The first error of a call; Ctrl-C.
pub(super) fn drive<W>(
    clients: usize,
    limit: Limit,
    pacing: Pacing,
    cancel: &Cancel,
    make: impl Fn(usize) -> W + Sync,
    tell: &mut dyn FnMut(u64),
) -> Result<Driven, EngineError>
where
    W: FnMut(u64) -> Result<u64, EngineError>,
{
    let barrier = Barrier::new(clients);
    let told = AtomicU64::new(0);
    let (barrier, make, told) = (&barrier, &make, &told);
    let (running, all_ended) = channel::<()>();
    let parts: Vec<Result<Driven, EngineError>> = std::thread::scope(|scope| {
        let client = |client: usize| {
            let running = running.clone();
            scope.spawn(move || {
                // Hangs up when the client has ended, however it did.
                let _running: mpsc::Sender<()> = running;
                let call = make(client);
                barrier.wait();
                let schedule = Schedule { first: client as u64, step: clients as u64, limit, pacing };
                one_client(call, &schedule, cancel, told)
            })
        };
        let threads: Vec<_> = (0..clients).map(client).collect();
        drop(running);
        while all_ended.recv_timeout(TELL_EVERY) == Err(RecvTimeoutError::Timeout) {
            tell(told.load(Ordering::Relaxed));
        }
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(EngineError::internal("a client", "it panicked")))
        };
        threads.into_iter().map(join).collect()
    });
    let mut all: Option<Driven> = None;
    for part in parts {
        let part = part?;
        match &mut all {
            None => all = Some(part),
            Some(all) => {
                all.latencies.add(&part.latencies).map_err(|error| EngineError::internal("stress", error))?;
                all.whole_micros.add_all(&part.whole_micros);
                all.records += part.records;
                all.unsent += part.unsent;
                all.elapsed = all.elapsed.max(part.elapsed);
            }
        }
    }
    all.ok_or_else(|| EngineError::Unknown("no client: name at least one".to_owned()))
}

struct Schedule {
    first: u64,
    step: u64,
    limit: Limit,
    pacing: Pacing,
}

fn one_client(
    mut call: impl FnMut(u64) -> Result<u64, EngineError>,
    schedule: &Schedule,
    cancel: &Cancel,
    told: &AtomicU64,
) -> Result<Driven, EngineError> {
    let mut whole_micros = WholeMicros::new();
    let latencies = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS);
    let mut latencies = latencies.map_err(|error| EngineError::internal("stress", error))?;
    let start = Instant::now();
    let mut records = 0;
    let mut number = schedule.first;
    let mut ended = start;
    let (mut ended_micros, mut calls) = (0, 0_u64);
    while number < schedule.limit.calls && ended - start < schedule.limit.time {
        if cancel.is_cancelled() {
            return Err(EngineError::Interrupted);
        }
        let due = match schedule.pacing {
            Pacing::Closed => ended,
            Pacing::Open { per_second } => {
                let due = start + Duration::from_secs_f64(number as f64 / per_second);
                wait_until(due);
                due
            }
        };
        records += call(number)?;
        ended = Instant::now();
        let latency = ended.saturating_duration_since(due).as_nanos();
        latencies.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX).max(1));
        let micros = (ended - start).as_micros() as u64;
        whole_micros.add(micros - ended_micros);
        ended_micros = micros;
        number += schedule.step;
        calls += 1;
        if calls.is_multiple_of(CALLS_TOLD) {
            told.fetch_add(CALLS_TOLD, Ordering::Relaxed);
        }
    }
    let unsent = match schedule.pacing {
        Pacing::Closed => 0,
        Pacing::Open { .. } => schedule.limit.calls.saturating_sub(number).div_ceil(schedule.step),
    };
    Ok(Driven { latencies, whole_micros, records, elapsed: ended - start, unsent })
}

fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if left > SPIN {
        std::thread::sleep(left - SPIN);
    }
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    const LIMIT: Limit = Limit { calls: 100, time: Duration::from_secs(60) };

    #[test]
    fn every_call_is_made_once_and_counted() {
        let sum = AtomicU64::new(0);
        let make = |_| {
            |number| {
                sum.fetch_add(number, Ordering::Relaxed);
                Ok(3)
            }
        };
        let driven = drive(7, LIMIT, Pacing::Closed, &Cancel::default(), make, &mut |_| {}).unwrap();
        assert_eq!((driven.latencies.len(), driven.records, driven.unsent), (100, 300, 0));
        assert_eq!(sum.into_inner(), 99 * 100 / 2);
    }

    #[test]
    fn a_stall_is_seen_by_the_calls_that_it_delays_in_an_open_loop_only() {
        let slow_first = |_| {
            |number| {
                if number == 0 {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Ok(1)
            }
        };
        let quiet = &mut |_| {};
        let mut run =
            |pacing| drive(1, LIMIT, pacing, &Cancel::default(), slow_first, quiet).unwrap().latencies;
        // A call is due each millisecond: half of them within the stall of 100 ms wait for more than 50 ms.
        let median = run(Pacing::Open { per_second: 1_000.0 }).value_at_quantile(0.5);
        assert!(median > 30_000_000, "{median} ns");
        assert!(run(Pacing::Closed).value_at_quantile(0.5) < 10_000_000);
    }

    #[test]
    fn an_error_and_a_stop_end_it() {
        let cancel = Cancel::default();
        let fails = |_| |_| Err(EngineError::Unknown("no".to_owned()));
        assert!(drive(2, LIMIT, Pacing::Closed, &cancel, fails, &mut |_| {}).is_err());
        cancel.cancel();
        let stopped = drive(2, LIMIT, Pacing::Closed, &cancel, |_| |_| Ok(1), &mut |_| {});
        assert!(matches!(stopped, Err(EngineError::Interrupted)));
    }
}
