//! Where indexes are kept between runs, and whether the one that is there still fits.

use super::{Image, Index, Sink};
use bytes::Bytes;
use forebay_io::{
    Body, Budget, Error, Kind, Location, Operation, Pool, PutOptions, ReadOptions, Result, Store, read,
};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where an index is kept.
#[derive(Debug, Clone, Default)]
pub enum IndexPlace {
    /// Beside the data, in the same store: `train` has its index at `train.<format>-<digest>.index`.
    #[default]
    Beside,
    /// Nowhere: it is made anew each time, and kept in memory.
    Nowhere,
    /// In a folder.
    Folder {
        /// The store that the folder is in.
        store: Arc<dyn Store>,
        /// The folder.
        folder: Location,
    },
}

/// What was done to have an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indexed {
    /// Nothing: the objects are the samples, or their sizes say it all.
    Needless,
    /// The index that was there fits.
    Reused(Location),
    /// It was made, and saved where it says.
    Built(Option<Location>),
    /// There was one, but of other data or damaged; it was made anew.
    Rebuilt {
        /// Where it was and is.
        location: Location,
        /// Why it was not used.
        why: String,
    },
}

impl fmt::Display for Indexed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Indexed::Needless => f.write_str("no index is needed"),
            Indexed::Reused(location) => write!(f, "the index {location} fits"),
            Indexed::Built(Some(location)) => write!(f, "the index {location} was made"),
            Indexed::Built(None) => f.write_str("the index was made, and saved nowhere"),
            Indexed::Rebuilt { location, why } => write!(f, "the index {location} was made anew: {why}"),
        }
    }
}

/// Writes an index into a sink, and may take from one of other data what is still good. Boxed, because what generic futures make of it is not `Send` in the
/// compiler's eyes.
pub(crate) type Build<'a> =
    Box<dyn FnOnce(Sink, Option<Arc<Index>>) -> BoxFuture<'a, Result<Sink>> + Send + 'a>;

/// Chunks between the one who writes an index and the store that takes it.
const CHUNKS: usize = 4;

/// What is found where an index is kept.
pub(crate) enum There {
    Nothing,
    Fits(Index),
    /// It is of other data, or of what these were.
    Stale(Index),
    Damaged(String),
}

/// A place for one index.
pub(crate) struct Keeper<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) location: Location,
    /// Larger indexes stay in their file, where that is a local one.
    pub(crate) resident: u64,
}

impl<'a> Keeper<'a> {
    /// The place that `place` says, for the index of `root` under `spec`; none for nowhere.
    pub(crate) fn at(
        place: &'a IndexPlace,
        store: &'a dyn Store,
        root: &Location,
        name: &str,
        spec: &str,
        resident: u64,
    ) -> Result<Option<Self>> {
        match place {
            IndexPlace::Nowhere => Ok(None),
            IndexPlace::Beside => {
                let digest = &blake3::hash(spec.as_bytes()).to_hex()[..8];
                let path = root.path_bytes();
                if path.iter().all(|&byte| byte == b'/') {
                    let context = "index=beside: there is no place beside it; name a folder, or none";
                    return Err(Error::invalid(context).at(root));
                }
                // By way of text, because that is how a location of any scheme is made.
                let beside = root.to_string();
                let beside = format!("{}.{name}-{digest}.index", beside.trim_end_matches('/'));
                Ok(Some(Keeper { store, location: beside.parse()?, resident }))
            }
            IndexPlace::Folder { store, folder } => {
                let digest = blake3::hash(format!("{root}\n{spec}").as_bytes()).to_hex();
                let location = folder.join(format!("{}.{name}.index", &digest[..32]).as_bytes());
                Ok(Some(Keeper { store: &**store, location, resident }))
            }
        }
    }

    /// What is there of an index that was made from `source`.
    pub(crate) async fn look(&self, source: &[u8; 32]) -> Result<There> {
        let image = match self.image().await {
            Ok(image) => image,
            Err(error) if error.kind() == Kind::NotFound => return Ok(There::Nothing),
            Err(error) => return Err(error),
        };
        Ok(match Index::open(image) {
            Ok(index) if index.about().source == *source => There::Fits(index),
            Ok(index) => There::Stale(index),
            Err(damage) => There::Damaged(damage),
        })
    }

    async fn image(&self) -> Result<Image> {
        let size = self.store.stat(&self.location).await?.size;
        if size > self.resident && self.location.scheme() == "file" {
            let opened = std::fs::File::open(self.location.as_path())
                .and_then(|file| file.metadata().map(|meta| Image::File(file, meta.len())));
            return opened.map_err(|error| Error::from_os(Operation::Open, error).at(&self.location));
        }
        let pool = Pool::new(Budget::new(size.next_multiple_of(4096).max(4096))?);
        let options = ReadOptions { stage: "index", ..ReadOptions::default() };
        let block = read(self.store, &self.location, Some(0..size), options, &pool).await?;
        Ok(Image::Memory(Bytes::copy_from_slice(block.slot(0).unwrap_or_default())))
    }

    /// Saves what `build` writes, whole or not at all, and opens it.
    ///
    /// # Errors
    /// Those of `build`; as [`Store::put`].
    pub(crate) async fn save(&self, build: Build<'_>, old: Option<Arc<Index>>) -> Result<Index> {
        let (sender, receiver) = mpsc::channel::<Result<Bytes>>(CHUNKS);
        let chunks = stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        });
        let body = Body::stream(chunks.boxed(), None);
        let put = self.store.put(&self.location, body, PutOptions::default());
        let built = async {
            let built = build(Sink::Stream(sender.clone()), old).await;
            if let Err(error) = &built {
                // Else the store would take the end of the stream for the end of the index.
                let _ = sender.send(Err(error.duplicate())).await;
            }
            drop(sender);
            built.map(drop)
        };
        let (put, built) = futures::join!(put, built);
        match (built, put) {
            // The store went away first: its error is the cause.
            (Err(error), Err(cause)) if error.kind() == Kind::Cancelled => return Err(self.refused(cause)),
            (Err(error), _) => return Err(error),
            (Ok(()), put) => put.map_err(|error| self.refused(error))?,
        };
        let index = Index::open(self.image().await?);
        index.map_err(|damage| {
            let context = format!("the index that was just written is damaged: {damage}");
            Error::new(Kind::Corrupt, Operation::Get, context).at(&self.location)
        })
    }

    fn refused(&self, error: Error) -> Error {
        error.context("the index cannot be saved (index=none keeps it in memory, or name a folder)")
    }
}

/// Makes an index in memory.
pub(crate) async fn unsaved(build: Build<'_>) -> Result<Index> {
    let bytes = match build(Sink::Memory(Vec::new()), None).await? {
        Sink::Memory(bytes) => bytes,
        Sink::Stream(_) => Vec::new(),
    };
    Index::open(Image::Memory(bytes.into())).map_err(|damage| {
        Error::new(Kind::Corrupt, Operation::Configure, format!("the index in memory is damaged: {damage}"))
    })
}
