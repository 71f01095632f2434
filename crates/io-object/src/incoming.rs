//! The body of an answer, read by whoever owns the memory it goes to.

use crate::Failure;
use bytes::{Buf as _, Bytes};
use futures::Stream;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes of an answer. Dropping it gives the rest up.
pub trait Incoming: Send {
    /// Writes the next bytes to the front of `into`, which is not empty, and says how many: 0 at the end of
    /// the body, and only there.
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, Failure>>;

    /// Who waits for bytes has waited for long, and wants to be woken for any that come, however few. Without it a
    /// body may wake for many at once.
    fn take_any(&mut self);
}

/// A body that a client gives in pieces of its own: one copy into the reader's memory.
pub struct Chunks<S> {
    stream: Pin<Box<S>>,
    rest: Bytes,
}

impl<S> Chunks<S> {
    /// A body of these pieces.
    pub fn new(stream: S) -> Self {
        Chunks { stream: Box::pin(stream), rest: Bytes::new() }
    }
}

impl<S: Stream<Item = Result<Bytes, Failure>> + Send> Incoming for Chunks<S> {
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, Failure>> {
        while self.rest.is_empty() {
            match ready!(self.stream.as_mut().poll_next(cx)) {
                None => return Poll::Ready(Ok(0)),
                Some(chunk) => self.rest = chunk?,
            }
        }
        let len = self.rest.len().min(into.len());
        self.rest.copy_to_slice(&mut into[..len]);
        Poll::Ready(Ok(len))
    }

    fn take_any(&mut self) {}
}

/// The next bytes of a body; 0 at its end.
///
/// # Errors
/// As [`Incoming::poll_fill`].
pub async fn fill(body: &mut dyn Incoming, into: &mut [u8]) -> Result<usize, Failure> {
    poll_fn(|cx| body.poll_fill(cx, into)).await
}

/// A whole body of at most `limit` bytes: for answers that are not an object (a page of a listing, the text
/// of an error). Where it is known to have `due` bytes they are one piece of memory from the beginning.
///
/// # Errors
/// `Corrupt` if it is longer.
pub async fn gather(body: &mut dyn Incoming, limit: usize, due: Option<u64>) -> Result<Vec<u8>, Failure> {
    let due = due.and_then(|due| usize::try_from(due).ok()).filter(|&due| due <= limit);
    // One byte more, so that the end is found without room for what does not come.
    let (mut all, mut filled) = (vec![0; due.map_or(8 << 10, |due| due + 1)], 0);
    loop {
        if filled > limit {
            return Err(Failure::new(
                forebay_io::Kind::Corrupt,
                format!("an answer of more than {limit} bytes where a short one was due"),
            ));
        }
        // What is free is kept from one piece to the next: clearing it anew would cost more than the pieces do.
        if filled == all.len() {
            all.resize(filled + filled.clamp(8 << 10, 1 << 20), 0);
        }
        match fill(body, &mut all[filled..]).await? {
            0 => break,
            more => filled += more,
        }
    }
    all.truncate(filled);
    Ok(all)
}
