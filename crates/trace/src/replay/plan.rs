//! What is replayed: a trace in the order of asking, its window, its passes.

use super::{Lanes, Mode, ReplayOptions};
use crate::error::{Error, Result};
use crate::{Action, Record, Sorted};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

type Records = Box<dyn Iterator<Item = Result<Record>> + Send>;

/// A trace that can be read as often as it takes.
pub struct Plan {
    open: Box<dyn Fn() -> Result<Records> + Send + Sync>,
    scratch: PathBuf,
    run: usize,
}

impl Plan {
    /// A plan of the records that `open` gives, in any order, each time it is asked. `scratch` is a directory for what
    /// does not fit into memory while it is sorted.
    pub fn new(open: impl Fn() -> Result<Records> + Send + Sync + 'static, scratch: &Path) -> Plan {
        Plan { open: Box::new(open), scratch: scratch.to_owned(), run: crate::RUN }
    }

    /// A plan of a trace on disk.
    pub fn of_file(path: &Path, scratch: &Path) -> Plan {
        let path = path.to_owned();
        Plan::new(move || Ok(Box::new(crate::Reader::open(&path)?)), scratch)
    }

    /// The records of one pass, in the order of asking.
    ///
    /// # Errors
    /// Those of the trace and of the scratch files.
    pub fn records(&self) -> Result<Sorted> {
        Sorted::new((self.open)()?, &self.scratch, self.run)
    }
}

/// One operation of the plan.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) record: Record,
    /// When it is asked for, from the beginning of the replay, in the trace's own time.
    pub(super) at: Duration,
}

/// The operations of all passes.
pub(super) struct Steps<'a> {
    plan: &'a Plan,
    options: &'a ReplayOptions,
    pass: Option<Box<dyn Iterator<Item = Result<Record>> + Send>>,
    passes_left: u32,
    /// Where this pass begins.
    base: Duration,
    /// When this pass asked for its last operation, and how many it had.
    last: Duration,
    count: u32,
    to_skip: u64,
    left_out: LeftOut,
}

/// What was left out, by action: read by others while the steps are being taken.
#[derive(Debug, Clone, Default)]
pub(super) struct LeftOut(Rc<RefCell<BTreeMap<Action, u64>>>);

impl LeftOut {
    fn add(&self, action: Action) {
        *self.0.borrow_mut().entry(action).or_default() += 1;
    }

    pub(super) fn counts(&self) -> BTreeMap<Action, u64> {
        self.0.borrow().clone()
    }
}

impl<'a> Steps<'a> {
    pub(super) fn new(plan: &'a Plan, options: &'a ReplayOptions, left_out: LeftOut) -> Steps<'a> {
        Steps {
            plan,
            options,
            pass: None,
            passes_left: options.loops,
            base: Duration::ZERO,
            last: Duration::ZERO,
            count: 0,
            to_skip: options.skip,
            left_out,
        }
    }

    fn begin_pass(&mut self) -> Result<bool> {
        if self.passes_left == 0 {
            return Ok(false);
        }
        self.passes_left -= 1;
        // The next pass begins as long after the last operation as operations are apart on average.
        if self.count > 0 {
            let gap = (self.last.saturating_sub(self.base)) / self.count;
            self.base = self.last + gap;
        }
        self.count = 0;
        let sorted = self.plan.records()?;
        self.pass = Some(match self.options.mode {
            Mode::Dependency { .. } => Box::new(Lanes::new(sorted)),
            _ => Box::new(sorted),
        });
        Ok(true)
    }

    fn wanted(&mut self, record: &Record) -> bool {
        let submit = Duration::from_nanos(record.t_submit);
        if submit < self.options.from || self.options.until.is_some_and(|until| submit >= until) {
            return false;
        }
        let mutates = matches!(record.op, Action::Put | Action::Delete);
        if mutates && !self.options.mutate {
            self.left_out.add(record.op);
            return false;
        }
        if self.to_skip > 0 {
            self.to_skip -= 1;
            return false;
        }
        true
    }

    fn next_step(&mut self) -> Result<Option<Step>> {
        loop {
            let Some(pass) = &mut self.pass else {
                match self.begin_pass()? {
                    true => continue,
                    false => return Ok(None),
                }
            };
            let Some(record) = pass.next().transpose()? else {
                self.pass = None;
                continue;
            };
            let in_window = Duration::from_nanos(record.t_submit) >= self.options.from;
            if !self.wanted(&record) {
                // Skipped operations still take their time of the schedule, those outside the window do not.
                if in_window && self.to_skip == 0 {
                    self.last = self.last.max(self.at(&record));
                }
                continue;
            }
            let at = self.at(&record);
            (self.last, self.count) = (at, self.count.saturating_add(1));
            return Ok(Some(Step { record, at }));
        }
    }

    fn at(&self, record: &Record) -> Duration {
        self.base + Duration::from_nanos(record.t_submit).saturating_sub(self.options.from)
    }
}

impl Iterator for Steps<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.next_step();
        if step.is_err() {
            (self.pass, self.passes_left) = (None, 0);
        }
        step.transpose()
    }
}

/// The instant of the trace that `at` is when times are multiplied by `scale`.
pub(super) fn scaled(at: Duration, scale: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(at.as_secs_f64() * scale)
        .map_err(|_| Error::Invalid(format!("time_scale {scale} makes the trace too long")))
}
