//! A listener with a thread and a runtime of its own, so that a server outlives the runtime of the test
//! that started it and answers while that test blocks.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// Listens until it is dropped; that closes its connections too.
#[derive(Debug)]
pub(crate) struct Serving {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

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
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let connections = Arc::new(AtomicU64::new(0));
        let counted = connections.clone();
        let accept = async move {
            loop {
                // Out of descriptors, say: those that are open will close.
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                counted.fetch_add(1, Ordering::Relaxed);
                // Without it small answers wait for the client's acknowledgement.
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream));
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok(Serving { address, connections, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of a connection has failed that connection; there is nothing to add here.
            let _ = thread.join();
        }
    }
}
