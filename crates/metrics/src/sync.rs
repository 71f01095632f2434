//! What the recording path synchronises with, in one place: a test compiles that path on the atomics of a model
//! checker instead.

pub(crate) use std::sync::OnceLock;
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
pub(crate) use std::thread::yield_now;
