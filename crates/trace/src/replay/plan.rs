//! What is replayed: a trace in the order of asking, its window, its passes.

use super::{Lanes, Mode, ReplayOptions};
use crate::error::{Error, Result};
use crate::{Action, Record, Sorted};
use forebay_io::Location;
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
        self.records_seen(|_| {})
    }

    /// A location of each place (scheme and host) that is read, where the options map it to.
    ///
    /// # Errors
    /// Those of the trace, and a name that is no location.
    pub(super) fn places(&self, options: &ReplayOptions) -> Result<Vec<Location>> {
        let mut places = BTreeMap::new();
        for record in (self.open)()? {
            let record = record?;
            if record.op.is_read() || record.op == Action::Open {
                let location = options.remap.apply(&record.uri.parse()?);
                let place = (location.scheme().to_owned(), location.host().map(str::to_owned));
                places.entry(place).or_insert(location);
            }
        }
        Ok(places.into_values().collect())
    }

    /// The same; `see` is shown each record before the first one comes.
    fn records_seen(&self, mut see: impl FnMut(&Record)) -> Result<Sorted> {
        let records = (self.open)()?.inspect(|record| {
            if let Ok(record) = record {
                see(record);
            }
        });
        Sorted::new(records, &self.scratch, self.run)
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
    pass: Option<Records>,
    /// The passes that were begun.
    passes: u32,
    to_skip: u64,
    /// Where the first operation that is not skipped stands: the replay begins with it.
    skipped: Option<Duration>,
    outline: Outline,
}

/// What is known about the whole: read by others while the steps are being taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Outline(Rc<RefCell<Whole>>);

#[derive(Debug, Clone, Default)]
struct Whole {
    /// What was left out because it changes the store.
    left_out: BTreeMap<Action, u64>,
    /// Operations of one pass.
    operations: u64,
    /// When a pass asks for its last one.
    last: Duration,
    /// When the replay asks for its last one.
    end: Duration,
    total: u64,
}

impl Outline {
    pub(super) fn left_out(&self) -> BTreeMap<Action, u64> {
        self.0.borrow().left_out.clone()
    }

    /// Operations of all passes, those that are skipped included.
    pub(super) fn total(&self) -> u64 {
        self.0.borrow().total
    }

    /// When the last of them is asked for, in the trace's own time.
    pub(super) fn end(&self) -> Duration {
        self.0.borrow().end
    }
}

impl Whole {
    /// How far apart passes begin: the next one as long after the last operation as operations are apart on average.
    fn pass(&self) -> Duration {
        let gap = self.last.checked_div(u32::try_from(self.operations).unwrap_or(u32::MAX));
        self.last.saturating_add(gap.unwrap_or_default())
    }
}

impl<'a> Steps<'a> {
    pub(super) fn new(plan: &'a Plan, options: &'a ReplayOptions, outline: Outline) -> Steps<'a> {
        Steps { plan, options, pass: None, passes: 0, to_skip: options.skip, skipped: None, outline }
    }

    fn begin_pass(&mut self) -> Result<bool> {
        if self.passes == self.options.loops {
            return Ok(false);
        }
        self.passes += 1;
        let (mut operations, mut last) = (0, Duration::ZERO);
        let sorted = self.plan.records_seen(|record| {
            if let Some(offset) = self.offset(record) {
                operations += u64::from(!self.is_left_out(record));
                last = last.max(offset);
            }
        })?;
        let mut whole = self.outline.0.borrow_mut();
        (whole.operations, whole.last) = (operations, last);
        whole.total = operations.saturating_mul(self.options.loops.into());
        whole.end = whole
            .pass()
            .saturating_mul(self.options.loops - 1)
            .saturating_add(last)
            .saturating_sub(self.skipped.unwrap_or_default());
        drop(whole);
        self.pass = Some(match self.options.mode {
            Mode::Dependency { .. } => Box::new(Lanes::new(sorted)),
            _ => Box::new(sorted),
        });
        Ok(true)
    }

    /// When a record is asked for, counted from the window's beginning; none outside of the window.
    fn offset(&self, record: &Record) -> Option<Duration> {
        let submit = Duration::from_nanos(record.t_submit);
        let inside = self.options.until.is_none_or(|until| submit < until);
        submit.checked_sub(self.options.from).filter(|_| inside)
    }

    fn is_left_out(&self, record: &Record) -> bool {
        matches!(record.op, Action::Put | Action::Delete) && !self.options.mutate
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
            let Some(offset) = self.offset(&record) else { continue };
            if self.is_left_out(&record) {
                *self.outline.0.borrow_mut().left_out.entry(record.op).or_default() += 1;
                continue;
            }
            if self.to_skip > 0 {
                self.to_skip -= 1;
                continue;
            }
            let mut whole = self.outline.0.borrow_mut();
            let at = whole.pass().saturating_mul(self.passes - 1).saturating_add(offset);
            // An earlier run spent the time of what is skipped.
            let skipped = match self.skipped {
                Some(skipped) => skipped,
                None => {
                    let skipped = if self.options.skip > 0 { at } else { Duration::ZERO };
                    whole.end = whole.end.saturating_sub(skipped);
                    *self.skipped.insert(skipped)
                }
            };
            return Ok(Some(Step { record, at: at.saturating_sub(skipped) }));
        }
    }
}

impl Iterator for Steps<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.next_step();
        if step.is_err() {
            (self.pass, self.passes) = (None, self.options.loops);
        }
        step.transpose()
    }
}

/// The instant of the trace that `at` is when times are multiplied by `scale`.
pub(super) fn scaled(at: Duration, scale: f64) -> Result<Duration> {
    // A thousand million years: what is more could not be added to an instant.
    const MOST: f64 = 1e9 * 366.0 * 24.0 * 3600.0;
    Duration::try_from_secs_f64(at.as_secs_f64() * scale)
        .ok()
        .filter(|time| time.as_secs_f64() < MOST)
        .ok_or_else(|| Error::Invalid(format!("time_scale {scale} makes the trace too long")))
}
