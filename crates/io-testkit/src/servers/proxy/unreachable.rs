//! Endpoints that nobody answers at, each in its own way.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;

/// An endpoint whose name no resolver knows: `.invalid` is kept free for that (RFC 6761).
pub const NO_SUCH_HOST: &str = "http://forebay-test.invalid:9000";

/// A port that refuses connections, and that nobody else can take meanwhile.
#[derive(Debug)]
pub struct RefusedPort {
    address: SocketAddr,
    // Bound and never listening.
    _socket: TcpSocket,
}

impl RefusedPort {
    /// Takes one.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(RefusedPort { address: socket.local_addr()?, _socket: socket })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Which port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A port where connections are neither made nor refused: what a firewall does that drops packets.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _listener: std::net::TcpListener,
    // They fill the queue of connections that nobody accepts.
    _queue: Vec<std::net::TcpStream>,
}

impl BlackHole {
    /// Makes one. Takes about a tenth of a second.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Self> {
        // Connects that take so long on loopback hang for good.
        const HANGING: Duration = Duration::from_millis(100);
        std::thread::spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let socket = TcpSocket::new_v4()?;
                socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
                let listener = socket.listen(1)?;
                let address = listener.local_addr()?;
                let mut queue = Vec::new();
                while let Ok(stream) = tokio::time::timeout(HANGING, TcpStream::connect(address)).await {
                    queue.push(stream?.into_std()?);
                }
                Ok(BlackHole { address, _listener: listener.into_std()?, _queue: queue })
            })
        })
        .join()
        .map_err(|_| io::Error::other("the thread that makes a black hole panicked"))?
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Which port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
