//! One opened file that serves many ranges.

use crate::flight::{Caller, Flight, Landed, Read};
use crate::open_file::OpenFile;
use crate::shared::{Shared, check_landed};
use forebay_io::{Buf, Error, Kind, Location, Meta, Object, Operation, Result, Served};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;

/// See the module's words. The descriptor is closed when the object and every read of it are gone.
pub(crate) struct DirectObject {
    opened: Arc<Opened>,
}

struct Opened {
    file: Arc<OpenFile>,
    location: Location,
    meta: Meta,
    /// Bytes of a request.
    request: u64,
    shared: Arc<Shared>,
}

type Answers = Vec<(Buf, Result<Served>)>;

/// Who waits for ranges of an object.
struct Waiting {
    opened: Arc<Opened>,
    /// Those that could not be read at all, by their position.
    refused: Vec<(usize, Buf, Error)>,
    answer: oneshot::Sender<Answers>,
}

impl DirectObject {
    pub(crate) fn new(
        file: Arc<OpenFile>,
        location: Location,
        meta: Meta,
        request: u64,
        shared: Arc<Shared>,
    ) -> Self {
        DirectObject { opened: Arc::new(Opened { file, location, meta, request, shared }) }
    }

    async fn read_all(&self, ranges: Vec<(u64, Buf)>) -> Answers {
        let opened = &self.opened;
        let mut refused = Vec::new();
        let mut reads = Vec::with_capacity(ranges.len());
        for (index, (offset, buf)) in ranges.into_iter().enumerate() {
            match opened.check(offset, &buf) {
                Ok(()) => reads.push(Read::new(opened.file.clone(), offset, buf, opened.request)),
                Err(error) => refused.push((index, buf, error)),
            }
        }
        let (answer, answers) = oneshot::channel();
        let caller = Box::new(Waiting { opened: opened.clone(), refused, answer });
        if reads.is_empty() {
            caller.landed(Vec::new());
        } else {
            opened.shared.engine.submit(Flight { reads, caller, watched: opened.shared.watched() });
        }
        // An engine that ended may have left the memory to the kernel: there is nothing to give back.
        answers.await.expect("the ring failed while it read; see its message")
    }
}

impl Opened {
    fn check(&self, offset: u64, buf: &Buf) -> Result<()> {
        let size = self.meta.size;
        match offset.checked_add(buf.len() as u64) {
            Some(end) if end <= size => Ok(()),
            _ => {
                let context =
                    format!("{} bytes from {offset} on are not inside the {size} bytes there are", buf.len());
                Err(Error::new(Kind::InvalidRange, Operation::Read, context).at(&self.location))
            }
        }
    }

    fn served(&self, landed: &Landed) -> Result<Served> {
        check_landed(Operation::Read, landed, self.meta.size, &self.location)?;
        Ok(Served {
            bytes: landed.buf.len() as u64,
            elapsed: landed.elapsed,
            first_byte: None,
            cache: landed.file.rung.cache(),
        })
    }
}

impl Caller for Waiting {
    fn gave_up(&self) -> bool {
        self.answer.is_canceled()
    }

    fn landed(self: Box<Self>, landed: Vec<Landed>) {
        let Waiting { opened, refused, answer } = *self;
        if opened.shared.watched() {
            let told: Vec<_> = landed.iter().map(|l| (&opened.location, &*l.requests)).collect();
            opened.shared.attempted(Operation::Read, &told);
        }
        let mut answers: Answers = landed
            .into_iter()
            .map(|landed| {
                let served = opened.served(&landed);
                (landed.buf, served)
            })
            .collect();
        for (index, buf, error) in refused {
            answers.insert(index, (buf, Err(error)));
        }
        // Given up before anybody hears of the result, so that who drops the object then closes the file.
        drop(opened);
        let _ = answer.send(answers);
    }
}

impl Object for DirectObject {
    fn meta(&self) -> &Meta {
        &self.opened.meta
    }

    fn read_into<'a>(&'a self, offset: u64, buf: Buf) -> BoxFuture<'a, (Buf, Result<Served>)> {
        async move { self.read_all(vec![(offset, buf)]).await.remove(0) }.boxed()
    }

    fn read_many<'a>(&'a self, ranges: Vec<(u64, Buf)>) -> BoxFuture<'a, Answers> {
        self.read_all(ranges).boxed()
    }
}

impl fmt::Debug for DirectObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectObject")
            .field("location", &self.opened.location)
            .field("meta", &self.opened.meta)
            .field("rung", &self.opened.file.rung)
            .finish_non_exhaustive()
    }
}
