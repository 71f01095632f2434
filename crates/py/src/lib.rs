//! The native half of the Python package `forebay`: the module `forebay._forebay`.
//!
//! Composes stores, datasets and loaders, and hands their results to Python. What it adds is what an
//! interpreter needs: waiting without its lock and answering signals (`wait`), exceptions (`errors`),
//! buffers that other libraries read in place (`batch`, `dlpack`), and surviving a `fork` (`born`,
//! `process`). Whatever reads, samples or counts lives in the crates below.
//!
//! What holds here:
//! * No thread of ours ever runs Python, but to ask a callable for credentials (`credentials`). Threads that
//!   read do not know that there is an interpreter, so its end, a garbage collection or a signal handler can
//!   neither wait for them nor kill them.
//! * A lock that lives longer than one call is taken only while the interpreter's lock is held, or is
//!   never touched in a forked child.
//! * No object is made for a sample that nobody asks for.
//! * `unsafe` is in `buffer` (and where a class answers `__getbuffer__` with it), `dlpack` and `born`
//!   (`pthread_atfork`).

mod answer;
mod arrays;
mod batch;
mod begin;
mod born;
mod buffer;
mod call;
mod collector;
mod cpu;
mod credentials;
mod dataset;
mod dlpack;
mod entry;
mod epoch;
mod errors;
mod ledger;
mod listing;
mod loader;
mod measuring;
mod memory;
mod metrics;
mod options;
mod pending;
mod process;
mod progress;
mod reads;
mod scheduling;
mod settings;
mod store;
mod stores;
mod tap;
mod target;
mod trace;
mod trace_replay;
mod value;
mod wait;
mod waker;

use pyo3::prelude::*;

#[pymodule]
mod _forebay {
    use super::*;

    #[pymodule_export]
    use batch::Batch;
    #[pymodule_export]
    use begin::{
        begin_delete, begin_delete_many, begin_exists, begin_get, begin_get_many, begin_get_range, begin_put,
        begin_stat,
    };
    #[pymodule_export]
    use collector::MetricsCollector;
    #[pymodule_export]
    use dataset::{Dataset, create_dataset, restore_dataset};
    #[pymodule_export]
    use entry::Entry;
    #[pymodule_export]
    use epoch::Batches;
    #[pymodule_export]
    use listing::Listing;
    #[pymodule_export]
    use loader::{Loader, create_async_loader, restore_loader};
    #[pymodule_export]
    use memory::{memory_cap, set_memory_cap};
    #[pymodule_export]
    use metrics::{diff, merge, read, snapshot, write};
    #[pymodule_export]
    use options::LoaderOptions;
    #[pymodule_export]
    use progress::Progress;
    #[pymodule_export]
    use store::{delete, delete_many, exists, get, get_many, get_range, list, put, stat};

    #[pymodule_export]
    use trace::{begin_trace, end_trace, trace_convert, trace_diff, trace_info, trace_synth};
    #[pymodule_export]
    use trace_replay::trace_replay;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        born::watch_forks()?;
        errors::add_to(module)?;
        options::add_properties(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
