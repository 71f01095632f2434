//! `forebay trace synth`: a trace from a model.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::named_files::NamedFiles;
use forebay_metrics::units;
use forebay_trace::export::{self, Target};
use forebay_trace::synth::{Arrivals, Model, Sizes};
use forebay_trace::{Clock, Header};
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;

/// Makes up a trace from a model of arrivals and sizes; `trace replay --prepare` makes the objects.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Arrivals:
  poisson:RATE             independent operations, RATE a second on average
  bursty:RATE,ON,OFF       the same for ON seconds, then silence for OFF seconds
  epochs:BATCH,STEP,PAUSE  BATCH operations at once every STEP seconds, PAUSE seconds after each epoch; an epoch \
asks for every object once")]
pub(crate) struct Args {
    /// The trace to write
    out: PathBuf,
    /// Where the objects would be: a path or a URI
    #[arg(long, value_name = "URI")]
    prefix: OsString,
    /// When operations are asked for
    #[arg(long, value_name = "MODEL", default_value = "poisson:1000")]
    arrivals: Arrivals,
    /// How large objects are: fixed:64KiB or lognormal:MEDIAN,SIGMA
    #[arg(long, value_name = "RULE", default_value = "lognormal:128KiB,1.0")]
    sizes: Sizes,
    /// How many objects there are
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    objects: u64,
    /// How many operations
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    operations: u64,
    /// What everything is drawn from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The format to write [default: by the name, else forebay]
    #[arg(long, value_name = "FORMAT")]
    to: Option<Target>,
}

impl Args {
    /// The files that it names.
    pub(super) fn name_files(&self, named: &mut NamedFiles<'_>) {
        named.writes("OUT", &self.out);
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let mut prefix = context.locate(&args.prefix)?.to_string();
    if !prefix.ends_with('/') {
        prefix.push('/');
    }
    let model = Model {
        arrivals: args.arrivals,
        sizes: args.sizes,
        objects: args.objects,
        prefix,
        operations: args.operations,
        seed: args.seed,
    };
    let records = model.records()?.map(Ok);
    let target = args.to.or_else(|| Target::of(&args.out)).unwrap_or(Target::Forebay);
    let clock = Clock { realtime_ns: 0, monotonic_ns: None };
    let header = Header::new(concat!("forebay ", env!("CARGO_PKG_VERSION"), " synth"), "", clock);
    let exported = export::write(&context.cwd.join(&args.out), target, &header, records, 0)?;
    if exported.written == 0 && args.operations > 0 {
        return Err(Failure::usage(format!(
            "the format {target} cannot hold operations on {}",
            model.prefix
        )));
    }
    if context.console.json() {
        context.console.record(
            &json!({ "type": "trace_made", "written": exported.written, "left_out": exported.left_out }),
        )?;
    } else {
        context.console.print(format_args!(
            "wrote {} operations to {}\n",
            units::count(exported.written),
            args.out.display()
        ))?;
    }
    Ok(Exit::Done)
}
