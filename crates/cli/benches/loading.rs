//! What `cargo xtask bench` asks of the loader itself, measured in one process, interleaved:
//!
//! * `metrics FOLDER`: epochs with metrics and without, in turn; the price of measuring.
//! * `trace FOLDER`: the same with a trace and without.
//! * `startup FOLDER`: a bare listing, and the time to a loader's first batch, in turn; and what the
//!   list of samples keeps resident.
//!
//! Prints one line of JSON: for each contender the seconds and CPU seconds of each repeat.

use forebay_io::layer::Observed;
use forebay_io::{ListOptions, Location, Store};
use forebay_io_open::StoreOptions;
use forebay_loader::{Dataset, Loader, LoaderOptions};
use forebay_metrics::MetricsCollector;
use forebay_trace::{Clock, Header, Recorder, RecorderOptions};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // Cargo adds `--bench`; run without a subcommand, as `cargo test` does, there is nothing to do.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [what, folder, repeats] = arguments.as_slice() else {
        println!("usage: loading metrics|trace|startup FOLDER REPEATS");
        return Ok(());
    };
    let repeats: usize = repeats.parse()?;
    let bench = Bench::new(Path::new(folder))?;
    let result = match what.as_str() {
        "metrics" => bench.metrics(repeats)?,
        "trace" => bench.trace(repeats)?,
        "startup" => bench.startup(repeats)?,
        other => return Err(format!("{other:?} is not one of metrics, trace, startup").into()),
    };
    println!("{result}");
    Ok(())
}

struct Bench {
    root: Location,
    store: Arc<dyn Store>,
    runtime: Runtime,
}

/// Readings of one contender, and what to call it.
struct Series(&'static str, Vec<(f64, f64)>);

impl Series {
    fn time<T>(&mut self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let (cpu, begin) = (cpu_seconds(), Instant::now());
        let value = run()?;
        self.1.push((begin.elapsed().as_secs_f64(), cpu_seconds() - cpu));
        Ok(value)
    }

    fn json(&self) -> Value {
        let (seconds, cpu): (Vec<f64>, Vec<f64>) = self.1.iter().copied().unzip();
        json!({ "seconds": seconds, "cpu_seconds": cpu })
    }
}

fn result(series: &[Series], facts: Value) -> Value {
    let mut map: Map<String, Value> = series.iter().map(|s| (s.0.to_owned(), s.json())).collect();
    map.insert("facts".to_owned(), facts);
    Value::Object(map)
}

impl Bench {
    fn new(folder: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
        let root = Location::from_path(&folder.canonicalize()?)?;
        let store = forebay_io_open::open(&root, &StoreOptions::default())?;
        Ok(Bench { root, store, runtime })
    }

    fn dataset(&self) -> Result<Arc<Dataset>> {
        let listed = Dataset::list(&*self.store, &self.root, ListOptions::recursive());
        Ok(Arc::new(self.runtime.block_on(listed)?))
    }

    fn options(&self) -> LoaderOptions {
        LoaderOptions { batch_size: 32, shuffle: true, ..LoaderOptions::default() }
    }

    fn metrics(&self, repeats: usize) -> Result<Value> {
        let dataset = self.dataset()?;
        let loader = |collector| {
            Loader::with_collector(self.store.clone(), dataset.clone(), self.options(), collector)
        };
        let (on, off) = (loader(Some(Arc::new(MetricsCollector::new())))?, loader(None)?);
        self.compare(&on, &off, repeats, dataset.len())
    }

    fn trace(&self, repeats: usize) -> Result<Value> {
        let dataset = self.dataset()?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("bench.jsonl.zst");
        let header = Header::new("bench", "", Clock { realtime_ns: 0, monotonic_ns: None });
        let recorder = Recorder::create(&path, header, Instant::now(), &RecorderOptions::default())?;
        let loader = |store| {
            let collector = Some(Arc::new(MetricsCollector::new()));
            Loader::with_collector(store, dataset.clone(), self.options(), collector)
        };
        let on = loader(Arc::new(Observed::new(self.store.clone(), recorder.clone())))?;
        let off = loader(self.store.clone())?;
        let mut result = self.compare(&on, &off, repeats, dataset.len())?;
        let recorded = recorder.finish().ok_or("the recording ended before")?;
        let facts = &mut result["facts"];
        facts["records"] = recorded.records.into();
        facts["dropped"] = recorded.dropped.into();
        facts["bytes_a_record"] = (recorded.bytes as f64 / recorded.records.max(1) as f64).into();
        Ok(result)
    }

    /// Epochs for at least a second each, so that a difference of a percent can be told from noise.
    fn compare(&self, on: &Loader, off: &Loader, repeats: usize, samples: u64) -> Result<Value> {
        let once = |loader: &Loader| -> Result<()> {
            let mut epoch = loader.start(self.runtime.handle())?;
            while let Some(batch) = epoch.next_blocking() {
                batch?;
            }
            Ok(())
        };
        let warm = Instant::now();
        once(on)?;
        once(off)?;
        let epochs = (Duration::from_secs(2).as_secs_f64() / warm.elapsed().as_secs_f64()).ceil() as usize;
        let mut series = [Series("on", Vec::new()), Series("off", Vec::new())];
        for repeat in 0..repeats {
            // Whoever goes second finds caches and clocks as the first left them, so they take turns.
            for turn in 0..2 {
                let which = (repeat + turn) % 2;
                let loader = [on, off][which];
                series[which].time(|| (0..epochs).try_for_each(|_| once(loader)))?;
            }
        }
        Ok(result(&series, json!({ "samples": samples, "epochs": epochs })))
    }

    fn startup(&self, repeats: usize) -> Result<Value> {
        let folder = self.root.as_path();
        let mut series = [
            Series("bare listing", Vec::new()),
            Series("first batch", Vec::new()),
            Series("first batch, shuffled", Vec::new()),
        ];
        let (mut samples, mut table, mut resident) = (0, 0, 0);
        for repeat in 0..=repeats {
            let count = series[0].time(|| Ok(std::fs::read_dir(folder)?.count()))?;
            for shuffle in [false, true] {
                let before = resident_bytes()?;
                let (loader, epoch) = series[1 + usize::from(shuffle)].time(|| {
                    let dataset = self.dataset()?;
                    let options = LoaderOptions { shuffle, ..self.options() };
                    let loader = Loader::new(self.store.clone(), dataset, options)?;
                    let mut epoch = loader.start(self.runtime.handle())?;
                    epoch.next_blocking().ok_or("no batch")??;
                    Ok((loader, epoch))
                })?;
                // What was only needed to build the list is the allocator's to give back, or not.
                resident = resident_bytes()?.saturating_sub(before).max(resident);
                let dataset = loader.dataset().ok_or("no dataset")?;
                (samples, table) = (dataset.len(), dataset.memory());
                if samples != count as u64 {
                    return Err(format!("{samples} samples, {count} directory entries").into());
                }
                drop(epoch);
            }
            if repeat == 0 {
                series.iter_mut().for_each(|series| series.1.clear());
            }
        }
        let facts = json!({ "samples": samples, "table_bytes": table, "resident_growth_bytes": resident });
        Ok(result(&series, facts))
    }
}

/// CPU seconds of all threads of this process.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn resident_bytes() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("no second field in statm")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}
