//! How the kernel schedules the thread that paces, and what it is asked for.
//!
//! Where the processors are busy a thread that wakes up waits until whoever runs has used up its slice, 3 ms on Linux: that is
//! then the submit error. A thread that asks for a shorter slice (Linux 6.12: `sched_setattr(2)` with `sched_runtime` for
//! `SCHED_OTHER`) gets no more of the processor than before, but may take it at once from one with a longer slice. It needs no
//! privilege, and helps but where the thread has just had its share. A thread under a real-time policy gets the processor whenever
//! it is ready ([`Priority::RealTime`]).
//!
//! This module has unsafe code: two system calls that no crate wraps.

use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// The slice that is asked for: the shortest that the kernel gives.
const SLICE: Duration = Duration::from_micros(100);

/// What the thread that paces asks of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Its share of the processors, in short slices where the kernel has them (Linux 6.12). On busy processors it may still wait
    /// for milliseconds now and then.
    #[default]
    Fair,
    /// The processor whenever it is ready: `SCHED_RR`, at the lowest of its priorities. That takes `CAP_SYS_NICE` or an
    /// `RLIMIT_RTPRIO` of 1. It submits on time on busy processors too; but a replay that is too much for the machine keeps a
    /// whole processor from those who are to serve it.
    RealTime,
}

impl Priority {
    /// Every one.
    pub const ALL: [Priority; 2] = [Priority::Fair, Priority::RealTime];

    /// What it is called in options.
    pub fn name(self) -> &'static str {
        match self {
            Priority::Fair => "fair",
            Priority::RealTime => "realtime",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Priority {
    type Err = Error;

    fn from_str(text: &str) -> Result<Priority> {
        let found = Priority::ALL.into_iter().find(|priority| priority.name() == text);
        found.ok_or_else(|| Error::Invalid(format!("priority is {text:?}; it must be fair or realtime")))
    }
}

/// The lowest priority of real-time policies.
const LOWEST: u32 = 1;

/// What the kernel says of the thread that paced, while it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduling {
    /// The policy by its number in Linux: 0 is `SCHED_OTHER`.
    policy: u32,
    /// The nice value, -20 to 19; of the policies that have one.
    pub nice: i32,
    /// The priority, 1 to 99; of real-time policies, else 0.
    pub priority: u32,
    /// How long it runs until others get their turn, of `SCHED_OTHER` and `SCHED_BATCH`; none where the kernel knows no slices of a
    /// thread's own.
    pub slice: Option<Duration>,
    /// How long it was ready to run and did not, because others had the processors; none where the kernel does not count it.
    pub kept_waiting: Option<Duration>,
}

impl Scheduling {
    /// The policy's name, as `chrt(1)` has them.
    pub fn policy(&self) -> &'static str {
        match self.policy as i32 {
            libc::SCHED_OTHER => "other",
            libc::SCHED_FIFO => "fifo",
            libc::SCHED_RR => "rr",
            libc::SCHED_BATCH => "batch",
            libc::SCHED_IDLE => "idle",
            libc::SCHED_DEADLINE => "deadline",
            _ => "unknown",
        }
    }

    /// All of it, times in nanoseconds.
    pub fn to_json(&self) -> Value {
        let nanos =
            |time: Option<Duration>| time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        json!({
            "policy": self.policy(),
            "nice": self.nice,
            "priority": self.priority,
            "slice_ns": nanos(self.slice),
            "kept_waiting_ns": nanos(self.kept_waiting),
        })
    }

    fn of(attributes: &libc::sched_attr, kept_waiting: Option<Duration>) -> Scheduling {
        let fair = is_fair(attributes);
        Scheduling {
            policy: attributes.sched_policy,
            nice: attributes.sched_nice,
            priority: attributes.sched_priority,
            slice: (fair && attributes.sched_runtime > 0)
                .then(|| Duration::from_nanos(attributes.sched_runtime)),
            kept_waiting,
        }
    }
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {}", self.policy())?;
        match self.priority {
            0 => write!(f, ", nice {}", self.nice)?,
            priority => write!(f, ", priority {priority}")?,
        }
        if let Some(slice) = self.slice {
            write!(f, ", a slice of {slice:?}")?;
        }
        Ok(())
    }
}

/// A thread that paces (threads that it starts do not), from the call on until this is dropped: then it is scheduled as it was before.
pub(super) struct Pacing {
    before: Option<libc::sched_attr>,
    slack_before: Option<NonZeroU64>,
    waited_before: Option<Duration>,
}

impl Pacing {
    /// Asks the kernel to wake the calling thread when it is due, not up to 50 µs later to save power, and for a short slice.
    /// A kernel that refuses these costs accuracy, which the noise floor and [`Pacing::scheduling`] show.
    ///
    /// # Errors
    /// A priority that the kernel does not give.
    pub(super) fn begin(priority: Priority) -> Result<Pacing> {
        let slack_before = rustix::thread::current_timer_slack().ok().and_then(NonZeroU64::new);
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let before = get();
        let mut pacing = Pacing { before: None, slack_before, waited_before: None };
        match (priority, before) {
            (Priority::RealTime, Ok(before)) if is_fair(&before) => {
                set(&libc::sched_attr {
                    sched_policy: libc::SCHED_RR as u32,
                    sched_flags: RESET_ON_FORK,
                    sched_priority: LOWEST,
                    sched_nice: 0,
                    sched_runtime: 0,
                    ..before
                })
                .map_err(refused)?;
                pacing.before = Some(before);
            }
            (Priority::RealTime, Err(error)) => return Err(refused(error)),
            (Priority::Fair, Ok(before))
                if is_fair(&before) && Duration::from_nanos(before.sched_runtime) > SLICE =>
            {
                // Threads that are started here would lose a nice value below 0 with the slice.
                let flag = if before.sched_nice >= 0 { RESET_ON_FORK } else { 0 };
                let short = libc::sched_attr {
                    sched_runtime: SLICE.as_nanos() as u64,
                    sched_flags: before.sched_flags | flag,
                    ..before
                };
                pacing.before = set(&short).is_ok().then_some(before);
            }
            // Real-time threads are woken at once as it is.
            _ => {}
        }
        pacing.waited_before = waited();
        Ok(pacing)
    }

    /// What the kernel says of the calling thread, which is the one that began.
    pub(super) fn scheduling(&self) -> Option<Scheduling> {
        let kept_waiting = waited().zip(self.waited_before).map(|(now, before)| now.saturating_sub(before));
        get().ok().map(|attributes| Scheduling::of(&attributes, kept_waiting))
    }
}

impl Drop for Pacing {
    fn drop(&mut self) {
        // What is refused here was refused before.
        let _ = rustix::thread::set_current_timer_slack(self.slack_before);
        if let Some(before) = &self.before
            && set(before).is_err()
        {
            // The flag is not taken back from who has no privilege, and then changes nothing but slices.
            let _ = set(&libc::sched_attr { sched_flags: before.sched_flags | RESET_ON_FORK, ..*before });
        }
    }
}

/// Threads that this thread starts are scheduled as others are: `SCHED_FLAG_RESET_ON_FORK`.
const RESET_ON_FORK: u64 = 1;

fn refused(error: io::Error) -> Error {
    Error::Invalid(format!(
        "priority realtime: the kernel refuses SCHED_RR ({error}); it takes CAP_SYS_NICE or an RLIMIT_RTPRIO of 1, else use fair"
    ))
}

/// Whether threads of this policy share the processors by slices.
fn is_fair(attributes: &libc::sched_attr) -> bool {
    [libc::SCHED_OTHER, libc::SCHED_BATCH].contains(&(attributes.sched_policy as i32))
}

/// How long the calling thread has been ready to run and did not: the second number of its `schedstat`.
fn waited() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// The attributes of the calling thread.
#[allow(unsafe_code)]
fn get() -> io::Result<libc::sched_attr> {
    let mut attributes = MaybeUninit::<libc::sched_attr>::zeroed();
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes at most `size` bytes, which are there, and keeps no pointer. All zeros is a valid value of a struct
    // of integers, so it may be read whatever was written.
    unsafe {
        match libc::syscall(libc::SYS_sched_getattr, 0, attributes.as_mut_ptr(), size, 0) {
            0 => Ok(attributes.assume_init()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Gives the calling thread these attributes, if the kernel lets it.
#[allow(unsafe_code)]
fn set(attributes: &libc::sched_attr) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as the struct's own `size` says, which `get` filled in, and keeps no pointer.
    unsafe {
        match libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(attributes), 0) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's release, as far as it is needed.
    fn release() -> (u32, u32) {
        let uname = rustix::system::uname();
        let mut numbers = uname.release().to_str().unwrap().split('.').map(|n| n.parse().unwrap_or(0));
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    #[test]
    fn a_short_slice_is_had_while_pacing_and_given_back_after() {
        std::thread::spawn(|| {
            let slice = || get().ok().map(|attributes| Scheduling::of(&attributes, None).slice);
            let slack = || rustix::thread::current_timer_slack().ok();
            let (before, slack_before) = (slice(), slack());
            let pacing = Pacing::begin(Priority::Fair).unwrap();
            let during = pacing.scheduling();
            drop(pacing);
            assert_eq!((slice(), slack()), (before, slack_before));
            // Sandboxes that know no such call say nothing.
            let Some(during) = during else { return assert_eq!(before, None) };
            assert_eq!(during.to_json()["policy"], during.policy());
            if release() >= (6, 12) && during.policy() == "other" {
                assert_eq!(during.slice, Some(SLICE), "{during}");
                assert_eq!(during.to_json()["slice_ns"], 100_000);
                assert!(during.to_string().ends_with("a slice of 100µs"), "{during}");
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn real_time_is_had_or_refused() {
        std::thread::spawn(|| {
            let policy = || get().map(|attributes| Scheduling::of(&attributes, None).policy()).ok();
            let before = policy();
            match Pacing::begin(Priority::RealTime) {
                Ok(pacing) => {
                    assert_eq!(pacing.scheduling().map(|got| (got.policy(), got.priority)), Some(("rr", 1)));
                    // What it starts is not.
                    assert_eq!(std::thread::spawn(policy).join().unwrap(), Some("other"));
                }
                Err(error) => assert!(error.to_string().contains("CAP_SYS_NICE"), "{error}"),
            }
            assert_eq!(policy(), before);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn real_time_threads_are_told_as_they_are() {
        let mut attributes: libc::sched_attr = get().unwrap_or_else(|_| {
            // SAFETY: a struct of integers.
            #[allow(unsafe_code)]
            unsafe {
                MaybeUninit::zeroed().assume_init()
            }
        });
        (attributes.sched_policy, attributes.sched_priority) = (libc::SCHED_FIFO as u32, 7);
        attributes.sched_runtime = 5;
        let told = Scheduling::of(&attributes, None);
        assert_eq!((told.policy(), told.slice), ("fifo", None));
        assert_eq!(told.to_string(), "policy fifo, priority 7");
    }
}
