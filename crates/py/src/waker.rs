//! A bell that threads of ours can ring and an event loop can hear: an eventfd.
//!
//! A future that waits for a batch is polled by the event loop's own thread, with this as its waker.
//! The reading side rings it by writing to a descriptor, which the loop watches. So no thread of ours
//! needs the interpreter's lock to say that a batch is there, and none can be caught by its end.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Wake;

pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// What an event loop watches: readable once the bell was rung.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes it silent until it is rung again.
    pub(crate) fn quiet(&self) {
        // Fails where it was silent already, which is what we want.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Fails where the count is full: it was rung and not heard, and that is enough.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}
