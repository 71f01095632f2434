//! From the pieces of a listing to batches of samples, as they come.

use super::found::Found;
use super::mark::{Mark, Running};
use super::places::Places;
use super::{Listing, Piece};
use crate::LoaderOptions;
use forebay_io::{EntryKind, Error, Kind, Operation, Result, Store};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A batch that is to be read.
#[derive(Debug)]
pub(crate) struct Assigned {
    pub(crate) index: u64,
    pub(crate) ids: Box<[u64]>,
    pub(crate) origin: Origin,
}

/// Where the samples of a batch come from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) found: Arc<BTreeMap<u64, Found>>,
    /// What of the listing had come when its last sample was certain.
    pub(crate) mark: Mark,
    /// No other follows it.
    pub(crate) last: bool,
}

/// Where an epoch over a listing begins, and what it must find on the way.
#[derive(Debug, Clone, Default)]
pub(crate) struct From {
    pub(crate) epoch: u64,
    pub(crate) start: u64,
    /// What the listing was before.
    pub(crate) mark: Mark,
}

struct Feed {
    listing: Arc<Listing>,
    pieces: BoxStream<'static, Result<Piece>>,
    places: Places,
    running: Running,
    expected: Mark,
    batch: usize,
    drop_last: bool,
    index: u64,
    current: Vec<(u64, Found)>,
    /// What is cut up already, and not handed over.
    cut: VecDeque<Assigned>,
    /// The piece that is being gone through: a batch is handed over as soon as it is certain.
    piece: Option<(Piece, usize)>,
    total: Arc<OnceLock<u64>>,
    ended: bool,
}

/// The batches of an epoch. How many they were is in `total` when the listing has ended.
pub(crate) fn batches(
    listing: Arc<Listing>,
    store: Arc<dyn Store>,
    from: From,
    options: &LoaderOptions,
    total: Arc<OnceLock<u64>>,
) -> impl Stream<Item = Result<Assigned>> + Send + 'static {
    let by_name = listing.splits_by_name(&*store, options);
    let feed = Feed {
        pieces: listing.clone().pieces(store),
        listing,
        places: Places::new(from.epoch, from.start, options, by_name),
        running: Running::default(),
        expected: from.mark,
        batch: options.batch_size,
        drop_last: options.drop_last,
        index: 0,
        current: Vec::new(),
        cut: VecDeque::new(),
        piece: None,
        total,
        ended: false,
    };
    stream::try_unfold(feed, |mut feed| async move { Ok(feed.next().await?.map(|batch| (batch, feed))) })
}

impl Feed {
    async fn next(&mut self) -> Result<Option<Assigned>> {
        loop {
            if let Some(batch) = self.cut.pop_front() {
                return Ok(Some(batch));
            }
            if self.ended {
                return Ok(None);
            }
            if self.entry()? {
                continue;
            }
            match self.pieces.next().await.transpose()? {
                Some(piece) => self.piece = Some((piece, 0)),
                None => self.end()?,
            }
        }
    }

    /// Goes through the piece until a batch is certain; false at its end.
    fn entry(&mut self) -> Result<bool> {
        let Some((piece, mut at)) = self.piece.take() else { return Ok(false) };
        while self.cut.is_empty() && at < piece.len() {
            match &piece {
                Piece::Page(page) => {
                    let entry = page.entry(at).filter(|entry| entry.kind == EntryKind::Object);
                    if let Some(entry) = entry {
                        let version = entry.meta.and_then(|meta| meta.version.as_ref()?.shared());
                        self.running.object(entry.key, entry.size, version);
                        self.compare()?;
                        self.places.push(entry.key, || Found::whole(entry.location(), entry.size));
                    }
                }
                Piece::Entries(entries) => {
                    self.running.entry(&entries[at]);
                    self.compare()?;
                    self.places.push(b"", || Found::of(entries[at].clone()));
                }
            }
            at += 1;
            self.gather();
        }
        let more = at < piece.len();
        self.piece = more.then_some((piece, at));
        Ok(more || !self.cut.is_empty())
    }

    fn gather(&mut self) {
        while let Some(sample) = self.places.pop() {
            self.current.push(sample);
            if self.current.len() == self.batch {
                self.cut(false);
            }
        }
    }

    fn cut(&mut self, last: bool) {
        let samples = std::mem::take(&mut self.current);
        let ids = samples.iter().map(|(id, _)| *id).collect();
        let found = Arc::new(samples.into_iter().collect());
        let origin = Origin { found, mark: self.running.mark(), last };
        self.cut.push_back(Assigned { index: self.index, ids, origin });
        self.index += 1;
    }

    fn end(&mut self) -> Result<()> {
        self.ended = true;
        if self.running.entries() < self.expected.entries {
            return Err(self.changed(format_args!("it ends after {}", self.running.entries())));
        }
        if self.running.entries() == 0 {
            return Err(self.listing.nothing());
        }
        self.places.finish();
        self.gather();
        if !self.current.is_empty() && !self.drop_last {
            self.cut(true);
        }
        if let Some(last) = self.cut.back_mut() {
            last.origin.last = true;
        }
        self.total.set(self.index).ok();
        Ok(())
    }

    /// Whether the listing is what it was when the state was saved.
    fn compare(&self) -> Result<()> {
        if self.running.entries() == self.expected.entries && self.running.mark() != self.expected {
            return Err(self.changed(format_args!("they are others")));
        }
        Ok(())
    }

    fn changed(&self, found: fmt::Arguments<'_>) -> Error {
        let context = format!(
            "the state was saved after {} entries of the listing, and now {found}: going on would repeat or \
             lose samples",
            self.expected.entries
        );
        Error::new(Kind::Precondition, Operation::List, context).at(self.listing.root())
    }
}
