//! A store with shards in it, and a loader that reads every sample of it.

use forebay_io::{Location, MemoryStore, PutOptions, Result, Store};
use forebay_loader::{Dataset, DatasetOptions, Format, IndexPlace, Loader, LoaderOptions};
use std::sync::Arc;
use tokio::runtime::Runtime;

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

pub(crate) fn root() -> Location {
    "mem://set/shards".parse().unwrap()
}

pub(crate) async fn store(objects: &[(&str, Vec<u8>)]) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    for (key, bytes) in objects {
        let body = bytes.clone().into();
        store.put(&root().join(key.as_bytes()), body, PutOptions::default()).await.unwrap();
    }
    store
}

/// Every sample by its id, read by a shuffled loader.
pub(crate) fn load(runtime: &Runtime, store: Arc<dyn Store>, dataset: Dataset) -> Vec<Vec<u8>> {
    read(runtime, store, dataset).unwrap()
}

fn read(runtime: &Runtime, store: Arc<dyn Store>, dataset: Dataset) -> Result<Vec<Vec<u8>>> {
    let options =
        LoaderOptions { batch_size: 3, num_workers: 2, shuffle: true, seed: 5, ..LoaderOptions::default() };
    let mut samples = vec![Vec::new(); dataset.len() as usize];
    let loader = Loader::new(store, Arc::new(dataset), options).unwrap();
    let mut epoch = loader.start(runtime.handle()).unwrap();
    while let Some(batch) = epoch.next_blocking() {
        let batch = batch?;
        for (i, &id) in batch.ids().iter().enumerate() {
            samples[id as usize] = batch.sample(i).to_vec();
        }
    }
    Ok(samples)
}

/// Options that keep no index.
pub(crate) fn of(format: Format) -> DatasetOptions {
    DatasetOptions { format, index: IndexPlace::Nowhere, ..DatasetOptions::default() }
}

/// The samples that a store with one shard gives.
pub(crate) fn samples(format: Format, shard: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    let runtime = runtime();
    let store = runtime.block_on(store(&[("a", shard)]));
    let dataset = runtime.block_on(Dataset::open(&*store, &root(), of(format)))?;
    read(&runtime, store, dataset)
}
