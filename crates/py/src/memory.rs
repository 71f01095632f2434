//! The memory cap that all loaders of this process share, if one was set.
//!
//! A forked child has the same setting and nothing of what its parent's loaders have taken: its cap is made anew when
//! its first loader is.

use crate::born::{self, Born};
use crate::{errors, value};
use forebay_io::{CapReading, Error, Kind, MemoryCap, Operation, Result, parse_size};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locked for a look only, with the interpreter's lock held: a fork finds it open.
static CAP: Mutex<Option<Born<MemoryCap>>> = Mutex::new(None);

/// Loaders that were made while no cap was set and are still there: of the process whose generation is in the upper
/// half, so many as the lower half says.
static UNCAPPED: AtomicU64 = AtomicU64::new(0);

/// Stands for one loader that is under no cap.
pub(crate) struct Uncapped(u64);

impl Uncapped {
    pub(crate) fn new() -> Self {
        let generation = born::generation() << 32;
        let more = |count| Some(in_this_process(count) + 1 + generation);
        let _ = UNCAPPED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        Uncapped(generation)
    }
}

impl Drop for Uncapped {
    fn drop(&mut self) {
        let less = |count: u64| (count >> 32 == self.0 >> 32).then(|| count - 1);
        let _ = UNCAPPED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

fn in_this_process(count: u64) -> u64 {
    if count >> 32 == born::generation() & 0xffff_ffff { count & 0xffff_ffff } else { 0 }
}

fn open() -> MutexGuard<'static, Option<Born<MemoryCap>>> {
    CAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cap that loaders which are made now are under.
///
/// # Errors
/// None but those of making it anew in a child, which has none where its parent had none.
pub(crate) fn cap() -> Result<Option<MemoryCap>> {
    let mut set = open();
    let Some(born) = &*set else { return Ok(None) };
    if let Some(cap) = born.get() {
        return Ok(Some(cap.clone()));
    }
    let fresh = MemoryCap::new(born.peek().bytes())?;
    *set = Some(Born::here(fresh.clone()));
    Ok(Some(fresh))
}

fn bytes(given: &Value) -> Result<Option<u64>> {
    match given {
        Value::Null => Ok(None),
        Value::String(text) => parse_size(text).map(Some),
        other => match other.as_u64() {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(Error::invalid(format!(
                "a memory cap is a number of bytes, a text such as \"8GiB\", or None, is {other}"
            ))),
        },
    }
}

fn set(given: &Value) -> Result<()> {
    let cap = bytes(given)?.map(MemoryCap::new).transpose()?;
    let earlier = self::cap()?.map_or(0, |cap| cap.reading().budgets as u64);
    let loaders = in_this_process(UNCAPPED.load(Ordering::Relaxed)) + earlier;
    if loaders > 0 {
        let context = format!(
            "the memory cap cannot be changed while {loaders} loaders (or batches of theirs) are there that were made \
             before: set it first"
        );
        return Err(Error::new(Kind::Precondition, Operation::Configure, context));
    }
    *open() = cap.map(Born::here);
    Ok(())
}

/// Sets one cap for the memory of all loaders of this process together: bytes in flight, and batches that the
/// program still holds. A number of bytes, a text such as "8GiB", or None for no such cap.
///
/// Each loader keeps to its own max_bytes_in_flight under it, is guaranteed its largest batch, and reads ahead with
/// what is to spare. It is to be set before the first loader is made, else PreconditionError. A loader whose largest
/// batch there is no room for raises InvalidConfigError when it is made. Worker processes have a cap of the same size
/// each if they are forked, and none otherwise.
#[pyfunction]
pub(crate) fn set_memory_cap(cap: &Bound<'_, PyAny>) -> PyResult<()> {
    set(&value::from_python("cap", cap)?).map_err(|error| errors::raise(cap.py(), &error))
}

/// The memory cap of this process' loaders, as a dict of bytes: `cap`, `guaranteed` (the largest batches of all
/// loaders), `in_flight`, `held` (batches that the program still has) and `peak` (the most that in_flight and held
/// were together); and `loaders`, how many share it. None where set_memory_cap set none.
#[pyfunction]
pub(crate) fn memory_cap(py: Python<'_>) -> PyResult<Option<Bound<'_, PyDict>>> {
    let Some(shared) = cap().map_err(|error| errors::raise(py, &error))? else { return Ok(None) };
    let CapReading { cap, budgets, guaranteed, in_flight, held, peak } = shared.reading();
    let dict = PyDict::new(py);
    dict.set_item("cap", cap)?;
    dict.set_item("guaranteed", guaranteed)?;
    dict.set_item("in_flight", in_flight)?;
    dict.set_item("held", held)?;
    dict.set_item("peak", peak)?;
    dict.set_item("loaders", budgets)?;
    Ok(Some(dict))
}
