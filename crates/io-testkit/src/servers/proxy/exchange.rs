//! One connection of a client: request after request is passed on, and answer after answer comes back, or
//! something goes wrong.

use super::fault::HttpFault;
use super::message::{Head, Length, Wire};
use super::plan::Asked;
use super::tamper::{self, Answer, Service};
use super::{Drawn, Open, Shared};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What becomes of the client's connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Next,
    /// In order: FIN.
    Close,
    /// RST.
    Reset,
}

pub(super) async fn connection(shared: Arc<Shared>, client: TcpStream, number: u64) {
    let _open = Open::new(shared.clone());
    let mut client = Wire::new(client);
    let then = match shared.draw(&Asked::Connection) {
        Some(drawn) => {
            shared.count(&drawn.fault);
            Then::Reset
        }
        // Where either side broke off there is nobody to tell.
        None => exchanges(&shared, &mut client, number).await.unwrap_or(Then::Reset),
    };
    match then {
        Then::Reset => drop(client.stream.set_zero_linger()),
        Then::Next | Then::Close => drop(client.stream.shutdown().await),
    }
}

/// Requests until one ends the connection. A connection to the server behind outlasts the client's, which is what
/// faults are for: without this each of them would cost that server a connection, too.
async fn exchanges(shared: &Shared, client: &mut Wire, number: u64) -> io::Result<Then> {
    let mut upstream = shared.idle.lock().pop();
    let then = exchanges_over(shared, client, &mut upstream, number).await?;
    // Only after whole exchanges: an error leaves it amid an answer.
    shared.idle.lock().extend(upstream);
    Ok(then)
}

async fn exchanges_over(
    shared: &Shared,
    client: &mut Wire,
    upstream: &mut Option<Wire>,
    number: u64,
) -> io::Result<Then> {
    while let Some(request) = client.head().await? {
        let drawn = shared.draw(&Asked::Request(&request));
        shared.note(number, &request, drawn.as_ref().map(|drawn| &drawn.fault));
        if request.get("expect").is_some_and(|expect| expect.eq_ignore_ascii_case("100-continue")) {
            client.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = match request.length()? {
            Some(length) => client.body(length).await?,
            None => Bytes::new(),
        };
        let then = match drawn {
            None => pass(shared, client, upstream, &request, &body).await?,
            Some(drawn) => spoil(shared, client, upstream, &request, &body, drawn).await?,
        };
        if then != Then::Next || request.closes() {
            return Ok(if then == Then::Next { Then::Close } else { then });
        }
    }
    Ok(Then::Close)
}

/// Asks the server behind, over the connection that is open to it, and returns the head of its answer.
async fn ask(shared: &Shared, upstream: &mut Option<Wire>, request: &Head, body: &Bytes) -> io::Result<Head> {
    // One that was idle may have been closed meanwhile; the server has not seen the request then.
    if let Some(mut wire) = upstream.take()
        && let Ok(head) = ask_on(&mut wire, request, body).await
    {
        *upstream = Some(wire);
        return Ok(head);
    }
    let stream = TcpStream::connect(shared.upstream).await?;
    stream.set_nodelay(true)?;
    let mut wire = Wire::new(stream);
    let head = ask_on(&mut wire, request, body).await?;
    *upstream = Some(wire);
    Ok(head)
}

async fn ask_on(wire: &mut Wire, request: &Head, body: &Bytes) -> io::Result<Head> {
    if request.length()? == Some(Length::Chunked) {
        // It was taken out of its chunks.
        let mut request = request.clone();
        request.remove("transfer-encoding");
        request.set("content-length", body.len());
        wire.stream.write_all(&request.write()).await?;
    } else {
        wire.stream.write_all(request.raw()).await?;
    }
    wire.stream.write_all(body).await?;
    loop {
        let head = wire.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        // Interim answers, such as to `Expect`, are between the two of us.
        if head.status()? >= 200 {
            return Ok(head);
        }
    }
}

/// How long the body of this answer is.
fn body_length(request: &Head, answer: &Head) -> io::Result<Length> {
    let none = request.method() == "HEAD" || matches!(answer.status()?, 204 | 304);
    if none {
        return Ok(Length::Known(0));
    }
    Ok(answer.length()?.unwrap_or(Length::UntilClose))
}

/// Request and answer as they are.
async fn pass(
    shared: &Shared,
    client: &mut Wire,
    upstream: &mut Option<Wire>,
    request: &Head,
    body: &Bytes,
) -> io::Result<Then> {
    let head = ask(shared, upstream, request, body).await?;
    let length = body_length(request, &head)?;
    let wire = upstream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
    match length {
        Length::Known(mut left) => {
            client.stream.write_all(head.raw()).await?;
            while left > 0 {
                let piece = wire.some(left).await?;
                if piece.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                left -= piece.len() as u64;
                client.stream.write_all(&piece).await?;
            }
        }
        Length::Chunked => {
            let content = wire.body(length).await?;
            client.stream.write_all(head.raw()).await?;
            if !content.is_empty() {
                client.stream.write_all(format!("{:x}\r\n", content.len()).as_bytes()).await?;
                client.stream.write_all(&content).await?;
                client.stream.write_all(b"\r\n").await?;
            }
            client.stream.write_all(b"0\r\n\r\n").await?;
        }
        Length::UntilClose => {
            client.stream.write_all(head.raw()).await?;
            loop {
                let piece = wire.some(u64::MAX).await?;
                if piece.is_empty() {
                    break;
                }
                client.stream.write_all(&piece).await?;
            }
            *upstream = None;
            return Ok(Then::Close);
        }
    }
    if head.closes() {
        *upstream = None;
        return Ok(Then::Close);
    }
    Ok(Then::Next)
}

/// Request and answer with something wrong.
async fn spoil(
    shared: &Shared,
    client: &mut Wire,
    upstream: &mut Option<Wire>,
    request: &Head,
    body: &Bytes,
    mut drawn: Drawn,
) -> io::Result<Then> {
    let fault = &drawn.fault;
    let service = Service::of(request);
    if let Some(instead) = tamper::instead(fault, service, request) {
        shared.count(fault);
        return tamper::send(client, request, &instead, Then::Next).await;
    }
    if let HttpFault::Stall(None, time) = fault {
        shared.count(fault);
        if !tamper::stall(&mut drawn.released, client, *time).await {
            return Ok(Then::Close);
        }
        return pass(shared, client, upstream, request, body).await;
    }
    let head = ask(shared, upstream, request, body).await?;
    let length = body_length(request, &head)?;
    let wire = upstream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
    let content = wire.body(length).await?;
    if head.closes() || length == Length::UntilClose {
        *upstream = None;
    }
    let answer = Answer::new(head, content, request.method() == "HEAD");
    let then = if upstream.is_some() { Then::Next } else { Then::Close };
    tamper::spoil(shared, client, request, answer, drawn, then).await
}
