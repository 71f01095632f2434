//! A listener with a thread and a runtime of its own, so that a server outlives the runtime of the test
//! that started it and answers while that test blocks.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Connections that may wait to be accepted: a client that opens hundreds at once must not be kept waiting.
const BACKLOG: u32 = 1024;

/// Listens until it is dropped; that closes its connections too.
#[derive(Debug)]
pub(crate) struct Serving {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    orders: Option<mpsc::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// Whether to listen; and who is told when it is so.
type Order = (bool, std::sync::mpsc::Sender<()>);

impl Serving {
    /// Listens on a free port of loopback and hands each connection to `serve`. `threads` 0 or 1 is one
    /// thread that does everything, more are that many beside the one that accepts.
    pub(crate) fn start<F, Fut>(name: &str, threads: usize, serve: F) -> io::Result<Self>
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let runtime = match threads {
            0 | 1 => Builder::new_current_thread().enable_all().build()?,
            more => Builder::new_multi_thread().worker_threads(more).enable_all().build()?,
        };
        // Never listens: it keeps the port ours while nothing listens there, so that clients are refused.
        let port = {
            let _inside = runtime.enter();
            bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?
        };
        let address = port.local_addr()?;
        let listener = {
            let _inside = runtime.enter();
            bound(address)?.listen(BACKLOG)?
        };
        let (orders, received) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicU64::new(0));
        let counted = connections.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(accept(listener, address, received, &counted, serve));
            runtime.shutdown_background();
            drop(port);
        })?;
        Ok(Serving { address, connections, orders: Some(orders), thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Whether it listens. While it does not, connections are refused, and those that were open are closed.
    /// It is so when this returns.
    pub(crate) fn listen(&self, whether: bool) {
        let (done, wait) = std::sync::mpsc::channel();
        if let Some(orders) = &self.orders {
            let _ = orders.send((whether, done));
            let _ = wait.recv();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic of a connection has failed that connection; there is nothing to add here.
            let _ = thread.join();
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Accepts, and obeys orders, until there is nobody left to give any.
async fn accept<F, Fut>(
    listener: TcpListener,
    address: SocketAddr,
    mut orders: mpsc::UnboundedReceiver<Order>,
    connections: &AtomicU64,
    serve: F,
) where
    F: Fn(TcpStream) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut listener = Some(listener);
    let mut open = JoinSet::new();
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => {
                let Some((whether, done)) = order else { return };
                if !whether {
                    listener = None;
                    open.shutdown().await;
                } else if listener.is_none() {
                    listener = bound(address).and_then(|socket| socket.listen(BACKLOG)).ok();
                }
                let _ = done.send(());
            }
            Some(_) = open.join_next() => {}
            accepted = accepted => {
                // Out of descriptors, say: those that are open will close.
                let Ok((stream, _)) = accepted else {
                    tokio::task::yield_now().await;
                    continue;
                };
                connections.fetch_add(1, Ordering::Relaxed);
                // Without it small answers wait for the client's acknowledgement.
                let _ = stream.set_nodelay(true);
                open.spawn(serve(stream));
            }
        }
    }
}
