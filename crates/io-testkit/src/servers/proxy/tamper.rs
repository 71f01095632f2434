//! What is done to one answer.

use super::exchange::Then;
use super::fault::{At, Framing, HttpFault};
use super::message::{Head, Wire};
use super::{Drawn, Shared};
use bytes::{Bytes, BytesMut};
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

/// Whose words an error has to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    S3,
    Azure,
}

impl Service {
    /// Azure's clients name the version of its protocol in every request.
    pub(super) fn of(request: &Head) -> Self {
        match request.get("x-ms-version").or(request.get("x-ms-date")) {
            Some(_) => Service::Azure,
            None => Service::S3,
        }
    }
}

/// An answer with all of its body at hand.
#[derive(Debug)]
pub(super) struct Answer {
    head: Head,
    content: Bytes,
}

impl Answer {
    /// What came from upstream; that of a HEAD keeps the length of the body that it does not have.
    pub(super) fn new(mut head: Head, content: Bytes, headless: bool) -> Self {
        if !headless {
            head.remove("transfer-encoding");
            head.set("content-length", content.len());
        }
        Answer { head, content }
    }
}

/// The answer that takes the place of the server's, for faults that do not ask it.
pub(super) fn instead(fault: &HttpFault, service: Service, request: &Head) -> Option<Answer> {
    let (status, code, retry_after) = match (fault, service) {
        (HttpFault::Status { status, code, retry_after }, _) => {
            (*status, code.unwrap_or_else(|| own_code(*status, service)), *retry_after)
        }
        (HttpFault::Expired, Service::S3) => (400, "ExpiredToken", None),
        (HttpFault::Expired, Service::Azure) => (403, "AuthenticationFailed", None),
        (HttpFault::Replaced, Service::S3) if request.get("if-match").is_some() => {
            (412, "PreconditionFailed", None)
        }
        (HttpFault::Replaced, Service::Azure) if request.get("if-match").is_some() => {
            (412, "ConditionNotMet", None)
        }
        _ => return None,
    };
    let content = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>injected</Message></Error>"
    );
    let mut head = Head::answer(status);
    head.set("content-type", "application/xml");
    head.set("content-length", content.len());
    if service == Service::Azure {
        head.set("x-ms-error-code", code);
    }
    if let Some(pause) = retry_after {
        head.set("retry-after", pause.as_secs());
    }
    Some(Answer { head, content: content.into() })
}

/// What the service says with a status, as its reference lists it.
fn own_code(status: u16, service: Service) -> &'static str {
    match (status, service) {
        (400, Service::S3) => "RequestTimeout",
        (400, Service::Azure) => "InvalidInput",
        (403, Service::S3) => "AccessDenied",
        (403, Service::Azure) => "AuthorizationFailure",
        (404, Service::S3) => "NoSuchKey",
        (404, Service::Azure) => "BlobNotFound",
        (412, Service::S3) => "PreconditionFailed",
        (412, Service::Azure) => "ConditionNotMet",
        (429, _) => "TooManyRequests",
        (500, Service::Azure) => "OperationTimedOut",
        (503, Service::S3) => "SlowDown",
        (503, Service::Azure) => "ServerBusy",
        _ => "InternalError",
    }
}

/// Sends an answer as it is.
pub(super) async fn send(client: &mut Wire, request: &Head, answer: &Answer, then: Then) -> io::Result<Then> {
    client.stream.write_all(&answer.head.write()).await?;
    if request.method() != "HEAD" {
        client.stream.write_all(&answer.content).await?;
    }
    Ok(then)
}

/// Sends an answer with what was drawn for it, or as it is where that cannot be done to it.
pub(super) async fn spoil(
    shared: &Shared,
    client: &mut Wire,
    request: &Head,
    mut answer: Answer,
    drawn: Drawn,
    then: Then,
) -> io::Result<Then> {
    let len = answer.content.len();
    let Drawn { fault, noise, mut released } = drawn;
    match &fault {
        HttpFault::Reset(at) if at.offset(len).is_some() => {
            shared.count(&fault);
            begin(client, &answer, *at).await?;
            Ok(Then::Reset)
        }
        HttpFault::Truncate(at, framing) if at.offset(len).is_some() => {
            shared.count(&fault);
            match framing {
                Framing::Length => drop(begin(client, &answer, *at).await?),
                Framing::Close => {
                    answer.head.remove("content-length");
                    answer.head.set("connection", "close");
                    begin(client, &answer, *at).await?;
                }
                Framing::Chunked => {
                    answer.head.remove("content-length");
                    answer.head.set("transfer-encoding", "chunked");
                    let part = answer.content.slice(..at.offset(len).unwrap_or(0));
                    let mut bytes = answer.head.write();
                    if !part.is_empty() {
                        bytes.extend(format!("{:x}\r\n", part.len()).into_bytes());
                        bytes.extend_from_slice(&part);
                        bytes.extend(b"\r\n");
                    }
                    client.stream.write_all(&bytes).await?;
                }
            }
            Ok(Then::Close)
        }
        HttpFault::WrongLength(by) if len > 0 => {
            shared.count(&fault);
            let wrong = (len as u64).saturating_add_signed(*by);
            answer.head.set("content-length", wrong);
            send(client, request, &answer, Then::Close).await
        }
        HttpFault::FlipByte if len > 0 => {
            shared.count(&fault);
            let mut content = BytesMut::from(&answer.content[..]);
            content[(noise % len as u64) as usize] ^= 1 << (noise >> 61);
            answer.content = content.freeze();
            send(client, request, &answer, then).await
        }
        HttpFault::Replaced if answer.head.get("etag").is_some() => {
            shared.count(&fault);
            answer.head.set("etag", "\"replaced-meanwhile\"");
            answer.head.remove_digests();
            answer.content = answer.content.iter().map(|byte| !byte).collect();
            send(client, request, &answer, then).await
        }
        HttpFault::Stall(Some(at), time) if at.offset(len).is_some() => {
            shared.count(&fault);
            let rest = begin(client, &answer, *at).await?;
            if !stall(&mut released, client, *time).await {
                return Ok(Then::Close);
            }
            client.stream.write_all(&rest).await?;
            Ok(then)
        }
        HttpFault::Trickle { piece, every } if len > 0 => {
            shared.count(&fault);
            client.stream.write_all(&answer.head.write()).await?;
            for piece in answer.content.chunks(*piece) {
                client.stream.write_all(piece).await?;
                if !stall(&mut released, client, *every).await {
                    return Ok(Then::Close);
                }
            }
            Ok(then)
        }
        _ => send(client, request, &answer, then).await,
    }
}

/// Sends the head, and the body up to a point; returns the rest.
async fn begin(client: &mut Wire, answer: &Answer, at: At) -> io::Result<Bytes> {
    let at = at.offset(answer.content.len()).unwrap_or(0);
    client.stream.write_all(&answer.head.write()).await?;
    client.stream.write_all(&answer.content[..at]).await?;
    Ok(answer.content.slice(at..))
}

/// Waits; `false` if the client has hung up meanwhile.
pub(super) async fn stall(released: &mut watch::Receiver<()>, client: &mut Wire, time: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        _ = released.changed() => true,
        () = client.hung_up() => false,
    }
}
