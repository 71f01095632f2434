//! A way through a proxy that carries bytes unseen: what `CONNECT` asks for (RFC 9110, 9.3.6).

use super::connection::Connection;
use super::{Endpoint, Request};
use crate::{Failure, Payload, Proxy};
use forebay_io::Kind;
use tokio::net::TcpStream;

/// Asks the proxy at the other end of `stream` for a way to `to`; from then on the other end is `to`.
pub(super) async fn through(proxy: &Proxy, to: &Endpoint, stream: TcpStream) -> Result<TcpStream, Failure> {
    let target = format!("{}:{}", to.host(), to.port());
    let mut request = Request::new("CONNECT", &target, &target);
    if let Some(authorization) = proxy.authorization() {
        request = request.field("proxy-authorization", authorization.expose());
    }
    let mut connection = Connection::plain(stream);
    connection.send(&request.finish(0, None), &Payload::default()).await?;
    // Nothing follows the head of a success but what the service itself sends, which waits for us to begin.
    let head = connection.reply(true).await?;
    let refused = |kind, what: &str| {
        Failure::new(kind, format!("the proxy {proxy} gives no way to {to}: {what}")).with_status(head.status)
    };
    match head.status {
        200..=299 => connection
            .into_quiet()
            .ok_or_else(|| refused(Kind::Corrupt, "it said more than that there is one")),
        status @ (401 | 407) => {
            let what = format!(
                "status {status}: it wants a user and password, as in proxy=http://USER:PASSWORD@{}",
                proxy.endpoint().authority()
            );
            Err(refused(Kind::Denied, &what))
        }
        status @ 403 => Err(refused(Kind::Denied, &format!("status {status}"))),
        status => Err(refused(Kind::Unavailable, &format!("status {status}"))),
    }
}
