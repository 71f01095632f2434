//! How many uploads in parts are open: begun, and neither finished nor taken back. For a program that is about to
//! end, because what an upload leaves behind somebody pays for, and only a request takes it back.

use tokio::sync::watch;

/// Counts open uploads. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Uploads(watch::Sender<usize>);

/// An upload that may be open. It counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(watch::Sender<usize>);

impl Uploads {
    /// One more.
    pub(crate) fn open(&self) -> Open {
        self.0.send_modify(|open| *open += 1);
        Open(self.0.clone())
    }

    /// Waits until none is open. Those that go on are waited for too, so give up after a while.
    pub async fn none_open(&self) {
        // This holds a sender, so the channel never closes.
        let _ = self.0.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn the_last_one_is_waited_for() {
        let uploads = Uploads::default();
        assert!(uploads.none_open().now_or_never().is_some());
        let (one, two) = (uploads.clone().open(), uploads.open());
        drop(one);
        assert!(uploads.none_open().now_or_never().is_none());
        drop(two);
        assert!(uploads.none_open().now_or_never().is_some());
    }
}
