//! `forebay trace replay`: asks a store for what a trace says, when it says so.

use super::input::InputFlags;
use super::replay_report::report;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Result;
use crate::metrics_out;
use crate::named_files::NamedFiles;
use forebay_io::{PageCacheMode, parse_size};
use forebay_metrics::units;
use forebay_trace::Bounds;
use forebay_trace::replay::{
    Mode, Outcome, Priority, Remap, ReplayOptions, Rule, Stop, Stores, prepare, replay,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Replays a trace against its locations or others, and reports how true the replay was.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 4 if a bound (--max-…, --exact) is exceeded, or what it bounds could not be measured; 1 if all that was asked for failed, and not \
as recorded.

Ctrl-C ends the replay, prints the report, and says with which --skip to go on. What is in flight has a tenth of a second to end.

With --json one line: {\"type\": \"replay\", \"fidelity\", \"noise_floor_ns\", \"prepared\", \"violations\", \"position\"}; times are \
nanoseconds.")]
pub(crate) struct Args {
    /// The trace
    file: PathBuf,
    #[command(flatten)]
    input: InputFlags,
    /// What decides when: the trace's times (open), the store's pace (closed), or each stream's own (dependency)
    #[arg(long, value_name = "MODE", default_value = "open", value_parser = Mode::NAMES)]
    mode: String,
    /// In modes open and dependency, the trace's times are multiplied by this: 0.5 replays in half the time [default: 1]
    #[arg(long, value_name = "X")]
    time_scale: Option<f64>,
    /// In mode closed, operations in flight [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Begin here in the trace, as 1m30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    start: Option<Duration>,
    /// Stop before this in the trace
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    stop: Option<Duration>,
    /// The most operations in flight
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_in_flight: u32,
    /// The most bytes in flight
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size)]
    max_bytes_in_flight: u64,
    /// What is done to the page cache, as of `forebay load`; refused where a store cannot obey: map file:// to direct:// for
    /// direct_io
    #[arg(long, value_name = "MODE", default_value = "default")]
    page_cache_mode: PageCacheMode,
    /// How the kernel is to schedule the thread that submits: by its share (fair), or before all others (realtime), which is on
    /// time on busy processors too and takes CAP_SYS_NICE or an RLIMIT_RTPRIO of 1
    #[arg(long, value_name = "PRIORITY", default_value = "fair", value_parser = Priority::ALL.map(Priority::name))]
    priority: String,
    /// Locations that begin with FROM begin with TO: FROM=TO, or FROM=TO1|TO2 to spread; the first rule that fits counts
    #[arg(long = "map", value_name = "RULE")]
    map: Vec<Rule>,
    /// Also puts and deletes; otherwise they are left out
    #[arg(long)]
    mutate: bool,
    /// How often, one pass after the other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    loops: u32,
    /// Leave out so many operations at the beginning, which an earlier run has done
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
    /// First make the objects that the trace reads, where they are missing, with random content
    #[arg(long)]
    prepare: bool,
    /// With --prepare: replace objects that are too small
    #[arg(long, requires = "prepare")]
    replace: bool,
    #[command(flatten)]
    bounds: BoundFlags,
    #[command(flatten)]
    metrics: metrics_out::Flags,
}

/// How long an interrupted replay waits for what is in flight.
const PATIENCE: Duration = Duration::from_millis(100);

/// What the replay is held to.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Bounds")]
struct BoundFlags {
    /// The 99th percentile of how late operations are submitted, as 50us
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_submit_error: Option<Duration>,
    /// How much slower the replay's clock runs, either way, in parts of a million
    #[arg(long, value_name = "PPM")]
    max_drift: Option<f64>,
    /// The distance between the times between submissions, 0 to 1
    #[arg(long, value_name = "D")]
    max_gap_distance: Option<f64>,
    /// The distance between the sizes, 0 to 1
    #[arg(long, value_name = "D")]
    max_size_distance: Option<f64>,
    /// The distance between the latencies, 0 to 1, where the trace has some
    #[arg(long, value_name = "D")]
    max_latency_distance: Option<f64>,
    /// How far throughput is from the recording's, second by second, as a fraction
    #[arg(long, value_name = "F")]
    max_envelope_deviation: Option<f64>,
    /// Failures that the recording did not have
    #[arg(long, value_name = "N")]
    max_failures: Option<u64>,
    /// Operations that a cap on those in flight, or on their bytes, delayed
    #[arg(long, value_name = "N")]
    max_capped: Option<u64>,
    /// Stores must have been asked for exactly what the trace says: each location, offset and length, as often
    #[arg(long)]
    exact: bool,
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|e| e.to_string())
}

impl Args {
    /// How the run is measured.
    pub(super) fn metrics(&self) -> &metrics_out::Flags {
        &self.metrics
    }

    /// The files that it names.
    pub(super) fn name_files(&self, named: &mut NamedFiles<'_>) {
        named.reads(&self.file);
    }

    fn options(&self) -> Result<ReplayOptions> {
        Ok(ReplayOptions {
            priority: self.priority.parse()?,
            mode: Mode::named(&self.mode, self.time_scale, self.concurrency.map(|n| n as usize))?,
            from: self.start.unwrap_or_default(),
            until: self.stop,
            max_in_flight: self.max_in_flight as usize,
            max_bytes_in_flight: self.max_bytes_in_flight,
            page_cache: self.page_cache_mode,
            remap: Remap(self.map.clone()),
            mutate: self.mutate,
            loops: self.loops,
            skip: self.skip,
            ..ReplayOptions::default()
        })
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            submit_error_p99: self.bounds.max_submit_error,
            drift_ppm: self.bounds.max_drift,
            gap_distance: self.bounds.max_gap_distance,
            size_distance: self.bounds.max_size_distance,
            latency_distance: self.bounds.max_latency_distance,
            exact: self.bounds.exact,
            envelope_deviation: self.bounds.max_envelope_deviation,
            failures: self.bounds.max_failures,
            capped: self.bounds.max_capped,
        }
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit> {
    let (options, bounds) = (args.options()?, args.bounds());
    options.validate()?;
    bounds.validate(options.mode)?;
    args.map.iter().flat_map(Rule::targets).for_each(|target| context.stores.named(target));
    let stores: Arc<Stores> = {
        let stores = context.stores.clone();
        Arc::new(move |location| stores.at(location))
    };
    let input = {
        let flags = args.input.clone();
        let file = args.file.clone();
        super::blocking(context, move |context| flags.input(&file, &context)).await?
    };
    let plan = Arc::new(input.plan());
    let prepared = match args.prepare {
        true => Some(prepare(&plan, &options.remap, &*stores, 0, args.replace, 16).await?),
        false => None,
    };
    let stop = Stop::default();
    let asked = tokio::spawn({
        let (stop, wish) = (stop.clone(), context.stop.clone());
        async move {
            let exit = wish.asked().await;
            stop.stop();
            tokio::spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                stop.give_up();
            });
            exit
        }
    });
    let runtime = tokio::runtime::Handle::current();
    let outcome = super::blocking(context, move |context| {
        let bar = context.console.operation_bar();
        let fidelity = replay(&plan, &options, &*stores, &runtime, &stop, |progress| {
            bar.set_length(progress.total - options.skip.min(progress.total));
            bar.set_position(progress.position - options.skip);
            let rate = progress.bytes as f64 / progress.elapsed.as_secs_f64().max(1e-9);
            let left = progress.left.map_or("-".to_owned(), |left| units::duration(left.as_nanos() as f64));
            bar.set_message(format!(
                "{}  {} in flight  {left} left",
                units::mib_per_second(rate),
                progress.in_flight
            ));
        })?;
        context.tally.add_things(fidelity.done);
        context.tally.add_bytes(fidelity.bytes);
        Ok(Outcome::of(fidelity, &options, prepared, &bounds))
    })
    .await?;
    context.console.clear_bar();
    report(&outcome, context)?;
    if outcome.fidelity.stopped {
        return Ok(asked.await.unwrap_or(Exit::Interrupted));
    }
    asked.abort();
    Ok(match (outcome.violations.is_empty(), outcome.fidelity.is_failure()) {
        (false, _) => Exit::Mismatch,
        (true, true) => Exit::Failed,
        (true, false) => Exit::Done,
    })
}
