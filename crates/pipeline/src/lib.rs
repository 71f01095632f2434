//! Stages joined by bounded queues, with statistics that name the bottleneck.
//!
//! A [`Pipeline`] begins with a source, runs functions over its items with a chosen concurrency
//! and order, may collect them into lists, and ends in a [`Sink`] that a training loop takes from.
//!
//! ```
//! use std::num::NonZeroUsize;
//! use forebay_pipeline::{Concurrency, Order, Pipeline, Remainder};
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
//! let sink = Pipeline::source("index", 0..10_u32)
//!     .map("square", Concurrency::new(4)?, Order::Delivery, async |n| u8::try_from(n * n))
//!     .aggregate("batch", NonZeroUsize::new(4).unwrap(), Remainder::Keep)
//!     .sink(NonZeroUsize::new(2).unwrap())
//!     .spawn(runtime.handle());
//!
//! let mut batches = Vec::new();
//! while let Some(batch) = sink.next_blocking() {
//!     batches.push(batch?);
//! }
//! assert_eq!(batches, [vec![0, 1, 4, 9], vec![16, 25, 36, 49], vec![64, 81]]);
//!
//! let stats = sink.stats();
//! assert_eq!(stats.stages[1].tasks, 10);
//! assert_eq!(stats.sink().unwrap().items, 3);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//! * A failed item, a panic among them, arrives at the sink as an error in the place where the
//!   item would have been. The sink never ends early without an error, unless its owner cancelled.
//! * Work is bounded: what a stage works on plus what waits behind it never exceeds its
//!   concurrency plus the capacity of its queue.
//! * Dropping or cancelling the sink ends every task, and [`Sink::closed`] tells when they are gone.
//! * Nobody polls: waiting tasks and threads are woken by what they wait for.
//! * The crate starts tasks on the runtime it is given, and neither threads nor timers. A plain thread that
//!   waits for an item does the last task's work meanwhile ([`Attending`]).

#![forbid(unsafe_code)]

mod aggregate;
mod assist;
mod builder;
mod clock;
mod control;
mod distribution;
mod error;
mod exit;
mod feed;
mod hand_over;
mod in_work;
mod lock;
mod map;
mod policy;
mod queue;
mod queue_meter;
mod shift;
mod sink;
mod source;
mod spans;
mod stage_meter;
mod stats;
mod task;
mod watch;

pub use assist::Assist;
pub use builder::{Pipeline, Runnable};
pub use clock::{Clock, ManualClock};
pub use control::Control;
pub use error::PipelineError;
pub use forebay_metrics::{QueueRole, QueueStats, StageStats};
pub use policy::{Concurrency, OnError, Order, Remainder, ZeroConcurrency};
pub use sink::{Attending, Item, Next, Sink, Waited};
pub use stats::PipelineStats;
pub use watch::{TaskSeen, Watch};
