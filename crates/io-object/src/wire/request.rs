//! The head of a request, written as it is sent.

use super::Endpoint;
use crate::Proxy;
use std::io::Write as _;

/// A request under construction. Names and values are checked where they are not ours: a line break in one
/// would be a second field.
#[derive(Clone)]
pub struct Request {
    head: Vec<u8>,
    method: &'static str,
}

impl Request {
    /// A request for `target`, which is percent-encoded already, of the host `authority`.
    pub fn new(method: &'static str, target: &str, authority: &str) -> Self {
        let mut head = Vec::with_capacity(640);
        for part in [method, " ", target, " HTTP/1.1\r\nhost: ", authority, "\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        Request { head, method }
    }

    /// Adds a field. Control characters in the value become blanks.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.head.extend_from_slice(name.as_bytes());
        self.head.extend_from_slice(b": ");
        self.head.extend(value.bytes().map(|byte| if byte < b' ' || byte == 0x7f { b' ' } else { byte }));
        self.head.extend_from_slice(b"\r\n");
        self
    }

    /// The head so far, with whatever secrets are in it.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The whole head, for a body of so many bytes. For a proxy that is to read it, with the whole URL and with
    /// who asks.
    pub(super) fn finish(mut self, len: u64, via: Option<(&Endpoint, &Proxy)>) -> Vec<u8> {
        if let Some((endpoint, proxy)) = via {
            let at = self.method.len() + 1;
            self.head.splice(at..at, format!("http://{}", endpoint.authority()).into_bytes());
            if let Some(authorization) = proxy.authorization() {
                self = self.field("proxy-authorization", authorization.expose());
            }
        }
        if len > 0 || matches!(self.method, "PUT" | "POST") {
            let _ = write!(self.head, "content-length: {len}\r\n");
        }
        self.head.extend_from_slice(b"\r\n");
        self.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_as_the_protocol_has_it() {
        let request = Request::new("GET", "/b/k", "h:1").field("range", "bytes=0-1");
        assert_eq!(request.finish(0, None), b"GET /b/k HTTP/1.1\r\nhost: h:1\r\nrange: bytes=0-1\r\n\r\n");
        let put = Request::new("PUT", "/", "h").field("x", "a\r\nevil: 1").finish(3, None);
        assert_eq!(put, b"PUT / HTTP/1.1\r\nhost: h\r\nx: a  evil: 1\r\ncontent-length: 3\r\n\r\n");
    }

    #[test]
    fn a_proxy_is_told_the_whole_url_and_who_asks() {
        let endpoint = Endpoint::parse("http://h:1").unwrap();
        let proxy = "http://u:p@proxy:3128".parse().unwrap();
        let head = Request::new("GET", "/b/k", "h:1").finish(0, Some((&endpoint, &proxy)));
        let said = "GET http://h:1/b/k HTTP/1.1\r\nhost: h:1\r\nproxy-authorization: Basic dTpw\r\n\r\n";
        assert_eq!(String::from_utf8(head).unwrap(), said);
    }
}
