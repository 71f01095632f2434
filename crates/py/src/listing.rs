//! A listing as an iterator: pages are fetched ahead, entries become Python objects one by one.

use crate::born::Born;
use crate::entry::Entry;
use crate::process::{self, Process};
use crate::wait;
use forebay_io::{ListOptions, Location, Page, Result, Store};
use futures::StreamExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, TryLockError};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Pages that may wait while Python looks at one.
const AHEAD: usize = 2;

/// Iterator over what `forebay.list` found.
#[pyclass(frozen, module = "forebay")]
pub(crate) struct Listing(Born<Running>);

struct Running {
    pages: Mutex<Pages>,
    task: AbortHandle,
}

struct Pages {
    rest: mpsc::Receiver<Result<Page>>,
    now: Option<Page>,
    next: usize,
}

impl Listing {
    pub(crate) fn begin(
        process: &Process,
        store: Arc<dyn Store>,
        location: Location,
        options: ListOptions,
    ) -> Self {
        let (sender, rest) = mpsc::channel(AHEAD);
        let task = process.runtime().spawn(async move {
            let mut pages = store.list(&location, options);
            while let Some(page) = pages.next().await {
                if sender.send(page).await.is_err() {
                    break;
                }
            }
        });
        let pages = Mutex::new(Pages { rest, now: None, next: 0 });
        Listing(Born::here(Running { pages, task: task.abort_handle() }))
    }
}

#[pymethods]
impl Listing {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Entry>> {
        let running = self.0.get_or_raise(py, "this listing")?;
        let mut pages = match running.pages.try_lock() {
            Ok(pages) => pages,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(PyRuntimeError::new_err("another thread is waiting for this listing"));
            }
        };
        loop {
            let index = pages.next;
            if let Some(entry) = pages.now.as_ref().and_then(|page| page.entry(index)) {
                let entry = Entry::listed(&entry);
                pages.next += 1;
                return Ok(Some(entry));
            }
            let process = process::current()?;
            match wait::until_done(py, process, pages.rest.recv())? {
                None => return Ok(None),
                Some(page) => {
                    pages.now = Some(page.map_err(|error| crate::errors::raise(py, &error))?);
                    pages.next = 0;
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
