//! Listings: page by page, one request a page, several prefixes side by side if asked for.
//!
//! A walk is a queue of prefixes still to be listed. Without fan-out there is one, listed with all beneath
//! it. With fan-out a prefix is listed one level at a time while there are fewer prefixes at hand than may
//! be listed side by side, and with all beneath it from then on. The next page is asked for before the last
//! one is handed over.

use crate::backend::Shared;
use crate::part::Again;
use crate::{ListAsk, Listed, ListedObject};
use forebay_io::{EntryKind, Error, Kind, ListOptions, Location, Meta, Operation, Page, PageBuilder, Result};
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
    /// begin it again; later, entries would come twice, so a later page is tried again by itself.
    first: bool,
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

type Fetched = (Job, Result<Listed>);

struct Walk {
    shared: Arc<Shared>,
    location: Location,
    options: ListOptions,
    /// The prefix that keys are relative to.
    root: String,
    fanout: usize,
    todo: VecDeque<Job>,
    running: FuturesUnordered<BoxFuture<'static, Fetched>>,
    /// Fetched while the page before was handed over.
    ready: Option<Fetched>,
}

impl Walk {
    fn new(shared: Arc<Shared>, location: Location, path: String, options: ListOptions) -> Self {
        let fanout = if options.recursive { shared.options.list_fanout.get() as usize } else { 1 };
        let mut todo = VecDeque::new();
        let mut root = path.clone();
        if !path.is_empty() && !path.ends_with('/') {
            root.push('/');
            todo.push_back(Job { prefix: path, token: None, what: What::Itself, first: true });
        }
        let what = if options.recursive && fanout == 1 { What::Beneath } else { What::Level };
        todo.push_back(Job { prefix: root.clone(), token: None, what, first: true });
        // One more than asked for, so that the object itself is looked for while its children are.
        let fanout = fanout + usize::from(todo.len() > 1 && fanout == 1);
        Walk { shared, location, options, root, fanout, todo, running: FuturesUnordered::new(), ready: None }
    }

    fn stop(&mut self) {
        self.todo.clear();
        self.running.clear();
        self.ready = None;
    }

    /// The next page that is not empty.
    async fn next(&mut self) -> Option<Result<Page>> {
        loop {
            self.start();
            let (job, listed) = match self.ready.take() {
                Some(fetched) => fetched,
                None => self.running.next().await?,
            };
            let listed = match listed {
                Ok(listed) => listed,
                Err(error) => return Some(Err(error)),
            };
            let page = self.take(job, listed);
            self.start();
            // A poll puts the request for the next page on its way.
            if let Some(fetched) = self.running.next().now_or_never().flatten() {
                self.ready = Some(fetched);
            }
            if let Some(page) = page.transpose() {
                return Some(page);
            }
        }
    }

    fn start(&mut self) {
        while self.running.len() < self.fanout {
            let Some(job) = self.todo.pop_front() else { return };
            self.running.push(fetch(self.shared.clone(), self.location.clone(), job).boxed());
        }
    }

    /// What a page of the service holds, as one of ours; what it leads to is put in the queue.
    fn take(&mut self, job: Job, listed: Listed) -> Result<Option<Page>> {
        let mut builder = PageBuilder::new(self.location.clone(), usize::MAX);
        let strange = |key: &str| {
            let context =
                format!("the service lists {key:?} among the keys that begin with {:?}", job.prefix);
            Error::new(Kind::Corrupt, Operation::List, context).at(&self.location)
        };
        for object in listed.objects {
            if job.what == What::Itself {
                if object.key == job.prefix && self.options.wants(b"") {
                    builder.push(&[], EntryKind::Object, Some(meta(object)));
                }
                continue;
            }
            let Some(key) = object.key.strip_prefix(&self.root) else { return Err(strange(&object.key)) };
            // What consoles put there to make a prefix look like a folder is no object beneath it.
            if !key.is_empty() && self.options.wants(key.as_bytes()) {
                let key = key.to_owned();
                builder.push(&[key.as_bytes()], EntryKind::Object, Some(meta(object)));
            }
        }
        if job.what == What::Level {
            for prefix in listed.prefixes {
                let Some(key) = prefix.strip_prefix(&self.root) else { return Err(strange(&prefix)) };
                if self.options.recursive {
                    let enough = self.todo.len() + self.running.len() + 1 >= self.fanout;
                    let what = if enough { What::Beneath } else { What::Level };
                    self.todo.push_back(Job { prefix, token: None, what, first: false });
                    continue;
                }
                let name = key.strip_suffix('/').filter(|name| !name.is_empty()).unwrap_or(key);
                if self.options.wants(name.as_bytes()) {
                    builder.push(&[name.as_bytes()], EntryKind::Directory, None);
                }
            }
        }
        if let Some(token) = listed.next.filter(|_| job.what != What::Itself) {
            self.todo.push_front(Job { token: Some(token), first: false, ..job });
        }
        Ok(builder.take())
    }
}

async fn fetch(shared: Arc<Shared>, location: Location, job: Job) -> Fetched {
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
    };
    let again = if job.first { Again::WithAll } else { Again::Alone };
    let page = || shared.call(Operation::List, &location, 0, shared.client.list(ask));
    let listed = shared.part(Operation::List, &location, again, page).await;
    (job, listed)
}

fn meta(object: ListedObject) -> Meta {
    let ListedObject { size, modified, version, .. } = object;
    Meta { kind: EntryKind::Object, size, modified, version }
}
