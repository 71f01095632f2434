//! Where a loader is, saved and gone on from: between batches for all ranks, or within one for its own.

use super::{Cursor, Loader, Shared};
use crate::left::{Gaps, Left};
use crate::listing::{self, Mark};
use crate::state::{Before, Own, State, mismatch};
use crate::{Batch, Dataset, LoadingMode, Order, Source};
use forebay_io::{Error, Result};
use std::ops::Range;

impl Loader {
    /// Where the consumer is: after the last batch that it was given.
    pub fn state(&self) -> State {
        let Shared { options, source, .. } = &*self.0;
        let cursor = self.0.cursor();
        let dataset = match source {
            Source::Dataset(dataset) => dataset,
            Source::Listing(listing) => {
                let by_name = listing.splits_by_name(&*self.0.store, options);
                let ranks = if by_name { 1 } else { options.shard_world_size as u64 };
                let done = cursor.batches.saturating_mul(options.batch_size as u64).saturating_mul(ranks);
                let place = cursor.start.saturating_add(done);
                return State {
                    version: State::VERSION,
                    epoch: cursor.epoch,
                    place,
                    gaps: Gaps::default(),
                    own: by_name.then(|| listing::own(options, place)),
                    order: listing::order_name(options, by_name),
                    seed: options.seed,
                    samples: cursor.mark.entries,
                    fingerprint: cursor.mark.digest.clone(),
                };
            }
        };
        let (left, own) = self.0.left(dataset, &cursor);
        self.0.state_of(dataset, cursor.epoch, &left, own)
    }

    /// Where this rank alone is: after the last batch that it was given, or inside a batch that it was given, of which
    /// the first `taken` samples count. It goes on as what one of several ranks saves in completion order: alone on as
    /// many ranks, and with the states of all others on any number of them.
    ///
    /// # Errors
    /// `InvalidConfig` for a batch that was not given in this epoch, nor in the one that ended with it, and with
    /// `loading_mode=streaming`, whose states count whole batches.
    pub fn own_state(&self, within: Option<(&Batch, usize)>) -> Result<State> {
        let Some(dataset) = self.dataset() else {
            return Err(Error::invalid("loading_mode=streaming has states between batches only"));
        };
        let shared = &*self.0;
        let now = shared.cursor().clone();
        let (cursor, rest) = match within {
            None => (&now, None),
            Some((batch, taken)) => {
                let of_its_epoch = [Some(&now), now.last.as_deref()].into_iter().flatten();
                let given =
                    of_its_epoch.filter(|c| c.epoch == batch.epoch()).find(|c| c.was_given(batch.index()));
                let cursor = given.ok_or_else(|| {
                    let (index, epoch) = (batch.index(), batch.epoch());
                    Error::invalid(format!(
                        "batch {index} of epoch {epoch} was not given by this loader lately"
                    ))
                })?;
                let size = shared.options.batch_size as u64;
                let first = batch.index() * size;
                let taken = if taken < batch.len() { first + batch.slot(taken) as u64 } else { first + size };
                (cursor, Some(taken..first + size))
            }
        };
        let (left, own) = shared.own_left(dataset, cursor, rest);
        Ok(shared.state_of(dataset, cursor.epoch, &left, own))
    }

    /// Makes the next start go on where `state` was saved. World size, rank, batch size and workers
    /// may be others; order and dataset must be the same. What one rank of several saved in completion order goes on
    /// on that rank alone: see [`Loader::load_states`].
    ///
    /// # Errors
    /// `Precondition` if going on would repeat or lose samples, naming what differs.
    pub fn load_state(&self, state: &State) -> Result<()> {
        self.load_states(std::slice::from_ref(state))
    }

    /// Makes the next start go on where all ranks were that saved `states`, also as another rank or with another
    /// world size. The loaders of all ranks that go on must be given the same ones.
    ///
    /// # Errors
    /// As [`Loader::load_state`]; `InvalidConfig` if they are not the states of all ranks, each once.
    pub fn load_states(&self, states: &[State]) -> Result<()> {
        let options = self.options();
        let dataset = match &self.0.source {
            Source::Dataset(dataset) => dataset,
            Source::Listing(listing) => {
                let state = match listing.splits_by_name(&*self.0.store, options) {
                    true => listing::of_rank(states, options)?,
                    false => listing::earliest(states, options)?,
                };
                let mark = Mark { entries: state.samples, digest: state.fingerprint.clone() };
                let mut cursor = self.0.cursor();
                let begin = Cursor::at(state.epoch, Before::all(), cursor.run + 1);
                *cursor = Cursor { start: state.place, mark, ..begin };
                return Ok(());
            }
        };
        states.iter().try_for_each(|state| self.fits(dataset, state))?;
        let (rank, world) = (options.shard_rank as u64, options.shard_world_size as u64);
        let (epoch, before) = State::before(states, rank, world)?;
        let mut cursor = self.0.cursor();
        *cursor = Cursor::at(epoch, before, cursor.run + 1);
        Ok(())
    }

    /// Whether a state is of this order and this dataset.
    fn fits(&self, dataset: &Dataset, state: &State) -> Result<()> {
        let options = &self.0.options;
        if state.samples != dataset.len() {
            return Err(mismatch("dataset size", state.samples, dataset.len()).at(dataset.root()));
        }
        if state.fingerprint != dataset.fingerprint() {
            return Err(
                mismatch("dataset fingerprint", &state.fingerprint, dataset.fingerprint()).at(dataset.root())
            );
        }
        let order = Order::name(options);
        if state.order != order {
            return Err(mismatch("the order", &state.order, order));
        }
        if Order::is_random(options) && state.seed != options.seed {
            return Err(mismatch("seed", state.seed, options.seed));
        }
        state.left().map(drop)
    }
}

impl Shared {
    /// What the consumer has not been given, and whether only of its own rank's part.
    fn left(&self, dataset: &Dataset, cursor: &Cursor) -> (Left, Option<Own>) {
        let options = &self.options;
        let several = options.loading_mode == LoadingMode::Completion && options.shard_world_size > 1;
        if matches!(cursor.before, Before::Shared(_)) && !several && cursor.ahead.is_empty() {
            // Every other rank was given as many, and none of them before its turn.
            let sampler = self.sampler(dataset, cursor.epoch, &cursor.before);
            return (sampler.left_after(cursor.batches * options.batch_size as u64), None);
        }
        self.own_left(dataset, cursor, None)
    }

    /// What is left of this rank's own part, with some samples of a batch that it was given; and whose part that is,
    /// if there are several.
    fn own_left(&self, dataset: &Dataset, cursor: &Cursor, rest: Option<Range<u64>>) -> (Left, Option<Own>) {
        let options = &self.options;
        let size = options.batch_size as u64;
        let sampler = self.sampler(dataset, cursor.epoch, &cursor.before);
        let world = options.shard_world_size as u64;
        let own = match cursor.before {
            Before::Own(_, own) => Some(own),
            Before::Shared(_) if world > 1 => {
                Some(Own { rank: options.shard_rank as u64, world, end: sampler.own_end() })
            }
            Before::Shared(_) => None,
        };
        let next = cursor.ahead.last().map_or(cursor.batches, |last| last + 1);
        let overtaken = (cursor.batches..next).filter(|batch| !cursor.ahead.contains(batch));
        let overtaken = overtaken.map(|batch| batch * size..(batch + 1) * size);
        let end = sampler.len();
        let within = |range: Range<u64>| range.start.min(end)..range.end.min(end);
        let mut samples: Vec<_> =
            overtaken.chain(rest).map(within).filter(|range| !range.is_empty()).collect();
        samples.sort_unstable_by_key(|range| range.start);
        (sampler.own_after(end.min(next * size), samples.into_iter()), own)
    }

    fn state_of(&self, dataset: &Dataset, epoch: u64, left: &Left, own: Option<Own>) -> State {
        let options = &self.options;
        State {
            version: State::VERSION,
            epoch,
            place: left.tail,
            gaps: Gaps::of(left.pieces()),
            own,
            order: Order::name(options),
            seed: options.seed,
            samples: dataset.len(),
            fingerprint: dataset.fingerprint().to_owned(),
        }
    }
}
