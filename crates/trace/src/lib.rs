//! Traces of I/O: recorded from any store while it works, converted from and to what other tools write,
//! and replayed in time against any store, with a report of how true the replay was.
//!
//! * [`Recorder`] observes a store and writes a trace; [`Reader`] and [`Writer`] are the format, which
//!   `docs/trace.md` defines; [`Sorted`] brings one into the order of asking in bounded memory.
//! * [`chrome`] writes timelines that Perfetto shows, from a trace or while a job runs.
//! * [`import`] and [`export`] speak to other tools, and say what is lost.
//! * [`replay`] asks a store for what a trace says, when it says so; [`Fidelity`] says how well that went.
//! * [`synth`] makes traces from a model; [`Summary`] describes one and compares two.

#![deny(unsafe_code)]

pub mod chrome;
mod error;
pub mod export;
mod fidelity;
mod frame;
mod header;
pub mod import;
mod line;
mod multiset;
mod output;
mod pack;
mod reader;
mod record;
mod recorder;
pub mod replay;
mod ring;
mod sequences;
mod sorted;
mod summary;
mod sync;
pub mod synth;
mod unpack;
mod writer;

pub use error::{Error, Result};
pub use fidelity::{Bounds, Fidelity, percentiles};
pub use header::{Clock, End, Header, VERSION};
pub use reader::{LONGEST_LINE, Reader};
pub use record::{Action, Record, Status};
pub use recorder::{Recorded, Recorder, RecorderOptions};
pub use sorted::{RUN, Sorted};
pub use summary::Summary;
pub use writer::Writer;
