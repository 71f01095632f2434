//! One design over one run, by the wall clock and by processor time.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use crate::chunks::{Shared, chunks};
use crate::design::Design;
use crate::limit::limit;
use crate::pool::pool;
use crate::ring::ring;
use crate::run::Run;

/// Seconds of wall clock, and of processor time, user and system.
pub(crate) fn measure(design: Design, run: &Run) -> (f64, f64) {
    let cpu = cpu_seconds();
    let start = Instant::now();
    match design {
        Design::Limit { threads, slabs, calls } => spawn(threads, |t| limit(run, t, threads, slabs, &calls)),
        Design::Pool { threads, phases, calls, memory } => {
            spawn(threads, |t| pool(run, t, threads, phases, &calls, memory))
        }
        Design::Ring { rings, ahead, chain, tweak } => {
            spawn(rings, |t| ring(run, t, rings, ahead, chain, tweak))
        }
        Design::Chunks { threads, chunk } => {
            let parts = run.files.size / chunk;
            let shared: Vec<Shared> = run
                .order
                .iter()
                .map(|_| Shared { fd: OnceLock::new(), left: AtomicUsize::new(parts + 1) })
                .collect();
            spawn(threads, |_| chunks(run, &shared, chunk));
        }
    }
    let wall = start.elapsed().as_secs_f64();
    (wall, cpu_seconds() - cpu)
}

fn spawn(threads: usize, body: impl Fn(usize) + Sync) {
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for t in 0..threads {
            let (body, failed) = (&body, &failed);
            scope.spawn(move || {
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(t))).is_err() {
                    failed.store(true, Relaxed);
                }
            });
        }
    });
    assert!(!failed.load(Relaxed), "a thread failed");
}

fn cpu_seconds() -> f64 {
    let mut out = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: out is large enough, and getrusage(RUSAGE_SELF) cannot fail with it.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, out.as_mut_ptr());
        out.assume_init()
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
