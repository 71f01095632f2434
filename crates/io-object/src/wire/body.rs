//! The body of an answer, read from its connection as it is asked for. At its end the connection goes back
//! to the pool; dropped before, it is closed.

use super::connection::{Connection, Framing, broken, cut_off};
use super::pool::Pool;
use crate::{Failure, Incoming};
use forebay_io::Kind;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pub(super) struct WireBody {
    connection: Option<Connection>,
    pool: Option<Arc<Pool>>,
    state: State,
}

enum State {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes of a chunk are left.
    Chunk(u64),
    /// The length of a chunk comes next.
    Size,
    /// The empty line behind a chunk comes next.
    After,
    /// Fields that nobody reads, up to an empty line.
    Trailer,
    UntilClose,
    End,
}

impl WireBody {
    pub(super) fn new(framing: Framing, connection: Connection, pool: Option<Arc<Pool>>) -> Self {
        let state = match framing {
            Framing::Length(len) => State::Length(len),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
        let mut body = WireBody { connection: Some(connection), pool, state };
        if matches!(body.state, State::Length(0)) {
            body.end();
        }
        body
    }

    fn end(&mut self) {
        self.state = State::End;
        if let (Some(mut connection), Some(pool)) = (self.connection.take(), self.pool.take()) {
            connection.rest();
            pool.give(connection);
        }
    }
}

impl Incoming for WireBody {
    fn poll_fill(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<Result<usize, Failure>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(0)) };
            let left = match self.state {
                State::Length(left) | State::Chunk(left) => left,
                State::UntilClose => u64::MAX,
                State::End => return Poll::Ready(Ok(0)),
                State::Size => {
                    let line = ready!(connection.poll_line(cx))?;
                    self.state = match chunk_size(&line) {
                        Some(0) => State::Trailer,
                        Some(size) => State::Chunk(size),
                        None => {
                            let said = "a body with a chunk whose length is no number";
                            return Poll::Ready(Err(Failure::new(Kind::Corrupt, said)));
                        }
                    };
                    continue;
                }
                State::After => {
                    if !ready!(connection.poll_line(cx))?.is_empty() {
                        let said = "a body with a chunk that is longer than its length";
                        return Poll::Ready(Err(Failure::new(Kind::Corrupt, said)));
                    }
                    self.state = State::Size;
                    continue;
                }
                State::Trailer => {
                    if ready!(connection.poll_line(cx))?.is_empty() {
                        self.end();
                    }
                    continue;
                }
            };
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
            let len = match connection.poll_read(cx, &mut into[..room]) {
                Poll::Ready(Ok(len)) => len,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(&error))),
                Poll::Pending => {
                    if matches!(self.state, State::Length(_)) {
                        connection.wait_for(room as u64);
                    }
                    return Poll::Pending;
                }
            };
            match &mut self.state {
                State::UntilClose if len == 0 => self.end(),
                State::UntilClose => {}
                _ if len == 0 => return Poll::Ready(Err(cut_off())),
                State::Length(left) => {
                    *left -= len as u64;
                    if *left == 0 {
                        self.end();
                    }
                }
                State::Chunk(left) => {
                    *left -= len as u64;
                    if *left == 0 {
                        self.state = State::After;
                    }
                }
                State::Size | State::After | State::Trailer | State::End => {}
            }
            return Poll::Ready(Ok(len));
        }
    }

    fn take_any(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.take_any();
        }
    }
}

/// `1a;name=value`: the length of a chunk.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii();
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_chunks_are_hexadecimal() {
        assert_eq!(chunk_size(b"1a"), Some(26));
        assert_eq!(chunk_size(b"0;x=y"), Some(0));
        for wrong in [&b""[..], b"+1", b"-1", b"g", b"11111111111111111"] {
            assert_eq!(chunk_size(wrong), None);
        }
    }
}
