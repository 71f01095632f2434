//! What there is to load, before anybody knows what that is: a place that is listed, or a manifest that is
//! read, while its first samples are loaded already. Of the names nothing is kept: neither how many there
//! are, nor which came before.
//!
//! That is why there are no ids to read by, no full shuffle, no draws and no substitutes, which need to know
//! how many samples there are; and no formats that hold many samples in a file, whose index says that.

mod feed;
mod found;
mod mark;
mod places;

pub(crate) use feed::{Assigned, From, Origin, batches};
pub(crate) use found::Found;
pub(crate) use mark::Mark;

use crate::dataset::{nothing_listed, with_versions};
use crate::format::shard_bytes::{LONGEST, ShardBytes};
use crate::manifest::{Entries, Entry};
use crate::shard::Shard;
use crate::state::{Own, State, mismatch};
use crate::{DatasetOptions, Format, IndexMode, LoaderOptions, ManifestKind, OnError, Remainder};
use forebay_io::{Budget, Error, Kind, ListOptions, Location, Operation, Page, Pool, Result, Store};
use futures::channel::mpsc;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, SinkExt, StreamExt};
use std::sync::Arc;
use std::task::Poll;

/// What `loading_mode=streaming` loads, in the order in which it is listed: that of the names where the
/// service lists in order (S3 and Azure do), that of the directory for files, that of the lines for a
/// manifest. Ranks split it by that order where all of them see the same. Where the order is that of a directory, which
/// two machines may see differently, a digest of each name says which rank it belongs to: ranks are disjoint and
/// complete whatever they see, differ in length by chance, and each goes on from its own state alone.
#[derive(Debug)]
pub struct Listing {
    root: Location,
    names: Names,
    verify: bool,
}

/// Where names come from.
#[derive(Debug)]
enum Names {
    Beneath(ListOptions),
    Manifest(ManifestKind),
    Given(Box<[Location]>),
}

/// Some entries.
pub(crate) enum Piece {
    Page(Page),
    Entries(Vec<Entry>),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Page(page) => page.len(),
            Piece::Entries(entries) => entries.len(),
        }
    }
}

/// Locations of a piece.
const PIECE: usize = 1024;

impl Listing {
    /// What is beneath `root`, or what the manifest at `root` names. Nothing is asked for yet.
    ///
    /// # Errors
    /// `InvalidConfig` if the options make no sense, or need the whole listing first: another format than raw.
    pub fn new(root: &Location, options: DatasetOptions) -> Result<Self> {
        options.validate()?;
        raw(&options)?;
        let verify = options.verifies();
        let names = match options.manifest {
            Some(kind) => Names::Manifest(kind),
            None => Names::Beneath(options.list),
        };
        Ok(Listing { root: root.clone(), names, verify })
    }

    /// These objects, in this order.
    ///
    /// # Errors
    /// As [`Listing::new`]; `InvalidConfig` if there is none.
    pub fn of_uris(uris: Vec<Location>, options: DatasetOptions) -> Result<Self> {
        options.validate()?;
        raw(&options)?;
        if options.manifest.is_some() {
            return Err(Error::invalid("manifest: one manifest at a time, not a list of locations"));
        }
        let Some(root) = uris.first().cloned() else {
            return Err(Error::invalid("a list of locations is empty; name at least one"));
        };
        Ok(Listing { root, names: Names::Given(uris.into()), verify: options.verifies() })
    }

    /// What is listed: a prefix, a manifest, or the first of a list of locations.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// Whether a name says whose it is, and not its place: where others may see the names in another order.
    pub(crate) fn splits_by_name(&self, store: &dyn Store, options: &LoaderOptions) -> bool {
        let beneath = matches!(self.names, Names::Beneath(_));
        beneath && options.shard_world_size > 1 && !store.capability().ordered_listing
    }

    /// Whether checksums of a manifest are looked at.
    pub(crate) fn verifies(&self) -> bool {
        self.verify
    }

    /// The entries, as they come. One piece is fetched ahead.
    pub(crate) fn pieces(self: Arc<Self>, store: Arc<dyn Store>) -> BoxStream<'static, Result<Piece>> {
        let (mut send, mut receive) = mpsc::channel(0);
        let walk = async move { self.walk(&*store, &mut send).await };
        let mut walk = Some(walk.boxed());
        let mut failed = None;
        stream::poll_fn(move |cx| {
            if let Some(walking) = &mut walk
                && let Poll::Ready(end) = walking.poll_unpin(cx)
            {
                failed = end.err();
                // With it goes the sender.
                walk = None;
            }
            // What came before a failure comes before it here.
            match receive.poll_next_unpin(cx) {
                Poll::Ready(Some(piece)) => Poll::Ready(Some(Ok(piece))),
                Poll::Ready(None) => Poll::Ready(failed.take().map(Err)),
                Poll::Pending => Poll::Pending,
            }
        })
        .boxed()
    }

    async fn walk(&self, store: &dyn Store, send: &mut mpsc::Sender<Piece>) -> Result<()> {
        match &self.names {
            Names::Beneath(options) => {
                let mut pages = store.list(&self.root, with_versions(store, options.clone()));
                while let Some(page) = pages.next().await.transpose()? {
                    if send.send(Piece::Page(page)).await.is_err() {
                        break;
                    }
                }
            }
            Names::Manifest(kind) => {
                let file = Shard::look(store, &self.root, b"").await?;
                let pool = Pool::new(Budget::new(2 * LONGEST)?);
                let mut entries = Entries::new(*kind, ShardBytes::new(store, &file, &pool));
                while let Some(some) = entries.next().await? {
                    if send.send(Piece::Entries(some)).await.is_err() {
                        break;
                    }
                }
            }
            Names::Given(uris) => {
                for some in uris.chunks(PIECE) {
                    let some = some.iter().cloned().map(Entry::whole).collect();
                    if send.send(Piece::Entries(some)).await.is_err() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// For a listing that ended without an entry.
    pub(crate) fn nothing(&self) -> Error {
        match &self.names {
            Names::Beneath(options) => nothing_listed(&self.root, options),
            Names::Manifest(_) | Names::Given(_) => {
                let context = "nothing to load: the manifest has no entry";
                Error::new(Kind::NotFound, Operation::List, context).at(&self.root)
            }
        }
    }
}

fn raw(options: &DatasetOptions) -> Result<()> {
    options.without_index("loading_mode=streaming")?;
    match options.format {
        Format::Raw => Ok(()),
        ref other => Err(Error::invalid(format!(
            "format={} cannot be loaded with loading_mode=streaming: which samples a file holds is in an index, \
             which is made over all files; use ordered or completion",
            other.name()
        ))),
    }
}

/// What every order over a listing begins with in a state.
pub(crate) const STREAMED: &str = "streamed";

/// What an order over a listing is called in a state.
pub(crate) fn order_name(options: &LoaderOptions, by_name: bool) -> String {
    let by_name = if by_name { " by name" } else { "" };
    match options.shuffle_window.filter(|_| options.shuffle) {
        None => format!("{STREAMED}{by_name}"),
        Some(length) => format!("{STREAMED}{by_name} in windows of {length}"),
    }
}

/// Whose state it is that is saved of a listing that is split by name, after `done` samples.
pub(crate) fn own(options: &LoaderOptions, done: u64) -> Own {
    Own { rank: options.shard_rank as u64, world: options.shard_world_size as u64, end: done }
}

/// This rank's own state among those that were given, of a listing that is split by name.
///
/// # Errors
/// As [`earliest`]; `Precondition` if it is not among them.
pub(crate) fn of_rank<'a>(states: &'a [State], options: &LoaderOptions) -> Result<&'a State> {
    for state in states {
        alike(state, options, true)?;
    }
    let first = states.first().ok_or_else(|| Error::invalid("no state to go on from: give one at least"))?;
    // Of an epoch of which nobody was given anything all say the same.
    if states.iter().all(|state| state.place == 0 && state.epoch == first.epoch) {
        return Ok(first);
    }
    let mine = own(options, 0);
    let is_mine = |own: Own| (own.rank, own.world) == (mine.rank, mine.world);
    states.iter().find(|state| state.own.is_some_and(is_mine)).ok_or_else(|| {
        let whose = states.iter().filter_map(|state| state.own).map(|own| format!("{} of {}", own.rank, own.world));
        let context = format!(
            "loading_mode=streaming of a storage that lists in no defined order splits by name, so each rank goes on from \
             its own state on as many ranks; this loader is rank {} of {}, the states are of rank {}",
            mine.rank,
            mine.world,
            whose.collect::<Vec<_>>().join(", ")
        );
        Error::new(Kind::Precondition, Operation::Configure, context)
    })
}

fn alike(state: &State, options: &LoaderOptions, by_name: bool) -> Result<()> {
    let order = order_name(options, by_name);
    if state.order != order {
        return Err(mismatch("the order", &state.order, order));
    }
    if options.shuffle && state.seed != options.seed {
        return Err(mismatch("seed", state.seed, options.seed));
    }
    if state.own.is_some() != by_name || !state.gaps.is_empty() {
        return Err(Error::invalid("the state has batches that overtook others, which streaming has not"));
    }
    Ok(())
}

/// The state that is earliest among those that ranks saved of a listing: all say the same, but for ranks that are
/// through before others. The names are compared when they come: the next epoch fails where they are others.
///
/// # Errors
/// `Precondition` if going on would repeat or lose samples, naming what differs; `InvalidConfig` if there is none.
pub(crate) fn earliest<'a>(states: &'a [State], options: &LoaderOptions) -> Result<&'a State> {
    for state in states {
        alike(state, options, false)?;
    }
    let earliest = states.iter().min_by_key(|state| (state.epoch, state.place));
    earliest.ok_or_else(|| Error::invalid("no state to go on from: give one at least"))
}

/// Refuses what needs equally many samples on all ranks, where names say whose they are.
///
/// # Errors
/// `InvalidConfig` naming the option, its value, why, and what to use.
pub(crate) fn honours_by_name(options: &LoaderOptions) -> Result<()> {
    if options.shard_remainder == Remainder::Uneven {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "shard_remainder={} cannot be honoured with loading_mode=streaming here: this storage lists in no defined order, so \
         names say which rank they belong to, and how many each has nobody knows; use uneven, a manifest, or \
         loading_mode=ordered",
        options.shard_remainder
    )))
}

/// Refuses what needs to know how many samples there are.
///
/// # Errors
/// `InvalidConfig` naming the option, its value, why, and what to use.
pub(crate) fn honours(options: &LoaderOptions) -> Result<()> {
    let o = options;
    let refused = [
        (
            o.shuffle && o.shuffle_window.is_none(),
            "shuffle=true".to_owned(),
            "a permutation of everything needs to know how many samples there are; give a shuffle_window, or use \
             loading_mode=ordered",
        ),
        (
            o.random_index_mode != IndexMode::None,
            format!("random_index_mode={}", o.random_index_mode),
            "a draw from everything needs to know how many samples there are; use loading_mode=ordered",
        ),
        (
            matches!(o.on_error, OnError::Substitute { .. }),
            format!("on_error={}", o.on_error),
            "another sample is chosen from everything, which is not known yet; use skip:QUOTA or raise",
        ),
    ];
    match refused.into_iter().find(|(given, ..)| *given) {
        None => Ok(()),
        Some((_, what, why)) => {
            Err(Error::invalid(format!("{what} cannot be honoured with loading_mode=streaming: {why}")))
        }
    }
}
