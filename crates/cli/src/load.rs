//! `forebay load`: the loader over anything, and the report of what it did.

use crate::context::Context;
use crate::cpu::CpuTime;
use crate::dataset_flags::{DatasetFlags, Opened};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::live::{Live, When};
use crate::loader_flags::LoaderFlags;
use crate::manifest::{self, Manifest, Promise};
use crate::metrics_out::{self, MetricsOut};
use crate::named_files::NamedFiles;
use crate::problems::{self, Problem};
use crate::quarantine;
use crate::timeline::Timeline;
use forebay_io::{Kind, Location, PageCacheMode};
use forebay_loader::{
    Batch, Control, Dataset, Epoch, Format, IndexMode, Loader, LoaderOptions, LoadingMode, Order, Source,
};
use forebay_metrics::{MetricsSnapshot, Report, RunFacts, units};
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

/// Loads everything beneath a location in batches, and reports how that went.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One file is one sample, unless --format says how samples lie in files. Ctrl-C ends the run and prints the report of what was loaded.

With --verify, exit code 4 if a sample's bytes are not those of the manifest, or if a whole epoch (no --glob, \
--limit, --drop-last, --random-index-mode or shards) did not bring every file of the manifest exactly once.

With --json: with --verify one line a problem, as of `forebay verify`; then one line, {\"type\": \"summary\", \
\"root\", \"samples_in_dataset\" (null with --loading-mode=streaming), \"options\", \
\"displacement\" (\"mean\" and \"most\" places that the order carries a sample; null where it has none), \"facts\", \"problems\" (null without --verify), \"quarantine\", \"metrics\"}. \
\"metrics\" is the snapshot of forebay's metrics, \"facts\" has \"elapsed_s\", \"cpu_user_s\", \"cpu_system_s\", \
\"samples\", \"batches\", \"bytes\", \"epochs\", \"max_bytes_in_flight\" and \"page_cache_requested\".

--metrics-out FILE.json has the same \"facts\" and \"metrics\", a line for each interval and one for the end \
(\"ended\"); `forebay report` prints, merges, compares and draws such files.")]
pub(crate) struct Args {
    /// A path or a URI
    uri: OsString,
    /// How often to load everything
    #[arg(long, value_name = "E", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// End each epoch after so many batches
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Check every sample against a manifest [default: URI.manifest.jsonl beside URI]
    #[arg(long, value_name = "MANIFEST", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    verify: Option<OsString>,
    /// Whether to show how it goes
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    progress: When,
    /// Write a timeline of operations, stages and queues to FILE (.json), which ui.perfetto.dev opens
    #[arg(long, value_name = "FILE")]
    chrome_trace: Option<PathBuf>,
    #[command(flatten)]
    dataset: DatasetFlags,
    #[command(flatten)]
    metrics: metrics_out::Flags,
    #[command(flatten)]
    loader: LoaderFlags,
}

impl Args {
    /// The file that a timeline goes to.
    pub(crate) fn chrome_trace(&self) -> Option<&PathBuf> {
        self.chrome_trace.as_ref()
    }

    /// The files that it names.
    pub(crate) fn name_files(&self, named: &mut NamedFiles<'_>) {
        match &self.verify {
            None => named.reads(&self.uri),
            Some(manifest) => {
                named.reads_with_manifest(&self.uri, Some(manifest.as_os_str()).filter(|it| !it.is_empty()));
            }
        }
        self.dataset.name_files(named);
        self.chrome_trace.iter().for_each(|file| named.writes("--chrome-trace", file));
    }

    /// How the run is measured.
    pub(crate) fn metrics(&self) -> &metrics_out::Flags {
        &self.metrics
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    let options = args.loader.options()?;
    let out = MetricsOut::new(&args.metrics, &context.cwd)?;
    let mut check = None;
    let (source, store) = match options.loading_mode {
        LoadingMode::Streaming if args.verify.is_some() => {
            return Err(Failure::usage(
                "--verify compares a whole listing with the manifest, which --loading-mode=streaming does not \
                 wait for; use ordered or completion",
            ));
        }
        LoadingMode::Streaming => {
            let (listing, store) = args.dataset.streamed(&args.uri, context)?;
            (Source::from(Arc::new(listing)), store)
        }
        LoadingMode::Ordered | LoadingMode::Completion => {
            let Opened { dataset, store, .. } =
                args.dataset.open(&args.uri, Some(options.on_error), context).await?;
            if let Some(place) = &args.verify {
                check = Some(Check::new(place, &dataset, &args, &options, context).await?);
            }
            (Source::from(dataset), store)
        }
    };
    let root = source.root().clone();

    let collector = Some(context.collector.clone());
    let mut loader = Loader::with_collector(store, source, options.clone(), collector)?;
    if let Some((origin, watch)) = context.timeline.as_ref().map(Timeline::watch) {
        loader = loader.watched(origin, watch);
    }
    let batches = [loader.batches(), args.limit].into_iter().flatten().min();
    let mut live = Live::new(context, args.progress, args.epochs, batches);
    let mut run = Run {
        begin: Instant::now(),
        cpu: CpuTime::now(),
        batches: 0,
        epochs: 0,
        pipeline: MetricsSnapshot::default(),
        out,
    };
    let mut stopped = None;
    for epoch in 0..args.epochs {
        let mut batches = loader.start(&tokio::runtime::Handle::current())?;
        let end = run.epoch(&mut batches, &loader, args.limit, check.as_mut(), &mut live, context).await;
        run.pipeline
            .merge(&pipeline_only(batches.snapshot()))
            .map_err(|e| Failure::refused(Kind::Unavailable, e.to_string()))?;
        // Nothing of this epoch may run on into the next, or be missing from the report.
        batches.cancel();
        batches.closed().await;
        match end? {
            Ended::Whole => run.epochs += 1,
            Ended::Limited => {
                run.epochs += 1;
                loader.set_epoch(epoch + 1);
            }
            Ended::Interrupted(exit) => {
                stopped = Some(exit);
                break;
            }
        }
        if let Some(check) = &mut check {
            check.end_epoch(&root, context)?;
        }
    }
    let facts = run.facts(&loader, context);
    let snapshot =
        MetricsSnapshot { stages: run.pipeline.stages, queues: run.pipeline.queues, ..loader.snapshot() };
    context.console.clear_bar();
    if let Some(out) = run.out {
        out.end(&facts, &snapshot)?;
    }
    report(&root, &loader, &facts, &snapshot, check.as_mut(), context)?;
    let verdict = check.map_or(Exit::Done, |check| check.report.exit());
    Ok(stopped.unwrap_or(verdict))
}

/// Stages and queues are an epoch's own; operations are counted by the loader over all of them.
fn pipeline_only(snapshot: MetricsSnapshot) -> MetricsSnapshot {
    MetricsSnapshot { stages: snapshot.stages, queues: snapshot.queues, ..MetricsSnapshot::default() }
}

enum Ended {
    Whole,
    Limited,
    Interrupted(Exit),
}

/// A run under way.
struct Run {
    begin: Instant,
    cpu: CpuTime,
    batches: u64,
    epochs: u64,
    pipeline: MetricsSnapshot,
    out: Option<MetricsOut>,
}

impl Run {
    async fn epoch(
        &mut self,
        epoch: &mut Epoch,
        loader: &Loader,
        limit: Option<u64>,
        mut check: Option<&mut Check>,
        live: &mut Live,
        context: &Context,
    ) -> Result<Ended> {
        live.begin_epoch(epoch.progress().epoch);
        let control = epoch.control();
        let mut stop = pin!(context.stop.asked());
        for done in 0.. {
            if limit == Some(done) {
                return Ok(Ended::Limited);
            }
            let batch = {
                let mut next = pin!(epoch.next());
                loop {
                    let written = self.out.as_ref().and_then(MetricsOut::due);
                    let told = live.due();
                    tokio::select! {
                        biased;
                        exit = &mut stop => return Ok(Ended::Interrupted(exit)),
                        () = moment(written) => self.tick(loader, &control, context)?,
                        () = moment(told) => {
                            live.tell(&self.now(loader, &control)?, context.tally.bytes(), context);
                        }
                        batch = &mut next => break batch,
                    }
                }
            };
            let Some(batch) = batch else { break };
            let batch = batch?;
            self.batches += 1;
            context.tally.add_things(batch.len() as u64);
            context.tally.add_bytes(batch.sample_bytes());
            if let Some(check) = check.as_deref_mut() {
                check.batch(&batch, context)?;
            }
            live.delivered();
        }
        if live.tells_ends() {
            live.tell(&self.now(loader, &control)?, context.tally.bytes(), context);
        }
        Ok(Ended::Whole)
    }

    /// Everything measured until now, the epoch that is under way included.
    fn now(&self, loader: &Loader, control: &Control) -> Result<MetricsSnapshot> {
        let stats = control.stats();
        let mut now = self.pipeline.clone();
        now.merge(&MetricsSnapshot {
            stages: stats.stages,
            queues: stats.queues,
            ..MetricsSnapshot::default()
        })
        .map_err(|e| Failure::refused(Kind::Unavailable, e.to_string()))?;
        Ok(MetricsSnapshot { stages: now.stages, queues: now.queues, ..loader.snapshot() })
    }

    /// Writes what is known in the middle of a run.
    fn tick(&mut self, loader: &Loader, control: &Control, context: &Context) -> Result<()> {
        let facts = self.facts(loader, context);
        let snapshot = self.now(loader, control)?;
        self.out.as_mut().map_or(Ok(()), |out| out.tick(&facts, &snapshot))
    }

    fn facts(&self, loader: &Loader, context: &Context) -> RunFacts {
        let cpu = CpuTime::now().since(self.cpu);
        let mode: PageCacheMode = loader.options().page_cache_mode;
        RunFacts {
            cpu_user: Some(cpu.user),
            cpu_system: Some(cpu.system),
            samples: context.tally.things(),
            batches: self.batches,
            bytes: context.tally.bytes(),
            epochs: self.epochs,
            max_bytes_in_flight: Some(loader.budget().cap()),
            page_cache_requested: Some(mode.name().to_owned()),
            ..RunFacts::new(self.begin.elapsed())
        }
    }
}

/// Until then; for ever where that is never.
async fn moment(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn report(
    root: &Location,
    loader: &Loader,
    facts: &RunFacts,
    snapshot: &MetricsSnapshot,
    check: Option<&mut Check>,
    context: &Context,
) -> Result<()> {
    let (dataset, options, quarantine) = (loader.dataset(), loader.options(), loader.quarantine());
    let console = &context.console;
    // How well it is mixed: what a window costs there.
    let carried = dataset.and_then(|dataset| Order::new(dataset.len(), 0, options).displacement());
    if console.json() {
        console.record(&json!({
            "type": "summary",
            "root": root.to_string(),
            "samples_in_dataset": dataset.map(|dataset| dataset.len()),
            "options": options.to_json(),
            "displacement": carried.map(|carried| json!({ "mean": carried.mean, "most": carried.max })),
            "facts": facts,
            "problems": check.map(|check| check.report.to_json()),
            "quarantine": quarantine.to_json(),
            "metrics": snapshot,
        }))?;
        return console.flush();
    }
    console.print(Report::new(snapshot, facts).coloured(console.out_in_colour()))?;
    if let Some(carried) = carried.filter(|_| options.shuffle) {
        let (mean, most) = (units::number(carried.mean), units::count(carried.max));
        console.print(format_args!(
            "\nOrder         samples are carried {mean} places on average, {most} at most\n"
        ))?;
    }
    if !quarantine.is_empty() {
        console.print(quarantine::Listed(&quarantine))?;
    }
    if let Some(check) = check {
        console.print(format_args!("\n{}Verified      {}\n", check.report.list(), check.verdict()))?;
    }
    Ok(())
}

/// Samples against a manifest, while they are loaded.
struct Check {
    dataset: Arc<Dataset>,
    /// By sample id; none where the manifest does not know the file.
    promises: Vec<Option<Promise>>,
    /// By sample id: how often it came in this epoch.
    seen: Vec<bool>,
    /// Whether an epoch must bring everything.
    whole: bool,
    /// Whether it may bring something twice.
    repeats: bool,
    checked: u64,
    report: problems::Report,
}

impl Check {
    async fn new(
        place: &OsString,
        dataset: &Arc<Dataset>,
        args: &Args,
        options: &LoaderOptions,
        context: &Context,
    ) -> Result<Self> {
        let root = dataset.root();
        if *dataset.format() != Format::Raw || args.dataset.has("manifest") {
            return Err(Failure::usage(
                "--verify compares whole files beneath a location; use --verify-samples with other formats and \
                 with --manifest",
            ));
        }
        let place = match place.is_empty() {
            true => manifest::beside(root)?,
            false => context.locate(place)?,
        };
        let mut manifest = Manifest::read(&context.store(&place)?, &place).await?;
        let mut report = problems::Report::default();
        let promises = (0..dataset.len())
            .map(|id| manifest.files.remove(&*dataset.key(id).unwrap_or_default()))
            .collect::<Vec<_>>();
        let repeats = options.random_index_mode != IndexMode::None;
        let whole = !args.dataset.has("glob")
            && args.limit.is_none()
            && !options.drop_last
            && !repeats
            && options.shard_world_size == 1;
        if !args.dataset.has("glob") {
            // What is left is not in the dataset, so no epoch will bring it.
            for key in manifest.files.into_keys() {
                report.add(&key, Problem::Missing, root, context)?;
            }
        }
        let seen = vec![false; promises.len()];
        Ok(Check { dataset: dataset.clone(), promises, seen, whole, repeats, checked: 0, report })
    }

    fn batch(&mut self, batch: &Batch, context: &Context) -> Result<()> {
        for (i, &id) in batch.ids().iter().enumerate() {
            let key = self.dataset.key(id).unwrap_or_default();
            let problem = match self.promises.get(id as usize).copied().flatten() {
                None => Some(Problem::Extra),
                Some(promise) => problems::compare(batch.sample(i), &promise),
            };
            self.checked += 1;
            if let Some(problem) = problem {
                self.report.add(&key, problem, self.dataset.root(), context)?;
            }
            if std::mem::replace(&mut self.seen[id as usize], true) && !self.repeats {
                self.report.add(&key, Problem::Repeated, self.dataset.root(), context)?;
            }
        }
        Ok(())
    }

    fn end_epoch(&mut self, root: &Location, context: &Context) -> Result<()> {
        for (id, seen) in self.seen.iter_mut().enumerate() {
            if !std::mem::take(seen) && self.whole {
                let key = self.dataset.key(id as u64).unwrap_or_default();
                self.report.add(&key, Problem::NotDelivered, root, context)?;
            }
        }
        Ok(())
    }

    fn verdict(&self) -> String {
        format!("{} samples: {}", units::count(self.checked), self.report.verdict())
    }
}
