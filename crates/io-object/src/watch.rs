//! Deadlines of one request: to the header of its answer, between bytes, and in all. One timer serves all
//! three, and is set when there is something to wait for.

use crate::{Failure, HttpOptions};
use forebay_io::Kind;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The header of an answer, after sending so many bytes.
    Answer { sent: u64 },
    /// The next bytes of a body.
    Bytes,
}

/// The clock of one request.
pub(crate) struct Watch<'a> {
    options: &'a HttpOptions,
    end: Option<Instant>,
    /// Since when nothing came.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether a half of a limit has passed, and nobody asked yet.
    long: bool,
}

impl<'a> Watch<'a> {
    /// Starts the clock.
    pub(crate) fn start(options: &'a HttpOptions, begin: Instant) -> Self {
        let end = options.request_timeout.and_then(|limit| begin.checked_add(limit));
        Watch { options, end, since: None, timer: None, long: false }
    }

    /// The result of `future`, or the failure of waiting for it too long.
    pub(crate) async fn wait<T>(
        &mut self,
        phase: Phase,
        future: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(result) = future.as_mut().poll(cx) {
                self.progress();
                return Poll::Ready(result);
            }
            self.poll(cx, phase).map(Err)
        })
        .await
    }

    /// Something came.
    pub(crate) fn progress(&mut self) {
        self.since = None;
    }

    /// Whether the half of a phase's limit has passed without anything since this was asked last: then there is time
    /// left to look closer before it counts as too long.
    pub(crate) fn take_long(&mut self) -> bool {
        std::mem::take(&mut self.long)
    }

    /// How long the phase may last.
    fn limit(&self, phase: Phase) -> Duration {
        match phase {
            // A body of a request is allowed a second for each MiB, as if it were first sent and then waited for.
            Phase::Answer { sent } => self.options.first_byte_timeout + Duration::from_secs(sent >> 20),
            Phase::Bytes => self.options.idle_timeout,
        }
    }

    /// Ready when nothing came for too long. To be called when something was asked for and did not come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, phase: Phase) -> Poll<Failure> {
        let limit = self.limit(phase);
        let since = *self.since.get_or_insert_with(Instant::now);
        let own = since + limit;
        let deadline = self.end.map_or(own, |end| end.min(own));
        let half = (since + limit / 2).min(deadline);
        let mut due = tokio::time::Instant::from_std(half);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        // It may stand at an earlier time, and is only set anew when that comes: bytes that keep coming do
        // not touch it.
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now < deadline {
                if now >= half {
                    self.long = true;
                    due = tokio::time::Instant::from_std(deadline);
                }
                timer.as_mut().reset(due);
                continue;
            }
            let said = if deadline < own {
                let all = self.options.request_timeout.unwrap_or_default();
                format!("not done within request_timeout={}", humantime::format_duration(all))
            } else {
                let limit_text = humantime::format_duration(limit);
                match phase {
                    Phase::Answer { .. } => format!("no answer within first_byte_timeout={limit_text}"),
                    Phase::Bytes => format!("no byte came within idle_timeout={limit_text}"),
                }
            };
            return Poll::Ready(Failure::new(Kind::TimedOut, said));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> HttpOptions {
        HttpOptions {
            first_byte_timeout: Duration::from_millis(30),
            idle_timeout: Duration::from_millis(20),
            request_timeout: Some(Duration::from_millis(60)),
            ..HttpOptions::default()
        }
    }

    async fn never() -> Result<(), Failure> {
        std::future::pending().await
    }

    #[tokio::test]
    async fn each_deadline_is_kept_and_named() {
        let options = options();
        for (phase, name) in
            [(Phase::Answer { sent: 0 }, "first_byte_timeout=30ms"), (Phase::Bytes, "idle_timeout=20ms")]
        {
            let mut watch = Watch::start(&options, Instant::now());
            let failure = watch.wait(phase, never()).await.unwrap_err();
            assert_eq!(failure.kind, Kind::TimedOut);
            assert!(failure.said.contains(name), "{}", failure.said);
        }
    }

    #[tokio::test]
    async fn bytes_that_trickle_end_at_the_whole_requests_deadline() {
        let options = options();
        let begin = Instant::now();
        let mut watch = Watch::start(&options, begin);
        let failure = loop {
            let trickle = async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok(())
            };
            if let Err(failure) = watch.wait(Phase::Bytes, trickle).await {
                break failure;
            }
        };
        assert!(failure.said.contains("request_timeout=60ms"), "{}", failure.said);
        assert!(begin.elapsed() >= Duration::from_millis(60));
    }
}
