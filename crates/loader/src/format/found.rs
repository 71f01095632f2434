//! What a scanner finds in a shard, on its way to the index.

use crate::checksum::Check;
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

/// Samples sent together: each send may wake somebody.
const TOGETHER: usize = 1024;

/// Hands samples on in larger pieces, and waits while nobody takes them: what is found and not yet written
/// is bounded.
pub(crate) struct Finds {
    sender: mpsc::Sender<Vec<Found>>,
    piece: Vec<Found>,
}

impl Finds {
    pub(crate) fn new(sender: mpsc::Sender<Vec<Found>>) -> Self {
        Finds { sender, piece: Vec::new() }
    }

    pub(crate) async fn push(&mut self, found: Found) -> Result<()> {
        self.piece.push(found);
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
