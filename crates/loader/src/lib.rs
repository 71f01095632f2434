//! Samples in a reproducible order, delivered in contiguous batches inside a memory cap.
//!
//! * A [`Dataset`] is a sorted list of samples, packed: files, or parts of files that hold many
//!   ([`Format`]).
//! * [`LoaderOptions`] say how it is read; [`OPTIONS`] is their one definition, from which the
//!   command line and Python take names, ranges and help.
//! * A [`Loader`] binds a store, a dataset and options. [`Loader::start`] begins an [`Epoch`], which
//!   yields [`Batch`]es. [`Loader::state`] is all that is needed to go on later, in the middle of an
//!   epoch, with another number of ranks or workers.
//!
//! The order of samples is a pure function of seed, epoch, rank and world size ([`Order`], [`Sampler`]). A
//! failed read ends the epoch with its error, in the place of the batch that it belongs to, and
//! never as if the data had ended; or, where [`OnError`] says so, costs one sample, which
//! [`Loader::quarantine`] tells of.
//!
//! What this crate never does: copy a sample's bytes, read the environment, or keep a thread.
//!
//! ```
//! use forebay_io::{ListOptions, Location, MemoryStore, PutOptions, Store};
//! use forebay_loader::{Dataset, Loader, LoaderOptions};
//! use std::sync::Arc;
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
//! # runtime.block_on(async {
//! let store = Arc::new(MemoryStore::new());
//! let root: Location = "mem://set/train".parse()?;
//! for i in 0..10u8 {
//!     store.put(&root.join(&[b'a' + i]), vec![i; 100].into(), PutOptions::default()).await?;
//! }
//!
//! let dataset = Arc::new(Dataset::list(&*store, &root, ListOptions::recursive()).await?);
//! let options = LoaderOptions { batch_size: 4, shuffle: true, seed: 7, ..LoaderOptions::default() };
//! let loader = Loader::new(store, dataset, options)?;
//!
//! let mut epoch = loader.start(&tokio::runtime::Handle::current())?;
//! let mut seen = Vec::new();
//! while let Some(batch) = epoch.next().await {
//!     let batch = batch?;
//!     for (i, &id) in batch.ids().iter().enumerate() {
//!         assert_eq!(batch.sample(i), &[id as u8; 100]);
//!         seen.push(id);
//!     }
//! }
//! seen.sort();
//! assert_eq!(seen, (0..10).collect::<Vec<_>>());
//! # Ok::<_, forebay_io::Error>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod batch;
mod checksum;
mod choice;
mod damage;
mod dataset;
mod dataset_options;
mod deadline;
mod draws;
mod epoch;
mod extent;
mod fingerprint;
mod format;
mod hand;
mod honoured;
mod index;
mod index_mode;
mod key_table;
mod left;
mod listing;
mod loader;
mod manifest;
mod memory;
mod mend;
mod on_error;
mod option_file;
mod option_info;
mod option_table;
mod options;
mod order;
mod permutation;
mod pick;
mod preset;
mod progress;
mod quarantine;
mod read_batch;
mod sampler;
mod samples;
mod seats;
mod shard;
mod source;
mod state;
mod strides;
mod window;
mod zipf;

pub use batch::Batch;
pub use choice::{CachePolicy, Collate, LoadingMode, ReaderMode, Remainder, StartMethod, Wish};
pub use damage::Damage;
pub use dataset::Dataset;
pub use dataset_options::{DATASET_OPTIONS, DatasetOption, DatasetOptions};
pub use epoch::{Epoch, Waited};
pub use extent::Extent;
pub use forebay_pipeline::{Control, PipelineStats, TaskSeen, Watch};
pub use format::Format;
pub use format::npy::ArrayMeta;
pub use format::webdataset::Member;
pub use index::cache::{IndexPlace, Indexed};
pub use index_mode::{IndexMode, Theta};
pub use listing::Listing;
pub use loader::Loader;
pub use manifest::ManifestKind;
pub use on_error::OnError;
pub use option_file::OptionFormat;
pub use option_info::{OptionInfo, OptionKind};
pub use option_table::OPTIONS;
pub use options::LoaderOptions;
pub use order::{Displacement, Order};
pub use permutation::Permutation;
pub use preset::{PRESETS, Preset};
pub use progress::Progress;
pub use quarantine::{Quarantine, Quarantined, Treatment};
pub use sampler::Sampler;
pub use source::Source;
pub use state::State;
