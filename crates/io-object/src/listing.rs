//! Listings: page by page, one request a page, several prefixes side by side if asked for.
//!
//! A walk is a queue of prefixes still to be listed. Without fan-out there is one, listed with all beneath
//! it. With fan-out a prefix is listed one level at a time while there are fewer prefixes at hand than may
//! be listed side by side, and with all beneath it from then on.
//!
//! The service makes a page while the one before is read: a page that is here is glanced at for where the next
//! begins, that is asked for, and only then is the page read and handed over. So at most one page of each prefix
//! waits, in the socket. Where the glance was wrong, what it led to is dismissed.

use crate::backend::Shared;
use crate::part::Again;
use crate::{Failure, ListAsk, Listed, ListedEntry, ListedObject, Listing};
use forebay_io::{EntryKind, Kind, ListOptions, Location, Meta, Operation, Page, PageBuilder, Result};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;

/// Everything beneath a location, and the object there is at it.
pub(crate) fn list(
    shared: Arc<Shared>,
    location: &Location,
    options: ListOptions,
) -> BoxStream<'static, Result<Page>> {
    let path = match shared.prefix(Operation::List, location) {
        Ok(path) => path.to_owned(),
        Err(error) => return stream::once(async { Err(error) }).boxed(),
    };
    let walk = Walk::new(shared, location.clone(), path, options);
    stream::unfold(walk, |mut walk| async move {
        let page = walk.next().await?;
        if page.is_err() {
            walk.stop();
        }
        Some((page, walk))
    })
    .boxed()
}

/// A prefix to be listed, from some page on.
struct Job {
    prefix: String,
    token: Option<String>,
    what: What,
    /// One of those that a listing begins with. If it fails, so does the listing, and whoever asked for it may
    /// begin it again; once a page was handed over, entries would come twice, so what fails then is tried again
    /// by itself.
    first: bool,
    /// Tells it from all others of the walk.
    serial: u64,
    /// Whether it came and could not be read.
    damaged: bool,
    /// Why: before it is fetched again that is dealt with.
    failed: Option<Failure>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Only the object whose key is the prefix.
    Itself,
    /// The prefix and all beneath it.
    Beneath,
    /// One level: prefixes within it become jobs or directories.
    Level,
}

type Fetched = (Job, Result<Box<dyn Listing>>);

struct Walk {
    shared: Arc<Shared>,
    location: Location,
    options: ListOptions,
    /// The prefix that keys are relative to.
    root: String,
    fanout: usize,
    todo: VecDeque<Job>,
    running: FuturesUnordered<BoxFuture<'static, Fetched>>,
    /// Fetched while another page was read or handed over.
    ready: VecDeque<Fetched>,
    /// Those that are fetched for nothing, because a glance was wrong.
    dismissed: Vec<u64>,
    /// How many jobs there were.
    serials: u64,
    /// Whether anything was asked for.
    begun: bool,
    /// Whether a page was handed over.
    handed: bool,
}

impl Walk {
    fn new(shared: Arc<Shared>, location: Location, path: String, options: ListOptions) -> Self {
        let fanout = if options.recursive { shared.options.list_fanout.get() as usize } else { 1 };
        let itself = !path.is_empty() && !path.ends_with('/');
        let root = if itself { format!("{path}/") } else { path.clone() };
        let mut walk = Walk {
            shared,
            location,
            root: root.clone(),
            // One more than asked for, so that the object itself is looked for while its children are.
            fanout: fanout + usize::from(itself && fanout == 1),
            todo: VecDeque::new(),
            running: FuturesUnordered::new(),
            ready: VecDeque::new(),
            dismissed: Vec::new(),
            serials: 0,
            begun: false,
            handed: false,
            options,
        };
        if itself {
            let job = walk.job(path, What::Itself, true);
            walk.todo.push_back(job);
        }
        let what = if walk.options.recursive && fanout == 1 { What::Beneath } else { What::Level };
        let job = walk.job(root, what, true);
        walk.todo.push_back(job);
        walk
    }

    fn job(&mut self, prefix: String, what: What, first: bool) -> Job {
        self.serials += 1;
        Job { prefix, token: None, what, first, serial: self.serials, damaged: false, failed: None }
    }

    fn stop(&mut self) {
        self.todo.clear();
        self.running.clear();
        self.ready.clear();
    }

    /// The next page that is not empty.
    async fn next(&mut self) -> Option<Result<Page>> {
        if !self.begun {
            self.begun = true;
            // All that the listing begins with comes before the first page is handed over: it may be begun again
            // only until then, and whoever has a page may change what the service is still looking at.
            self.start();
            while let Some(fetched) = self.running.next().await {
                self.ready.push_back(fetched);
            }
        }
        loop {
            self.start();
            let (mut job, listing) = match self.ready.pop_front() {
                Some(fetched) => fetched,
                None => self.running.next().await?,
            };
            if let Some(at) = self.dismissed.iter().position(|&serial| serial == job.serial) {
                self.dismissed.swap_remove(at);
                continue;
            }
            let listing = match listing {
                Ok(listing) => listing,
                Err(error) => return Some(Err(error)),
            };
            let glance = listing.glance().filter(|_| job.what != What::Itself);
            let ahead = glance.clone().map(|token| self.follow(&job, token));
            self.advance();
            match self.read(&job, listing) {
                Ok((page, next)) => {
                    let next = next.filter(|_| job.what != What::Itself);
                    if next != glance {
                        ahead.into_iter().for_each(|serial| self.dismiss(serial));
                        if let Some(token) = next {
                            self.follow(&job, token);
                        }
                    }
                    self.advance();
                    if let Some(page) = page {
                        self.handed = true;
                        return Some(Ok(page));
                    }
                }
                Err(failure) if (job.first && !self.handed) || job.damaged => {
                    return Some(Err(failure.into_error(Operation::List, &self.location)));
                }
                Err(failure) => {
                    ahead.into_iter().for_each(|serial| self.dismiss(serial));
                    (job.first, job.damaged, job.failed) = (false, true, Some(failure));
                    self.todo.push_front(job);
                }
            }
        }
    }

    /// Puts the page behind that of `job` in the queue, before all others.
    fn follow(&mut self, job: &Job, token: String) -> u64 {
        let next = self.job(job.prefix.clone(), job.what, false);
        let serial = next.serial;
        self.todo.push_front(Job { token: Some(token), ..next });
        serial
    }

    /// Forgets a job, wherever it is.
    fn dismiss(&mut self, serial: u64) {
        match self.todo.iter().position(|job| job.serial == serial) {
            Some(at) => drop(self.todo.remove(at)),
            None => self.dismissed.push(serial),
        }
    }

    fn start(&mut self) {
        while self.running.len() + self.ready.len() < self.fanout {
            let Some(job) = self.todo.pop_front() else { return };
            self.running
                .push(fetch(self.shared.clone(), self.location.clone(), job, self.options.details).boxed());
        }
    }

    /// Starts what may be, and puts the requests on their way, which takes a poll.
    fn advance(&mut self) {
        self.start();
        while let Some(fetched) = self.running.next().now_or_never().flatten() {
            self.ready.push_back(fetched);
        }
    }

    /// What a page of the service holds, as one of ours, and where the next begins; prefixes that it leads to
    /// are put in the queue once all of it was read.
    fn read(
        &mut self,
        job: &Job,
        listing: Box<dyn Listing>,
    ) -> Result<(Option<Page>, Option<String>), Failure> {
        let (root, options) = (&self.root, &self.options);
        let mut builder = PageBuilder::new(self.location.clone(), usize::MAX);
        let mut deeper = Vec::new();
        let strange = |key: &str| {
            let said = format!("the service lists {key:?} among the keys that begin with {:?}", job.prefix);
            Failure::new(Kind::Corrupt, said)
        };
        let next = listing.read(&mut |entry| {
            match entry {
                ListedEntry::Object(object) if job.what == What::Itself => {
                    if object.key == job.prefix && options.wants(b"") {
                        push(&mut builder, &[], &object, options.details);
                    }
                }
                ListedEntry::Object(object) => {
                    let key = object.key.strip_prefix(root.as_str()).ok_or_else(|| strange(&object.key))?;
                    // What consoles put there to make a prefix look like a folder is no object beneath it.
                    if !key.is_empty() && options.wants(key.as_bytes()) {
                        push(&mut builder, &[key.as_bytes()], &object, options.details);
                    }
                }
                ListedEntry::Prefix(prefix) if job.what == What::Level => {
                    let key = prefix.strip_prefix(root.as_str()).ok_or_else(|| strange(&prefix))?;
                    if options.recursive {
                        deeper.push(prefix.into_owned());
                        return Ok(());
                    }
                    let name = key.strip_suffix('/').filter(|name| !name.is_empty()).unwrap_or(key);
                    if options.wants(name.as_bytes()) {
                        builder.push(&[name.as_bytes()], EntryKind::Directory, None);
                    }
                }
                ListedEntry::Prefix(_) => {}
            }
            Ok(())
        })?;
        for prefix in deeper {
            let enough = self.todo.len() + self.running.len() + self.ready.len() + 1 >= self.fanout;
            let what = if enough { What::Beneath } else { What::Level };
            let job = self.job(prefix, what, false);
            self.todo.push_back(job);
        }
        Ok((builder.take(), next))
    }
}

async fn fetch(shared: Arc<Shared>, location: Location, mut job: Job, details: bool) -> Fetched {
    let limit = match job.what {
        // In the order of bytes the key itself comes before all that it begins.
        What::Itself => Some(1),
        _ => shared.options.list_page.map(|page| page.get()),
    };
    let ask = ListAsk {
        prefix: &job.prefix,
        one_level: job.what == What::Level,
        token: job.token.as_deref(),
        limit,
        details,
    };
    let again = if job.first { Again::WithAll } else { Again::Alone };
    let (mut failed, damaged, shared) = (job.failed.take(), job.damaged, &*shared);
    let page = || {
        let (failed, call) =
            (failed.take(), shared.call(Operation::List, &location, 0, shared.client.list(ask)));
        async move {
            if let Some(failure) = failed {
                return Err(failure);
            }
            let listing = call.await?;
            // Once damaged, it is read here, so that it counts as tried if it is damaged again.
            if damaged { Ok(Box::new(Listed::of(listing)?) as Box<dyn Listing>) } else { Ok(listing) }
        }
    };
    let listed = shared.part(Operation::List, &location, again, page).await;
    (job, listed)
}

/// The size comes with the name, asked for or not: a read of known size has its memory before its request is made.
fn push(builder: &mut PageBuilder, key: &[&[u8]], object: &ListedObject<'_>, details: bool) {
    match details {
        true => builder.push(key, EntryKind::Object, Some(meta(object))),
        false => builder.push_sized(key, object.size),
    }
}

fn meta(object: &ListedObject<'_>) -> Meta {
    Meta {
        kind: EntryKind::Object,
        size: object.size,
        modified: object.modified,
        version: object.version.clone(),
    }
}
