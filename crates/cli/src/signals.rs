//! Ctrl-C and SIGTERM, heard on a thread of their own so that they are heard whatever the others do.

use crate::exit::Exit;
use std::io;
use std::sync::mpsc::Sender;
use std::thread;
use tokio::signal::unix::{SignalKind, signal};

/// Sends an exit code for each signal that arrives from now on.
///
/// # Errors
/// If the system gives us no thread or no signal handler.
pub(crate) fn listen<E: Send + 'static>(
    to: Sender<E>,
    event: impl Fn(Exit) -> E + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupts, mut terminations) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let wait = move || {
        runtime.block_on(async {
            loop {
                let exit = tokio::select! {
                    _ = interrupts.recv() => Exit::Interrupted,
                    _ = terminations.recv() => Exit::Terminated,
                };
                if to.send(event(exit)).is_err() {
                    return;
                }
            }
        });
    };
    // Not joined: it ends with the process.
    thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(())
}
