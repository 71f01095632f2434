//! Heads and bodies of HTTP/1.1 as bytes on a connection: as much of it as a proxy needs that must be able
//! to send what no well-behaved library would.

use bytes::{Buf, Bytes, BytesMut};
use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// More than that is no head.
const LONGEST_HEAD: usize = 256 << 10;
/// What is read at once.
const PIECE: usize = 128 << 10;

/// The first line and the fields of a request or an answer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    first: String,
    fields: Vec<(String, String)>,
    /// As it came.
    raw: Bytes,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Known(u64),
    Chunked,
    UntilClose,
}

impl Head {
    pub(crate) fn parse(raw: Bytes) -> io::Result<Self> {
        let text = std::str::from_utf8(&raw).map_err(|_| malformed("a head that is not text"))?;
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        };
        let fields =
            lines.map(field).collect::<Option<_>>().ok_or_else(|| malformed("a field without a colon"))?;
        Ok(Head { first, fields, raw })
    }

    /// An answer of our own.
    pub(crate) fn answer(status: u16) -> Self {
        Head { first: format!("HTTP/1.1 {status} Injected"), fields: Vec::new(), raw: Bytes::new() }
    }

    pub(crate) fn raw(&self) -> &Bytes {
        &self.raw
    }

    pub(crate) fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    /// Path and query of a request, as they were sent.
    pub(crate) fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> io::Result<u16> {
        let status = self.first.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| malformed("an answer without a status"))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The range that a request asks for.
    pub(crate) fn range(&self) -> Option<&str> {
        self.get("x-ms-range").or(self.get("range"))
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// Takes out what says which bytes the body has.
    pub(crate) fn remove_digests(&mut self) {
        let digest = |name: &str| name.starts_with("x-amz-checksum-") || name.ends_with("content-md5");
        self.fields.retain(|(name, _)| !digest(&name.to_ascii_lowercase()));
    }

    pub(crate) fn set(&mut self, name: &str, value: impl ToString) {
        self.remove(name);
        self.fields.push((name.to_owned(), value.to_string()));
    }

    /// As it is sent after a change.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// Whether the sender closes the connection after this.
    pub(crate) fn closes(&self) -> bool {
        let connection = self.get("connection").unwrap_or_default().to_ascii_lowercase();
        connection.contains("close")
            || (self.first.contains("HTTP/1.0") && !connection.contains("keep-alive"))
    }

    /// Without a length a request has no body, and an answer one that lasts until the connection closes.
    pub(crate) fn length(&self) -> io::Result<Option<Length>> {
        if self.get("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked")) {
            return Ok(Some(Length::Chunked));
        }
        let Some(length) = self.get("content-length") else { return Ok(None) };
        let length = length.parse().map_err(|_| malformed("a content-length that is no number"))?;
        Ok(Some(Length::Known(length)))
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A connection and what was read of it too early.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    pending: BytesMut,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Wire { stream, pending: BytesMut::new() }
    }

    /// The next head; `None` if the connection ends before one begins.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        let mut searched = 0;
        loop {
            let from = searched.min(self.pending.len());
            if let Some(at) = self.pending[from..].windows(4).position(|four| four == b"\r\n\r\n") {
                return Head::parse(self.pending.split_to(from + at + 4).freeze()).map(Some);
            }
            searched = self.pending.len().saturating_sub(3);
            if self.pending.len() > LONGEST_HEAD {
                return Err(malformed("a head without an end"));
            }
            if !self.more().await? {
                if self.pending.is_empty() {
                    return Ok(None);
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Some of the next `most` bytes; empty at the connection's end.
    pub(crate) async fn some(&mut self, most: u64) -> io::Result<Bytes> {
        if self.pending.is_empty() {
            self.more().await?;
        }
        let len = usize::try_from(most).unwrap_or(usize::MAX).min(self.pending.len());
        Ok(self.pending.split_to(len).freeze())
    }

    /// All of a body, taken out of its chunks.
    pub(crate) async fn body(&mut self, length: Length) -> io::Result<Bytes> {
        match length {
            Length::Known(len) => self.exactly(len as usize).await,
            Length::UntilClose => {
                while self.more().await? {}
                Ok(self.pending.split().freeze())
            }
            Length::Chunked => self.chunks().await,
        }
    }

    async fn exactly(&mut self, len: usize) -> io::Result<Bytes> {
        while self.pending.len() < len {
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.pending.split_to(len).freeze())
    }

    async fn chunks(&mut self) -> io::Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| malformed("a chunk without a size"))?;
            if size == 0 {
                // Trailers, and the empty line behind them.
                while !self.line().await?.is_empty() {}
                return Ok(body.freeze());
            }
            body.extend_from_slice(&self.exactly(size).await?);
            if !self.line().await?.is_empty() {
                return Err(malformed("a chunk longer than its size"));
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.pending.windows(2).position(|two| two == b"\r\n") {
                let line = self.pending.split_to(at);
                self.pending.advance(2);
                return String::from_utf8(line.to_vec()).map_err(|_| malformed("a line that is not text"));
            }
            if self.pending.len() > LONGEST_HEAD || !self.more().await? {
                return Err(malformed("a line without an end"));
            }
        }
    }

    async fn more(&mut self) -> io::Result<bool> {
        self.pending.reserve(PIECE);
        Ok(self.stream.read_buf(&mut self.pending).await? > 0)
    }

    /// Ends when the other side has hung up. What it sends meanwhile is kept for later.
    pub(crate) async fn hung_up(&mut self) {
        while let Ok(true) = self.more().await {}
    }
}
