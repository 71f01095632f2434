//! One HTTP/1.1 request over one connection, without any client's opinions: for setting servers up and for
//! looking at exactly what they answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Nothing here takes long; a server that hangs must fail the test and not hang it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body as far as it came, chunks joined.
    pub body: Vec<u8>,
    /// Whether all of the body came that its framing promised.
    pub whole: bool,
}

impl Ask {
    /// `target` is path and query as they are sent.
    pub fn new(method: &str, target: &str) -> Self {
        Ask { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sends these bytes, with their length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    pub(crate) fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Sends it over a connection of its own. Blocks.
    ///
    /// # Errors
    /// What the connection says, up to the end of the answer's head. A body that breaks off is an answer
    /// that is not [`whole`](Answer::whole).
    pub fn send(&self, to: SocketAddr) -> io::Result<Answer> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        self.send_on(&mut stream, to, "close")
    }

    /// Sends it over a connection that stays open for more.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_along(&self, stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
        let to = stream.get_ref().peer_addr()?;
        self.send_on(stream, to, "keep-alive")
    }

    fn send_on(&self, stream: &mut BufReader<TcpStream>, to: SocketAddr, after: &str) -> io::Result<Answer> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nhost: {to}\r\nconnection: {after}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "PUT" | "POST") {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(&self.body);
        stream.get_mut().write_all(&bytes)?;
        loop {
            let answer = read_answer(stream, &self.method)?;
            if answer.status != 100 {
                return Ok(answer);
            }
        }
    }
}

impl Answer {
    /// The value of a header, its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn read_answer(stream: &mut impl BufRead, method: &str) -> io::Result<Answer> {
    let malformed = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let status_line = line(stream)?;
    let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| malformed(&format!("not a status line: {status_line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("a header without a colon"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new(), whole: true };
    if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
        return Ok(answer);
    }
    if answer.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        answer.whole = read_chunks(stream, &mut answer.body).is_ok();
    } else if let Some(len) = answer.header("content-length") {
        let len: u64 = len.parse().map_err(|_| malformed("a content-length that is no number"))?;
        let outcome = stream.take(len).read_to_end(&mut answer.body);
        answer.whole = outcome.is_ok() && answer.body.len() as u64 == len;
    } else {
        answer.whole = stream.read_to_end(&mut answer.body).is_ok();
    }
    Ok(answer)
}

fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = line(stream)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let before = body.len() as u64;
        stream.take(size).read_to_end(body)?;
        if body.len() as u64 - before != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let after = line(stream)?;
        if size == 0 {
            // Trailers end with an empty line as well.
            let mut trailer = after;
            while !trailer.is_empty() {
                trailer = line(stream)?;
            }
            return Ok(());
        }
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.pop_if(|last| *last == b'\r');
    String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into())
}
