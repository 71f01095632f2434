//! What a thread that waits for an item can do meanwhile, beside the work of the pipeline's own tasks.

/// Work that stages wait for and that is done elsewhere, such as reads on a pool of threads, as far as a thread
/// that waits for their items can take a part in it. See [`Sink::assisting`](crate::Sink::assisting).
pub trait Assist: Send + Sync {
    /// The calling thread is here for items: it begins to wait, or has what it waited for.
    fn attends(&self);

    /// Does one piece of it on the calling thread; whether there was one. Short: the item may come meanwhile.
    fn assist(&self) -> bool;
}
