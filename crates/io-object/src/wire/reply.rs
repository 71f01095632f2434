//! An answer: its head, and its body as it comes.

use super::body::WireBody;
use super::connection::{Connection, Framing, Head};
use super::pool::Pool;
use crate::{Answer, Failure, Head as Said, Incoming, gather, read_header};
use std::sync::Arc;

/// The head of an answer and what follows it.
pub struct Reply {
    head: Head,
    body: WireBody,
}

impl Reply {
    pub(super) fn new(head: Head, connection: Connection, pool: Option<Arc<Pool>>) -> Self {
        let pool = pool.filter(|_| head.keeps);
        let body = WireBody::new(head.framing, connection, pool);
        Reply { head, body }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// Whether the status says that all is well.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.head.status)
    }

    /// Names, as the service writes them, and values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.fields.iter().map(|&[name, name_len, value, value_len]| {
            let part = |at: u32, len: u32| &self.head.bytes[at as usize..][..len as usize];
            (std::str::from_utf8(part(name, name_len)).unwrap_or_default(), part(value, value_len))
        })
    }

    /// The value of a field, whatever the case of its name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok().map(str::trim)
    }

    /// The body, to be read into the caller's memory.
    pub fn into_body(self) -> Box<dyn Incoming> {
        Box::new(self.body)
    }

    /// What it says about an object, as an answer to HEAD.
    ///
    /// # Errors
    /// As [`read_header`].
    pub fn said(&self) -> Result<Said, Failure> {
        Ok(read_header(self.status(), self.fields())?.0)
    }

    /// The same with the bytes that follow, as an answer to GET.
    ///
    /// # Errors
    /// As [`read_header`].
    pub fn into_answer(self) -> Result<Answer, Failure> {
        let status = self.status();
        let (head, range) = read_header(status, self.fields())?;
        Ok(Answer { status, head, range, body: self.into_body() })
    }

    /// The whole body, of at most `limit` bytes, where it is what was asked for; its failures have the status.
    ///
    /// # Errors
    /// As [`gather`](Self::gather).
    pub async fn document(mut self, limit: usize) -> Result<Vec<u8>, Failure> {
        let status = self.status();
        self.gather(limit).await.map_err(|failure| failure.with_status(status))
    }

    /// The whole body, of at most `limit` bytes.
    ///
    /// # Errors
    /// `Corrupt` if it is longer, `Unavailable` if it is cut off.
    pub async fn gather(&mut self, limit: usize) -> Result<Vec<u8>, Failure> {
        let due = match self.head.framing {
            Framing::Length(due) => Some(due),
            Framing::Chunked | Framing::UntilClose => None,
        };
        gather(&mut self.body, limit, due).await
    }
}
