//! Operations as spans of `tracing`, with the feature `tracing`; without it nothing is here, and nothing costs.
//!
//! A span is open from when an operation was asked for until it ended: `operation`, target `forebay::operation`,
//! level DEBUG, with `op`, `uri` (without credentials), `offset` and `len` where a part was asked for, `sample`,
//! `stage`, `attempt`, and when it ends `bytes`, or `error` with the kind.

use crate::{End, Op};

/// The open spans of some operations. Dropped before [`Spans::end`], they were cancelled.
#[derive(Default)]
pub(super) struct Spans {
    #[cfg(feature = "tracing")]
    open: Vec<tracing::Span>,
}

#[cfg(feature = "tracing")]
impl Spans {
    /// Opens one for each operation, if somebody listens.
    pub(super) fn of(ops: &[Op<'_>]) -> Spans {
        if !super::spans_wanted() {
            return Spans::default();
        }
        let open = |op: &Op<'_>| {
            let span = tracing::debug_span!(
                target: "forebay::operation",
                "operation",
                op = op.operation.name(),
                uri = %op.location,
                offset = tracing::field::Empty,
                len = tracing::field::Empty,
                sample = op.sample,
                stage = op.stage,
                attempt = op.attempt,
                bytes = tracing::field::Empty,
                error = tracing::field::Empty,
            );
            if let Some(range) = &op.range {
                span.record("offset", range.start);
                span.record("len", range.end.saturating_sub(range.start));
            }
            span
        };
        Spans { open: ops.iter().map(open).collect() }
    }

    /// Closes them with how each operation ended.
    pub(super) fn end(mut self, ends: &[End]) {
        for (span, end) in std::mem::take(&mut self.open).iter().zip(ends) {
            match end {
                End::Done(served) => span.record("bytes", served.bytes),
                End::Failed(kind) => span.record("error", kind.name()),
                End::Cancelled => span.record("error", "cancelled"),
            };
        }
    }
}

#[cfg(not(feature = "tracing"))]
impl Spans {
    pub(super) fn of(_: &[Op<'_>]) -> Spans {
        Spans::default()
    }

    pub(super) fn end(self, _: &[End]) {}
}

#[cfg(feature = "tracing")]
impl Drop for Spans {
    fn drop(&mut self) {
        for span in &self.open {
            span.record("error", "cancelled");
        }
    }
}
