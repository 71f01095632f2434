//! What a pipeline promises, seen from outside.
//!
//! No test sleeps: where one must know that every task has nothing left to do, it lets tokio's
//! paused time advance, which happens only then.

mod cancellation;
mod failure;
mod gates;
mod order;
mod statistics;
mod threads;
