//! How many bytes must have come before the kernel wakes whoever waits for them (`SO_RCVLOWAT`, socket(7)).
//!
//! A large body comes in pieces of some ten KiB, and without this each of them wakes a thread that copies it and
//! waits again. With it there are as many wake-ups as there are [`MOST`]s in a body. The kernel wakes all the same when
//! the other side hangs up, or has no window left to send into.

use nix::sys::socket::SetSockOpt;
use nix::{libc, setsockopt_impl, sockopt_impl};
use tokio::net::TcpStream;

sockopt_impl!(
    /// What nix does not have by itself.
    ReceiveLowWater,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    i32
);

/// The most that is waited for at once: of 0.25, 1, 2, 4 and 8 MiB this and the next cost the least, a seventh to a
/// fifth below any. The kernel takes at most half of the largest receive buffer, 3 MiB by its own default.
const MOST: u64 = 2 << 20;
/// Where less is left, it comes about at once anyway, and the two system calls cost more than they spare.
const LEAST: u64 = 256 << 10;

/// What a socket was told.
#[derive(Debug)]
pub(super) struct LowWater {
    now: i32,
    /// Whether it is told nothing more until the next answer.
    shunned: bool,
}

impl LowWater {
    /// As every socket begins.
    pub(super) fn new() -> Self {
        LowWater { now: 1, shunned: false }
    }

    /// Nothing is there now, and so many bytes are sure to come if all is well.
    pub(super) fn wait_for(&mut self, stream: &TcpStream, left: u64) {
        if !self.shunned && (self.now > 1 || left >= LEAST) {
            self.set(stream, left.min(MOST) as i32);
        }
    }

    /// Bytes come too slowly to wait for many: from now on any will do.
    pub(super) fn take_any(&mut self, stream: &TcpStream) {
        self.shunned = true;
        self.set(stream, 1);
    }

    /// The answer is over; the next is waited for from its first byte on.
    pub(super) fn reset(&mut self, stream: &TcpStream) {
        self.shunned = false;
        self.set(stream, 1);
    }

    fn set(&mut self, stream: &TcpStream, bytes: i32) {
        // Where the system has no such thing all goes on as without.
        if self.now != bytes && ReceiveLowWater.set(stream, &bytes).is_ok() {
            self.now = bytes;
        }
    }
}
