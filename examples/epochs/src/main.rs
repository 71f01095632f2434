//! Two shuffled epochs over a directory, inside a memory cap.
use forebay_io::{ListOptions, Location};
use forebay_loader::{Dataset, Loader, LoaderOptions};
use std::sync::Arc;
use tokio::runtime::Handle;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place = std::env::args().nth(1).ok_or("which directory?")?;
    let root = Location::parse(&place, &std::env::current_dir()?)?;
    let store = forebay_io_open::open(&root, &Default::default())?;
    let dataset = Dataset::list(&*store, &root, ListOptions::recursive()).await?;
    println!("{} samples in {root}", dataset.len());

    let options = LoaderOptions {
        batch_size: 32,
        shuffle: true,
        seed: 1,
        max_bytes_in_flight: 64 << 20,
        ..LoaderOptions::default()
    };
    let loader = Loader::new(store, Arc::new(dataset), options)?;
    for _ in 0..2 {
        let mut epoch = loader.start(&Handle::current())?;
        while let Some(batch) = epoch.next().await {
            let batch = batch?; // a failed read is an error here, never an early end
            if batch.index() == 0 {
                let (count, bytes) = (batch.len(), batch.sample(0).len());
                println!(
                    "{count} samples in one buffer; the first is number {}, {bytes} bytes",
                    batch.ids()[0]
                );
            }
        }
        let progress = epoch.progress();
        println!("epoch {}: {} samples, {} bytes", progress.epoch, progress.samples, progress.bytes);
    }
    Ok(())
}
