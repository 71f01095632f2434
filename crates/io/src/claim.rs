//! A way back to a slot whose [`Buf`] went away with a read that was given up.
//!
//! Who drops the future of a read loses the buffer that it owned. When and where that is dropped is not
//! known: a kernel may still write into it. A claim waits until it has come back to its lease, and lends
//! the same bytes again; no memory is asked for.

use crate::{Buf, Lease, Result, Room, Want};
use std::fmt;
use std::sync::Arc;

/// Taken from a [`Buf`] before it is given away.
pub(crate) struct Claim {
    lease: Arc<Lease>,
    want: Want,
}

impl Claim {
    pub(crate) fn new(buf: &Buf, lease: Arc<Lease>) -> Self {
        // Both were 32 bits wide when they were asked for, and padding adds less than a page.
        let spare = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Room { align: 0, before: spare(buf.before()), after: spare(buf.after()) };
        Claim { lease, want: Want { slot: buf.slot(), len: buf.len() as u64, room } }
    }

    /// Waits until the earlier buffer is gone.
    pub(crate) async fn returned(&self) {
        self.lease.returning(self.want.slot).await;
    }

    /// The slot's buffer again, once the earlier one is gone. Cancel-safe.
    ///
    /// # Errors
    /// `InvalidRange` if the lease was finished or the slot discarded meanwhile.
    pub(crate) async fn reclaim(&self) -> Result<Buf> {
        self.returned().await;
        self.lease.lend_again(&self.want)
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.want).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, Place, Pool, Reservation};
    use futures::FutureExt;

    fn granted(lease: &Lease, want: Want) -> Buf {
        match lease.try_reserve(&[want]) {
            Reservation::Granted(mut bufs) => bufs.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_bytes_come_back_when_the_earlier_buffer_is_gone() {
        let pool = Pool::new(Budget::new(1 << 20).unwrap());
        let lease = pool.lease(pool.budget().ticket(), 2);
        let room = Room { align: 512, before: 512, after: 100 };
        let mut buf = granted(&lease, Want { room, ..Want::new(1, 1000) });
        let _other = granted(&lease, Want::new(0, 100));
        buf.fill(7);
        let (address, spare) = (buf.as_ptr(), (buf.before(), buf.after()));
        let claim = buf.claim();
        let used = pool.budget().used();
        let mut back = Box::pin(claim.reclaim());
        assert!(back.as_mut().now_or_never().is_none(), "it is still lent");
        // Dropped elsewhere, as a driver would.
        std::thread::spawn(move || drop(buf));
        let again = futures::executor::block_on(back).unwrap();
        assert_eq!((again.as_ptr(), (again.before(), again.after())), (address, spare));
        assert!(again.iter().all(|&byte| byte == 7));
        assert_eq!(pool.budget().used(), used);
    }

    #[test]
    fn a_finished_lease_gives_nothing_back() {
        let pool = Pool::new(Budget::new(1 << 20).unwrap());
        let lease = pool.lease(pool.budget().ticket(), 1);
        let buf = granted(&lease, Want::new(0, 10));
        let claim = buf.claim();
        drop(buf);
        let _block = lease.finish().unwrap();
        assert!(futures::executor::block_on(claim.reclaim()).is_err());
    }
}
