//! Reading: requests of about one size, side by side, each straight into its stretch of the slot.
//!
//! The first request of a read asks for the first stretch and learns the object's size and version from
//! its answer; only then are the others made, pinned to that version. So most reads are one request, nothing is
//! asked before it, and no bytes of two versions ever meet. Where it is known before how much comes (a range, or
//! the size that a listing said), memory is asked for before the request, so that none is made for which there
//! is no room; else when the answer says how much, which may then have to wait, and may be broken off. Of a
//! read in parts, one that fails is asked for again by itself, if the store was told to
//! ([`ObjectBackend::with_part_retries`](crate::ObjectBackend::with_part_retries)).

use crate::attempt::Try;
use crate::backend::Shared;
use crate::part::Again;
use crate::watch::{Phase, Watch};
use crate::{Answer, Ask, Failure, Incoming};
use forebay_io::{
    Buf, CacheUse, Error, GetRequest, Kind, Location, Operation, Place, ReadOptions, Reservation, Result,
    Retry, Served, Version, Want,
};
use futures::{FutureExt, TryStreamExt, stream};
use std::future::poll_fn;
use std::num::NonZeroU64;
use std::ops::Range;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::SemaphorePermit;

/// One read of an object: what all of its requests have in common.
pub(crate) struct Read<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) operation: Operation,
    pub(crate) location: &'a Location,
    pub(crate) key: &'a str,
    /// How large a request is.
    pub(crate) stretch: Option<NonZeroU64>,
}

/// A request whose header is here.
struct Begun<'a> {
    attempt: Try<'a>,
    watch: Watch<'a>,
    answer: Answer,
    permit: SemaphorePermit<'a>,
}

/// Where a read's bytes go.
struct Room<'a> {
    slot: u32,
    /// What was asked for before the size was certain.
    held: Option<Buf>,
    place: &'a dyn Place,
}

impl Room<'_> {
    /// A buffer of so many bytes; the permit goes if it has to be waited for: who waits for memory lets others
    /// work, and one of them may be what this memory is held by.
    async fn of<P>(self, len: u64, permit: P) -> (Result<Buf>, Option<P>) {
        if let Some(buf) = self.held.filter(|buf| buf.len() as u64 == len) {
            return (Ok(buf), Some(permit));
        }
        let wants = [Want::new(self.slot, len)];
        match self.place.try_reserve(&wants) {
            Reservation::Granted(bufs) => (Ok(one(bufs)), Some(permit)),
            Reservation::Wait => {
                drop(permit);
                (self.place.reserve(&wants).await.map(one), None)
            }
            Reservation::Refused(error) | Reservation::TooLarge { error, .. } => (Err(error), Some(permit)),
        }
    }
}

/// Offsets beyond this are no object's; some services count in 63 bits.
const FARTHEST: u64 = 1 << 62;

/// Reads one object or a range of it into a place.
pub(crate) async fn get(
    shared: &Shared,
    request: &GetRequest,
    options: &ReadOptions,
    place: &dyn Place,
) -> Result<Served> {
    let (operation, location) = (Operation::Get, &request.location);
    shared.check_policy(operation, location, options)?;
    let key = shared.key(operation, location)?;
    let stretch = options.target_request_bytes.or(shared.options.request_bytes);
    let read = Read { shared, operation, location, key, stretch };
    if let Some(range) = request.range.as_ref().filter(|range| range.is_empty() || range.start >= FARTHEST) {
        return read.nothing(range, request.if_version.as_ref(), request.slot, place).await;
    }
    let wanted = request.range.clone();
    let due = wanted.as_ref().map(|range| range.end - range.start).or(request.size);
    let held = match due {
        Some(due) => Some(reserve(place, request.slot, due).await.map_err(|error| error.at(location))?),
        None => None,
    };
    let begin = Instant::now();
    let asked = match (&wanted, stretch) {
        (Some(range), _) => Some(read.first_of(range)),
        (None, Some(stretch)) if request.size.is_some_and(|size| size > stretch.get()) => {
            Some(0..stretch.get())
        }
        (None, Some(_)) if request.size.is_some() => None,
        // A service says the checksum of a whole object only to who asks for the whole of it. Who was told how
        // large requests are to be is obeyed; else an object is taken to be like the one before.
        (None, Some(stretch)) if options.target_request_bytes.is_some() || shared.finds_large() => {
            Some(0..stretch.get())
        }
        (None, _) => None,
    };
    let begun = read.begin(asked.clone(), request.if_version.as_ref(), wanted.is_none()).await;
    let begun = match begun {
        // An empty object has no first stretch. It has a body, of no bytes.
        Err(failure) if failure.kind == Kind::InvalidRange && wanted.is_none() && asked.is_some() => {
            read.begin(None, request.if_version.as_ref(), true).await
        }
        begun => begun,
    };
    let begun = begun.map_err(|failure| read.refused(failure, wanted.as_ref()))?;
    read.place(begun, wanted, Room { slot: request.slot, held, place }, begin).await
}

impl<'a> Read<'a> {
    pub(crate) fn fail(&self, failure: Failure) -> Error {
        failure.into_error(self.operation, self.location)
    }

    /// The error of a range that is not inside.
    pub(crate) fn outside(&self, range: &Range<u64>, size: Option<u64>) -> Error {
        let there = size.map_or("the object".into(), |size| format!("the {size} bytes there are"));
        let context = format!("range {}..{} is not inside {there}", range.start, range.end);
        Error::new(Kind::InvalidRange, self.operation, context).at(self.location)
    }

    fn refused(&self, failure: Failure, wanted: Option<&Range<u64>>) -> Error {
        match (failure.kind, wanted) {
            (Kind::InvalidRange, Some(range)) => self.outside(range, None),
            _ => self.fail(failure),
        }
    }

    /// The first stretch of a range.
    fn first_of(&self, range: &Range<u64>) -> Range<u64> {
        let end = match self.stretch {
            Some(stretch) => range.end.min(range.start.saturating_add(stretch.get())),
            None => range.end,
        };
        range.start..end.min(FARTHEST.max(range.start + 1))
    }

    /// A range without bytes cannot be asked for, nor one that begins where services no longer count, but whether it
    /// is inside can.
    async fn nothing(
        &self,
        range: &Range<u64>,
        if_version: Option<&Version>,
        slot: u32,
        place: &dyn Place,
    ) -> Result<Served> {
        let begin = Instant::now();
        let request = self.shared.client.head(self.key);
        let head = self.shared.call(self.operation, self.location, 0, request).await;
        let head = head.map_err(|failure| self.fail(failure))?;
        pinned(if_version, head.version.as_ref()).map_err(|failure| self.fail(failure))?;
        if range.start > range.end || range.end > head.size {
            return Err(self.outside(range, Some(head.size)));
        }
        reserve(place, slot, 0).await.map_err(|e| e.at(self.location))?;
        Ok(served(0, begin, None))
    }

    /// Makes a request and waits for the header of its answer, which must be of the version. More than was
    /// asked for is welcome where the `whole` object is wanted.
    async fn begin(
        &self,
        range: Option<Range<u64>>,
        if_match: Option<&Version>,
        whole: bool,
    ) -> Result<Begun<'a>, Failure> {
        let permit = self.shared.permit().await;
        let mut attempt = Try::begin(self.shared, self.operation, self.location, range.clone());
        let mut watch = Watch::start(&self.shared.options, attempt.begun());
        let ask = Ask {
            range: range.as_ref(),
            if_match,
            checksum: self.shared.options.verify != crate::Verify::Off,
        };
        let answer = watch.wait(Phase::Answer { sent: 0 }, self.shared.client.get(self.key, ask)).await;
        let answer = match answer.and_then(|answer| fits(answer, range.as_ref(), if_match, whole)) {
            Ok(answer) => answer,
            Err(failure) => return attempt.end(Err(failure)),
        };
        attempt.answered(answer.status);
        Ok(Begun { attempt, watch, answer, permit })
    }

    /// Finds memory for what was asked for, now that its size is known, and reads it.
    async fn place(
        &self,
        begun: Begun<'a>,
        wanted: Option<Range<u64>>,
        room: Room<'_>,
        begin: Instant,
    ) -> Result<Served> {
        let size = begun.answer.head.size;
        let stretch = self.stretch.map_or(u64::MAX, NonZeroU64::get);
        if wanted.is_none() {
            self.shared.found(size > stretch);
        }
        let range = wanted.unwrap_or(0..size);
        if range.end > size {
            let failure = Failure::new(Kind::InvalidRange, String::new());
            let _ = begun.attempt.end(Err::<(), _>(failure));
            return Err(self.outside(&range, Some(size)));
        }
        let Begun { attempt, watch, answer, permit } = begun;
        let (buf, permit) = room.of(range.end - range.start, permit).await;
        let mut buf = match buf {
            Ok(buf) => buf,
            Err(error) => {
                let _ = attempt.end(Err::<(), _>(Failure::new(error.kind(), String::new())));
                return Err(error.at(self.location));
            }
        };
        let first_byte = attempt.first_byte();
        // An object that turns out to be large is not read to its end by one request: its first stretch is
        // taken from this one, which is given up then, with its connection.
        let answer_end = answer.range.end.min(range.start.saturating_add(stretch));
        let version = answer.head.version.clone();
        let (head, tail) = buf.split_at_mut((answer_end - range.start) as usize);
        if tail.is_empty() {
            let all = self.receive(attempt, watch, answer, head, permit);
            all.await.map_err(|failure| self.fail(failure))?;
        } else {
            let (version, asked) = (version.as_ref(), range.start..answer_end);
            let mut begun = Some((attempt, watch, answer, permit));
            let first = self.tried(asked, version, head, |head| {
                let begun = begun.take();
                async move {
                    let filled = match begun {
                        Some((attempt, watch, answer, permit)) => {
                            self.receive(attempt, watch, answer, &mut *head, permit).await
                        }
                        None => self.stretch(range.start, &mut *head, version, size).await,
                    };
                    (head, filled)
                }
            });
            futures::try_join!(first, self.stretches(answer_end, tail, version, size))?;
        }
        Ok(served(buf.len() as u64, begin, first_byte))
    }

    /// Fills `into` from `offset`, in requests side by side that are pinned to one version and size.
    pub(crate) async fn stretches(
        &self,
        offset: u64,
        into: &mut [u8],
        version: Option<&Version>,
        size: u64,
    ) -> Result<()> {
        let stretch = self.stretch.map_or(usize::MAX, |s| usize::try_from(s.get()).unwrap_or(usize::MAX));
        let mut at = offset;
        let parts = into.chunks_mut(stretch).map(|part| {
            let start = at;
            at += part.len() as u64;
            Ok(self.part(start, part, version, size))
        });
        let most = self.shared.options.concurrency.get() as usize;
        stream::iter(parts.collect::<Vec<_>>()).try_buffer_unordered(most).try_collect::<()>().await
    }

    /// Fills `part`, with as many requests as it is tried.
    async fn part<'p>(
        &self,
        start: u64,
        part: &'p mut [u8],
        version: Option<&Version>,
        size: u64,
    ) -> Result<()> {
        let range = start..start + part.len() as u64;
        let fill = |part: &'p mut [u8]| async move {
            let filled = self.stretch(start, &mut *part, version, size).await;
            (part, filled)
        };
        self.tried(range, version, part, fill).await
    }

    /// The requests that fill a part, as often as it is tried. Where no version pins it, that is once: only
    /// asking for all of it again tells an object that changed meanwhile.
    async fn tried<'p, F: Future<Output = (&'p mut [u8], Result<(), Failure>)>>(
        &self,
        range: Range<u64>,
        version: Option<&Version>,
        part: &'p mut [u8],
        mut request: impl FnMut(&'p mut [u8]) -> F,
    ) -> Result<()> {
        let again = if version.is_some() { Again::Alone } else { Again::WithAll };
        let request = |part| {
            let Range { start, end } = range;
            let named = move |failure: Failure| failure.context(format_args!("bytes {start}..{end}"));
            request(part).map(move |(part, filled)| (part, filled.map_err(named)))
        };
        self.shared.part_into(self.operation, self.location, again, part, request).await
    }

    /// Fills `part` with one request.
    pub(crate) async fn stretch(
        &self,
        start: u64,
        part: &mut [u8],
        version: Option<&Version>,
        size: u64,
    ) -> Result<(), Failure> {
        let range = start..start + part.len() as u64;
        let Begun { attempt, watch, answer, permit } =
            self.begin(Some(range.clone()), version, false).await?;
        let now = answer.head.size;
        if now < range.end || size != now {
            let said =
                format!("the object has {now} bytes now, not those with which it was found; it changed");
            return attempt.end(Err(Failure::new(Kind::Precondition, said)));
        }
        self.receive(attempt, watch, answer, part, Some(permit)).await
    }

    /// Reads the body of an answer, which is to fill `into`, and checks what can be checked.
    async fn receive(
        &self,
        mut attempt: Try<'a>,
        mut watch: Watch<'a>,
        mut answer: Answer,
        into: &mut [u8],
        permit: Option<SemaphorePermit<'a>>,
    ) -> Result<(), Failure> {
        let whole = into.len() as u64 == answer.range.end - answer.range.start;
        let mut result = pour(&mut *answer.body, into, whole, &mut watch, &mut attempt.bytes).await;
        drop(permit);
        if let (Ok(()), Some(sum), true) = (&result, &answer.head.checksum, whole) {
            result = sum.check(self.shared.options.verify, into);
        }
        attempt.end(result)
    }
}

/// Whether an answer is one to what was asked.
fn fits(
    answer: Answer,
    asked: Option<&Range<u64>>,
    if_match: Option<&Version>,
    whole: bool,
) -> Result<Answer, Failure> {
    pinned(if_match, answer.head.version.as_ref())?;
    let size = answer.head.size;
    let due = asked.map_or(0..size, |asked| asked.start..asked.end.min(size.max(asked.start)));
    if answer.range == due || (whole && answer.range == (0..size)) {
        return Ok(answer);
    }
    let (kind, what) = if answer.status == 200 {
        (Kind::Unsupported, "the service answers a request for a range with the whole object")
    } else {
        (Kind::Corrupt, "the answer is of another range")
    };
    let said = format!("{what}: {:?} was asked for, {:?} came", due, answer.range);
    Err(Failure::new(kind, said).with_status(answer.status))
}

/// Whether the version found is the one wanted. Asked of every answer, because not all services heed
/// `If-Match`.
fn pinned(wanted: Option<&Version>, found: Option<&Version>) -> Result<(), Failure> {
    match (wanted, found) {
        (Some(wanted), Some(found)) if wanted == found => Ok(()),
        (None, _) => Ok(()),
        (Some(wanted), found) => {
            let found = found.map_or("unknown", Version::as_str);
            let said = format!("the version is {found}, not {}; it changed", wanted.as_str());
            Err(Failure::new(Kind::Precondition, said))
        }
    }
}

/// Reads a body that is to be exactly as long as `into`, or the beginning of one that is longer.
async fn pour(
    body: &mut dyn Incoming,
    into: &mut [u8],
    whole: bool,
    watch: &mut Watch<'_>,
    came: &mut u64,
) -> Result<(), Failure> {
    let due = into.len();
    let mut filled = 0;
    poll_fn(|cx| {
        loop {
            if filled == due && !whole {
                return Poll::Ready(Ok(()));
            }
            let mut beyond = [0];
            let rest = if filled < due { &mut into[filled..] } else { &mut beyond[..] };
            match body.poll_fill(cx, rest) {
                Poll::Ready(Ok(0)) if filled == due => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => {
                    let said = format_args!("the body ended after {filled} of {due} bytes");
                    return Poll::Ready(Err(Failure::cut_off(said, None)));
                }
                Poll::Ready(Ok(more)) => {
                    watch.progress();
                    filled += more;
                    if filled > due {
                        let said = format!("the body goes on after the {due} bytes it was to have");
                        return Poll::Ready(Err(Failure::new(Kind::Corrupt, said)));
                    }
                    *came = filled as u64;
                }
                Poll::Ready(Err(mut failure)) => {
                    // Not every client tells: what breaks in a body was answered before.
                    if failure.kind == Kind::Unavailable {
                        failure.retry = failure.retry.or(Some(Retry::Soon));
                    }
                    return Poll::Ready(Err(failure.context(format_args!("after {filled} of {due} bytes"))));
                }
                Poll::Pending => {
                    let timed_out = watch.poll(cx, Phase::Bytes).map(Err);
                    if watch.take_long() {
                        body.take_any();
                    }
                    return timed_out;
                }
            }
        }
    })
    .await
}

async fn reserve(place: &dyn Place, slot: u32, len: u64) -> Result<Buf> {
    let wants = [Want::new(slot, len)];
    match place.try_reserve(&wants) {
        Reservation::Granted(bufs) => Ok(one(bufs)),
        Reservation::Wait => place.reserve(&wants).await.map(one),
        Reservation::Refused(error) | Reservation::TooLarge { error, .. } => Err(error),
    }
}

fn one(bufs: Vec<Buf>) -> Buf {
    bufs.into_iter().next().expect("as many buffers as wants")
}

pub(crate) fn served(bytes: u64, begin: Instant, first_byte: Option<Duration>) -> Served {
    Served { bytes, elapsed: begin.elapsed(), first_byte, cache: CacheUse::NotApplicable }
}
