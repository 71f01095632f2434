//! Ctrl-C and SIGTERM, heard on a thread of their own so that they are heard whatever the others do; and SIGXFSZ,
//! which is not to end the process.

use crate::exit::Exit;
use std::io;
use std::sync::mpsc::Sender;
use std::thread;
use tokio::signal::unix::{SignalKind, signal};

/// Sends an exit code for each signal that arrives from now on. From then on, too, a file that would grow beyond what is
/// allowed (`ulimit -f`) is an error of the write, which can be told with its name, and not the end of the process.
///
/// # Errors
/// If the system gives us no thread or no signal handler.
pub(crate) fn listen<E: Send + 'static>(
    to: Sender<E>,
    event: impl Fn(Exit) -> E + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupts, mut terminations, mut too_large) = {
        let _inside = runtime.enter();
        let too_large = signal(SignalKind::from_raw(libc::SIGXFSZ))?;
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, too_large)
    };
    let wait = move || {
        runtime.block_on(async {
            loop {
                let exit = tokio::select! {
                    _ = interrupts.recv() => Exit::Interrupted,
                    _ = terminations.recv() => Exit::Terminated,
                    // Who wrote has got the error.
                    _ = too_large.recv() => continue,
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
