//! One connection: a socket, with or without TLS, and what was read of it ahead of its use.

use super::low_water::LowWater;
use crate::{Failure, Payload};
use forebay_io::Kind;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Room for a head; most are below 1 KiB, and what comes with it of the body is copied once from here.
const READ_AHEAD: usize = 8 << 10;
/// A head that is longer than this is none.
const LONGEST_HEAD: usize = 128 << 10;
const FIELDS: usize = 96;

enum Stream {
    Plain(TcpStream, LowWater),
    /// Woken by any bytes: how many of them a record takes is not known before.
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) struct Connection {
    stream: Stream,
    /// `buffer[start..end]` was read and not used.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// The head of an answer, taken apart.
pub(super) struct Head {
    pub(super) status: u16,
    /// The head's own bytes, and where name and value of each field are in them.
    pub(super) bytes: Vec<u8>,
    pub(super) fields: Vec<[u32; 4]>,
    pub(super) framing: Framing,
    /// Whether another request may follow on the connection.
    pub(super) keeps: bool,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Connection {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self::over(Stream::Plain(stream, LowWater::new()))
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::over(Stream::Tls(Box::new(stream)))
    }

    fn over(stream: Stream) -> Self {
        Connection { stream, buffer: vec![0; READ_AHEAD], start: 0, end: 0 }
    }

    /// The socket, if nothing was read of it that was not used and it is not encrypted.
    pub(super) fn into_quiet(self) -> Option<TcpStream> {
        match self.stream {
            Stream::Plain(stream, _) if self.start == self.end => Some(stream),
            _ => None,
        }
    }

    /// Whether nothing came since the last answer: neither the end nor bytes that nobody asked for.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut into = ReadBuf::new(&mut byte);
        self.start == self.end
            && self.poll_stream(&mut Context::from_waker(Waker::noop()), &mut into).is_pending()
    }

    pub(super) async fn send(&mut self, head: &[u8], payload: &Payload) -> Result<(), Failure> {
        let broke = |error: io::Error| Failure::cut_off("the connection broke in a request", Some(&error));
        self.write(head).await.map_err(broke)?;
        for chunk in payload.chunks() {
            self.write(chunk).await.map_err(broke)?;
        }
        match &mut self.stream {
            Stream::Plain(..) => Ok(()),
            Stream::Tls(stream) => stream.flush().await.map_err(broke),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream, _) => stream.write_all(bytes).await,
            Stream::Tls(stream) => stream.write_all(bytes).await,
        }
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream, _) => Pin::new(stream).poll_read(cx, into),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, into),
        }
    }

    /// Bytes straight into the reader's memory, after those that were read ahead. 0 at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.start < self.end {
            let len = into.len().min(self.end - self.start);
            into[..len].copy_from_slice(&self.buffer[self.start..self.start + len]);
            self.start += len;
            return Poll::Ready(Ok(len));
        }
        let mut into = ReadBuf::new(into);
        ready!(self.poll_stream(cx, &mut into))?;
        Poll::Ready(Ok(into.filled().len()))
    }

    /// Nothing is there now: the next wake-up may wait for many of the `left` bytes that are due.
    pub(super) fn wait_for(&mut self, left: u64) {
        if let Stream::Plain(stream, low_water) = &mut self.stream {
            low_water.wait_for(stream, left);
        }
    }

    /// Whatever comes is to be woken for.
    pub(super) fn take_any(&mut self) {
        if let Stream::Plain(stream, low_water) = &mut self.stream {
            low_water.take_any(stream);
        }
    }

    /// The answer is over.
    pub(super) fn rest(&mut self) {
        if let Stream::Plain(stream, low_water) = &mut self.stream {
            low_water.reset(stream);
        }
    }

    /// Reads ahead. 0 at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                self.buffer.resize(self.end * 2, 0);
            }
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut into = ReadBuf::new(&mut buffer[self.end..]);
        let result = self.poll_stream(cx, &mut into);
        let more = into.filled().len();
        self.buffer = buffer;
        ready!(result)?;
        self.end += more;
        Poll::Ready(Ok(more))
    }

    /// A line without its end, read ahead as far as needed: of the framing of chunks.
    pub(super) fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<u8>, Failure>> {
        loop {
            let ahead = &self.buffer[self.start..self.end];
            if let Some(at) = ahead.iter().position(|&byte| byte == b'\n') {
                let line = ahead[..at].strip_suffix(b"\r").unwrap_or(&ahead[..at]).to_vec();
                self.start += at + 1;
                return Poll::Ready(Ok(line));
            }
            if ahead.len() > READ_AHEAD {
                return Poll::Ready(Err(Failure::new(Kind::Corrupt, "a body whose chunks have no lengths")));
            }
            match ready!(self.poll_more(cx)) {
                Ok(0) => return Poll::Ready(Err(cut_off())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(broken(&error))),
            }
        }
    }

    /// Waits for the head of an answer; that it will be followed by a body says `head_only` not.
    pub(super) async fn reply(&mut self, head_only: bool) -> Result<Head, Failure> {
        loop {
            let ahead = &self.buffer[self.start..self.end];
            if let Some((head, len)) = parse(ahead, head_only)? {
                self.start += len;
                // "100 Continue" and its like are not the answer.
                if head.status >= 200 {
                    return Ok(head);
                }
                continue;
            }
            if ahead.len() > LONGEST_HEAD {
                return Err(Failure::new(Kind::Corrupt, "an answer whose head has no end"));
            }
            match poll_fn(|cx| self.poll_more(cx)).await {
                Ok(0) => {
                    return Err(Failure::cut_off("the connection was closed before an answer came", None));
                }
                Ok(_) => {}
                Err(error) => {
                    return Err(Failure::cut_off("the connection broke before an answer", Some(&error)));
                }
            }
        }
    }
}

/// The body ended before its length was there.
pub(super) fn cut_off() -> Failure {
    Failure::cut_off("the connection was closed before the body's end", None)
}

/// The socket failed in a body.
pub(super) fn broken(error: &io::Error) -> Failure {
    Failure::cut_off("the connection broke before the body's end", Some(error))
}

/// The head at the beginning of `ahead` and its length, if all of it is there.
fn parse(ahead: &[u8], head_only: bool) -> Result<Option<(Head, usize)>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    let wrong = |what: String| Failure::new(Kind::Corrupt, format!("an answer that is not HTTP: {what}"));
    let len = match parsed.parse(ahead) {
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(httparse::Status::Complete(len)) => len,
        Err(error) => return Err(wrong(error.to_string())),
    };
    let status = parsed.code.unwrap_or_default();
    let (mut keeps, mut length, mut chunked) = (parsed.version == Some(1), None, false);
    let at = |part: &[u8]| (part.as_ptr() as usize - ahead.as_ptr() as usize) as u32;
    let mut spans = Vec::with_capacity(parsed.headers.len());
    for field in &*parsed.headers {
        let (name, value) = (field.name.as_bytes(), field.value);
        spans.push([at(name), name.len() as u32, at(value), value.len() as u32]);
        let says = |word: &str| value.trim_ascii().eq_ignore_ascii_case(word.as_bytes());
        if field.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<u64>().ok());
            let found = text.ok_or_else(|| wrong("its Content-Length is no number".into()))?;
            if length.is_some_and(|length| length != found) {
                return Err(wrong("it has two lengths".into()));
            }
            length = Some(found);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if !says("chunked") {
                return Err(wrong("its Transfer-Encoding is not chunked".into()));
            }
            chunked = true;
        } else if field.name.eq_ignore_ascii_case("connection") {
            if says("close") {
                keeps = false;
            } else if says("keep-alive") {
                keeps = true;
            }
        }
    }
    let framing = match (chunked, length) {
        _ if head_only || status < 200 || status == 204 || status == 304 => Framing::Length(0),
        (true, _) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    };
    keeps &= framing != Framing::UntilClose;
    Ok(Some((Head { status, bytes: ahead[..len].to_vec(), fields: spans, framing, keeps }, len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_are_taken_apart() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"e\"\r\n\r\nhello";
        let (head, len) = parse(text, false).unwrap().unwrap();
        assert_eq!(
            (head.status, len, head.framing, head.keeps),
            (200, text.len() - 5, Framing::Length(5), true)
        );
        assert!(parse(&text[..30], false).unwrap().is_none());
        let (head, _) = parse(text, true).unwrap().unwrap();
        assert_eq!(head.framing, Framing::Length(0));
        let close = b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        let (head, _) = parse(close, false).unwrap().unwrap();
        assert_eq!((head.framing, head.keeps), (Framing::Chunked, false));
        let (head, _) = parse(b"HTTP/1.0 200 OK\r\n\r\n", false).unwrap().unwrap();
        assert_eq!((head.framing, head.keeps), (Framing::UntilClose, false));
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
        ] {
            assert_eq!(parse(text.as_bytes(), false).err().map(|failure| failure.kind), Some(Kind::Corrupt));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, false);
            let _ = parse(&[b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat(), false);
        }
    }
}
