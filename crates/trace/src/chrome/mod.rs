//! Timelines in the Trace Event Format of Chrome, which Perfetto (ui.perfetto.dev) and `chrome://tracing` open.
//!
//! [`Timeline`] writes such a file as events come; [`TimelineRecorder`] fills one while a job runs. Times and
//! memory: nothing is kept but which lanes are busy.
//!
//! The format nests slices of one track by time, and two that merely overlap spoil each other. So
//! operations that run at once are drawn in as many *lanes*, a track each, and no lane holds two at a time.

mod lanes;
mod recorder;
mod timeline;

pub use recorder::{TimelineRecorded, TimelineRecorder};
pub use timeline::{Slice, Timeline, Track};
