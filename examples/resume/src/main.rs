//! An epoch that is begun by one rank and finished by two.
use forebay_io::{ListOptions, Location, Store};
use forebay_loader::{Dataset, Epoch, Loader, LoaderOptions, State};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::runtime::Handle;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let place = std::env::args().nth(1).ok_or("which directory?")?;
    let root = Location::parse(&place, &std::env::current_dir()?)?;
    let store = forebay_io_open::open(&root, &Default::default())?;
    let dataset = Arc::new(Dataset::list(&*store, &root, ListOptions::recursive()).await?);
    let mut seen = BTreeSet::new();

    let alone = loader(&store, &dataset, 0, 1)?;
    let mut epoch = alone.start(&Handle::current())?;
    read(&mut epoch, 3, &mut seen).await?;
    let saved = alone.state().to_json();
    drop(epoch);
    println!("one rank read {} of {} samples and saved:\n{saved}", seen.len(), dataset.len());

    for rank in 0..2 {
        let loader = loader(&store, &dataset, rank, 2)?;
        loader.load_state(&State::from_json(&saved)?)?;
        let count = read(&mut loader.start(&Handle::current())?, usize::MAX, &mut seen).await?;
        println!("rank {rank} of 2 read {count} more");
    }
    if seen.len() as u64 != dataset.len() {
        return Err(format!("only {} of {} samples were read", seen.len(), dataset.len()).into());
    }
    println!("every sample was read exactly once");
    Ok(())
}

fn loader(
    store: &Arc<dyn Store>,
    dataset: &Arc<Dataset>,
    rank: usize,
    world: usize,
) -> Result<Loader, Failure> {
    let options = LoaderOptions {
        batch_size: 16,
        shuffle: true,
        seed: 1,
        shard_rank: rank,
        shard_world_size: world,
        ..LoaderOptions::default()
    };
    Ok(Loader::new(store.clone(), dataset.clone(), options)?)
}

/// Reads at most `batches` batches; answers how many samples they had.
async fn read(epoch: &mut Epoch, batches: usize, seen: &mut BTreeSet<u64>) -> Result<usize, Failure> {
    let mut count = 0;
    for _ in 0..batches {
        let Some(batch) = epoch.next().await.transpose()? else { break };
        for &id in batch.ids() {
            if !seen.insert(id) {
                return Err(format!("sample {id} came twice").into());
            }
            count += 1;
        }
    }
    Ok(count)
}
