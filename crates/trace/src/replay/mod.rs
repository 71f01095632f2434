//! Asks a store for what a trace says, when the trace says so, and measures how true that was.
//!
//! Time is kept by an absolute schedule: each operation has an instant at which it is due, counted from the
//! beginning, so that one late operation makes no other late. Latency is reported twice, from when an operation was
//! submitted and from when it was due: the second one does not forget what waited behind a slow answer
//! ("coordinated omission", G. Tene, *How NOT to Measure Latency*).
//!
//! One thread paces and submits; stores do their work on threads of their own. How the kernel schedules it is asked for and told
//! ([`Priority`], [`Scheduling`]).

mod driver;
mod lanes;
mod memory;
mod operation;
mod options;
mod outcome;
mod plan;
mod prepare;
mod remap;
mod scheduling;
mod stop;
mod streams;
mod targets;
mod wait;

pub use driver::{Progress, replay};
pub use lanes::Lanes;
pub use options::{Mode, ReplayOptions};
pub use outcome::Outcome;
pub use plan::Plan;
pub use prepare::{Prepared, prepare};
pub use remap::{Remap, Rule};
pub use scheduling::{Priority, Scheduling};
pub use stop::Stop;
pub use targets::Stores;
pub use wait::{NoiseFloor, noise_floor};
