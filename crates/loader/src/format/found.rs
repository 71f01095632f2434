//! What a scanner finds in a shard, on its way to the index.

use crate::checksum::Check;
use crate::damage::Place;
use crate::format::shard_bytes::ShardBytes;
use forebay_io::{Error, Kind, Operation, Result};
use std::ops::Range;
use tokio::sync::mpsc;

/// One sample.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) range: Range<u64>,
    pub(crate) check: Option<Check>,
    /// What decoding it needs beside its bytes.
    pub(crate) extra: Vec<u8>,
}

/// What a scanner comes across.
#[derive(Debug)]
pub(crate) enum Find {
    Sample(Found),
    /// Something is lost here.
    Damage(Place),
}

/// Samples sent together: each send may wake somebody.
const TOGETHER: usize = 1024;

/// Hands samples on in larger pieces, and waits while nobody takes them: what is found and not yet written
/// is bounded.
pub(crate) struct Finds {
    sender: mpsc::Sender<Vec<Find>>,
    piece: Vec<Find>,
    /// Whether damage may be handed on, and is no error.
    tolerant: bool,
}

impl Finds {
    pub(crate) fn new(sender: mpsc::Sender<Vec<Find>>, tolerant: bool) -> Self {
        Finds { sender, piece: Vec::new(), tolerant }
    }

    pub(crate) async fn push(&mut self, found: Found) -> Result<()> {
        self.find(Find::Sample(found)).await
    }

    /// Hands on what is lost at the damage that `error` is about, which `shard` told of last.
    ///
    /// # Errors
    /// `error`, if it is about something else, or damage is not tolerated.
    pub(crate) async fn lost(&mut self, shard: &mut ShardBytes<'_>, error: Error) -> Result<()> {
        match shard.take_damage().filter(|_| self.tolerant && error.kind() == Kind::Corrupt) {
            Some(place) => self.find(Find::Damage(place)).await,
            None => Err(error),
        }
    }

    async fn find(&mut self, find: Find) -> Result<()> {
        self.piece.push(find);
        if self.piece.len() >= TOGETHER { self.flush().await } else { Ok(()) }
    }

    pub(crate) async fn flush(&mut self) -> Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() {
            return Ok(());
        }
        let gone = |_| Error::new(Kind::Cancelled, Operation::Get, "the index is not written any more");
        self.sender.send(piece).await.map_err(gone)
    }
}
