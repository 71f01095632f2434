//! What the ring is made of. Its test puts a checker's versions of the same things in this place.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
