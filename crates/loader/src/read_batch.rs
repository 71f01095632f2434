//! Reads one batch: the requests of its samples, one submission, and what came of it.

use crate::mend::mend;
use crate::samples::Samples;
use crate::seats::Seats;
use crate::{Batch, OnError, deadline};
use forebay_io::{
    Error, GetRequest, Kind, Lease, Operation, Place, ReadOptions, Reservation, Result, Retry, Served, Store,
    Want,
};
use std::sync::Arc;
use std::time::Duration;

/// Everything that reading a batch of an epoch needs.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) samples: Samples,
    pub(crate) options: ReadOptions,
    /// From which each batch takes the stream that its reads belong to.
    pub(crate) seats: Arc<Seats>,
    pub(crate) on_error: OnError,
    /// What substitutes are drawn from.
    pub(crate) seed: u64,
    /// The longest that a batch may take.
    pub(crate) deadline: Option<Duration>,
    pub(crate) epoch: u64,
}

impl Reader {
    /// Reads the samples `ids` into `lease`, which has a slot for each.
    ///
    /// # Errors
    /// The first failure in the order of the batch, with how many others failed beside it; unless
    /// `on_error` says otherwise. `TimedOut` if it took longer than the deadline.
    pub(crate) async fn read(
        self: Arc<Self>,
        index: u64,
        ids: Box<[u64]>,
        lease: Arc<Lease>,
    ) -> Result<Batch> {
        let seat = self.seats.take();
        let options = &ReadOptions { stream: Some(seat.number()), ..self.options.clone() };
        #[cfg(feature = "tracing")]
        let span = tracing::debug_span!(
            target: "forebay::batch",
            "batch",
            epoch = self.epoch,
            index,
            samples = ids.len(),
            error = tracing::field::Empty,
        );
        let filled = async {
            let result = match self.deadline {
                None => self.fill(index, ids, &lease, options, lease.clone()).await,
                Some(limit) => {
                    let fill = |place| self.fill(index, ids, &lease, options, place);
                    deadline::within(limit, lease.clone(), fill).await
                }
            };
            #[cfg(feature = "tracing")]
            if let Err(error) = &result {
                tracing::Span::current().record("error", error.kind().name());
            }
            result
        };
        #[cfg(feature = "tracing")]
        let filled = tracing::Instrument::instrument(filled, span);
        filled.await
    }

    async fn fill(
        &self,
        index: u64,
        ids: Box<[u64]>,
        lease: &Arc<Lease>,
        options: &ReadOptions,
        place: Arc<dyn Place>,
    ) -> Result<Batch> {
        self.samples.look_at(&ids);
        // As many as there are: a list that may end with an error is collected without knowing, and grows by copies.
        let mut requests = Vec::with_capacity(ids.len());
        for (slot, &id) in (0..).zip(&ids) {
            requests.push(self.request(id, slot)?);
        }
        let results = self.get(requests.into(), options, &place).await;
        let failed = results.iter().filter(|result| result.is_err()).count();
        if failed == 0 {
            return Batch::new(lease.finish()?, ids, self.epoch, index);
        }
        let mut errors = (0..).zip(results).filter_map(|(slot, result)| Some((slot, result.err()?)));
        if self.on_error == OnError::Raise {
            let (_, error) = errors.next().expect("at least one failed");
            return Err(explain(error, failed, ids.len()));
        }
        let errors = errors.collect();
        let mended = mend(self, ids, errors, lease, options, &place).await?;
        Batch::mended(lease.finish()?, mended, self.epoch, index)
    }

    /// What is asked of the store. Where another sample may have to take this one's place, its size is not said:
    /// room that was asked for before the read failed would be all that there is for the other.
    pub(crate) fn request(&self, id: u64, slot: u32) -> Result<GetRequest> {
        let request = self.samples.request(id, slot)?;
        let fixed = !matches!(self.on_error, OnError::Substitute { .. });
        Ok(GetRequest { size: request.size.filter(|_| fixed), ..request })
    }

    /// Reads samples and, where the dataset knows what they should be, looks at them: on a thread of the
    /// runtime that may block, because checksums keep a core busy.
    pub(crate) async fn get(
        &self,
        requests: Arc<[GetRequest]>,
        options: &ReadOptions,
        place: &Arc<dyn Place>,
    ) -> Vec<Result<Served>> {
        let results = self.store.get_many(requests.clone(), options.clone(), place.clone()).await;
        if !self.samples.checks() {
            return results;
        }
        let (samples, place, all) = (self.samples.clone(), place.clone(), requests.len());
        let check = move || {
            let check = |(request, result)| check(&samples, request, result, &*place);
            requests.iter().zip(results).map(check).collect()
        };
        tokio::task::spawn_blocking(check).await.unwrap_or_else(|lost| {
            let context = format!("the samples of a batch could not be checked: {lost}");
            let error = Error::new(Kind::Unavailable, Operation::Get, context).with_retry(Retry::Never);
            (0..all).map(|_| Err(error.duplicate())).collect()
        })
    }
}

/// The result of a read, or what is wrong with the bytes that it placed.
fn check(
    samples: &Samples,
    request: &GetRequest,
    result: Result<Served>,
    place: &dyn Place,
) -> Result<Served> {
    let served = result?;
    // A slot that is asked for again at the size that it has is there at once, with what was read there.
    match place.try_reserve(&[Want::new(request.slot, served.bytes)]) {
        Reservation::Granted(bufs) => {
            let checked = request.sample.zip(bufs.first()).map(|(id, bytes)| samples.check(id, bytes));
            checked.transpose().map(|_| served)
        }
        Reservation::TooLarge { error, .. } | Reservation::Refused(error) => Err(error),
        Reservation::Wait => {
            let context = format!("the store reported slot {} as read but placed nothing", request.slot);
            Err(Error::new(Kind::Corrupt, Operation::Get, context).at(&request.location))
        }
    }
}

fn explain(error: Error, failed: usize, of: usize) -> Error {
    match failed {
        1 => error,
        _ => error.context(format_args!("{failed} of the {of} samples of a batch failed; the first")),
    }
}
