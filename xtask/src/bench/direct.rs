//! `cargo xtask bench direct`: reads past the page cache through the store, against what fio makes of the
//! same file with the same number of requests in the ring.
//!
//! Random blocks of one large file, batches of them submitted by tokio tasks, and whole large files one
//! after another. What the store costs includes the wake-up of the task that asked. fio reads in several ways
//! (see `direct_peers`), and the best of them is the peer (see `cross_fit`). Everything was read once before, untimed. Then what
//! metrics and a trace cost at that rate (`direct_price`).

use std::path::Path;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::contest::{self, Contender, Outcome};
use super::cross_fit::{self, Share};
use super::dataset::{Dataset, Shape};
use super::direct_peers::{self, Load};
use super::reading::Reading;
use super::{Args, direct_price, files, fio, page_cache, program, results};
use crate::shell;
use crate::workspace::Workspace;

/// Where random blocks are read.
const LARGE: Shape = Shape { name: "direct-1g", size: 1 << 30, count: 1 };

/// The shape of `bench files` that is read whole.
const WHOLE: &str = "64m";

const OURS: &str = "forebay";

/// What `--only` calls the price of metrics and of a trace.
const PRICE: &str = "price";

/// How long each way of fio's is tried before it is measured, in seconds.
const TRIAL: f64 = 0.1;

/// Everything is measured in so many more rounds than `--rounds` says, and random reads in rounds of a fraction of
/// `--seconds`: what a virtual disk's host does in one second and not in the next falls on everybody alike, and half
/// of the rounds chooses the peer (see `cross_fit`). Half a second is long beside how a program begins and ends: in
/// rounds of a tenth, of a quarter and of a whole second, in turn, the same two had ratios of 0.97, 0.98 and 1.00.
const ROUNDS: usize = 5;
const FRACTION: f64 = 2.0;
const WHOLE_ROUNDS: usize = 2;

/// The least share of fio's speed that the project is content with.
const SHARE: f64 = 0.97;

/// Random reads of one size.
struct Random {
    name: &'static str,
    block: usize,
    /// Requests in the ring, ours as fio's.
    depth: usize,
    /// Reads of ours that wait for a place in the ring: as many again, to refill it every few hundred microseconds.
    /// None where reads are large: a virtual disk copies, and faster to where it copied just before, which is in
    /// the processor's caches still. fio, too, has memory for what is in the ring only. (128 KiB: 4 to 13% more
    /// reads a second with 4 MiB to read into than with 8.)
    ahead: usize,
    /// Microseconds of processor time a read may cost, where the project has set itself a bar.
    most_cpu: Option<f64>,
}

const RANDOM: &[Random] = &[
    Random { name: "4k", block: 4 << 10, depth: 64, ahead: 64, most_cpu: Some(4.5) },
    Random { name: "16k", block: 16 << 10, depth: 64, ahead: 64, most_cpu: None },
    Random { name: "128k", block: 128 << 10, depth: 32, ahead: 0, most_cpu: Some(14.0) },
    Random { name: "1m", block: 1 << 20, depth: 16, ahead: 0, most_cpu: None },
];

/// Requests of 1 MiB in the ring when whole files are read.
const WHOLE_DEPTH: usize = 16;

/// Everyone's readings of one case.
#[derive(Debug, Serialize)]
struct Case {
    name: String,
    /// Who of fio's was fastest over all.
    peer: String,
    outcomes: Vec<Outcome>,
    bars: Vec<String>,
}

impl Case {
    fn new(name: String, outcomes: Vec<Outcome>, most_cpu: Option<f64>) -> anyhow::Result<Self> {
        let (peer, bars) = bars(&outcomes, most_cpu).context("nobody was measured")?;
        Ok(Case { name, peer, outcomes, bars })
    }
}

/// Names for `--only`, beside those of the shapes of files.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    RANDOM.iter().map(|random| random.name).chain([PRICE])
}

/// Runs every case asked for and writes the results.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> anyhow::Result<()> {
    let root = workspace.root();
    let version = fio::require(root)?;
    let program = &program::bench(root, "forebay-io-direct", "reads")?;
    let data = super::data_folder(workspace)?;
    let mut cases = Vec::new();
    let random: Vec<_> = RANDOM.iter().filter(|random| args.wants(random.name)).collect();
    if !random.is_empty() {
        let large = LARGE.make(&data)?;
        // Pages that are in the cache make a kernel look for them before it reads past it.
        page_cache::evict(&large.files)?;
        direct_peers::warm(root, &large, &LARGE)?;
        for case in random {
            let name = format!("{} random reads, {} in the ring", case.name, case.depth);
            eprintln!("{name}");
            let load = Load { block: case.block, depth: case.depth };
            let seconds = args.seconds / FRACTION;
            let ways = direct_peers::possible(|way| way.random(root, &large, load, TRIAL))?;
            let fio = ways.into_iter().map(|way| {
                let large = &large;
                Contender::new(way.name, move || way.random(root, large, load, seconds))
            });
            let ours = || ours_random(root, program, &large, case, seconds);
            let outcomes = hold(args.rounds * ROUNDS, fio, ours)?;
            cases.push(Case::new(name, outcomes, case.most_cpu)?);
        }
    }
    if let Some(shape) = files::SHAPES.iter().find(|shape| shape.name == WHOLE && args.wants(shape.name)) {
        let whole = shape.make(&data)?;
        eprintln!("whole files of 64 MiB");
        page_cache::evict(&whole.files)?;
        let load = Load { block: 1 << 20, depth: WHOLE_DEPTH };
        let ways = direct_peers::possible(|way| way.whole(root, &whole, shape, load))?;
        let fio = ways.into_iter().map(|way| {
            let whole = &whole;
            Contender::new(way.name, move || way.whole(root, whole, shape, load))
        });
        let outcomes = hold(args.rounds * WHOLE_ROUNDS, fio, || ours_whole(root, program, &whole))?;
        cases.push(Case::new("whole files of 64 MiB".into(), outcomes, None)?);
    }

    ensure!(!cases.is_empty() || args.wants(PRICE), "nothing of `bench direct` is named by --only");
    let machine = super::machine::describe(root, &data);
    println!("\n{machine}\ninterleaved; medians; past the page cache\n{version}");
    for case in &cases {
        println!("\n{}, {} rounds", case.name, case.outcomes[0].readings.len());
        print!("{}", contest::table(&case.outcomes, &case.peer));
        case.bars.iter().for_each(|bar| println!("{bar}"));
    }
    let mut all = cases.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    if args.wants(PRICE) {
        all.push(serde_json::to_value(direct_price::run(workspace, &data)?)?);
    }
    results::write(workspace, "direct", &machine, &all)
}

fn hold<'a>(
    rounds: usize,
    fio: impl Iterator<Item = Contender<'a>>,
    ours: impl Fn() -> anyhow::Result<Reading> + 'a,
) -> anyhow::Result<Vec<Outcome>> {
    let mut contenders: Vec<_> = fio.chain([Contender::new(OURS, ours)]).collect();
    contest::hold_thrown(rounds, &mut contenders)
}

/// Our program's last line is the reading.
fn ours_random(
    root: &Path,
    program: &Path,
    data: &Dataset,
    case: &Random,
    seconds: f64,
) -> anyhow::Result<Reading> {
    let mut command = shell::command(root, program, ["random"]);
    command.arg(&data.files[0]);
    for (name, value) in [("--block", case.block), ("--depth", case.depth), ("--ahead", case.ahead)] {
        command.arg(name).arg(value.to_string());
    }
    Reading::parse(&shell::read(command.args(["--seconds".into(), seconds.to_string()]))?)
}

fn ours_whole(root: &Path, program: &Path, data: &Dataset) -> anyhow::Result<Reading> {
    let mut command = shell::command(root, program, ["whole", "--depth"]);
    command.arg(WHOLE_DEPTH.to_string()).args(&data.files);
    Reading::parse(&shell::read(&mut command)?)
}

/// Who of fio's was fastest over all, what the project asks of itself, and whether it got it.
fn bars(outcomes: &[Outcome], most_cpu: Option<f64>) -> Option<(String, Vec<String>)> {
    let rate = |outcome: &Outcome| outcome.samples_per_second().median;
    let ours = outcomes.iter().find(|outcome| outcome.name == OURS)?;
    let peers: Vec<_> = outcomes.iter().filter(|outcome| outcome.name != OURS).collect();
    let fastest = peers.iter().max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    let share = Share::of(ours, &peers)?;
    let (median, (least, greatest)) = share.median();
    // Met or missed by all of it, or by the median alone.
    let sure = if (least >= SHARE) == (greatest >= SHARE) { "" } else { "; not told from noise" };
    let [even, odd] = share.peers;
    let chosen = if even == odd { even.to_owned() } else { format!("{odd}, {even}") };
    let mut bars = vec![format!(
        "{:6} share of the best of fio's, as the other half of the rounds chose ({chosen}): {median:.3}, at least {SHARE} \
         ({least:.3} to {greatest:.3}, 95 in 100{sure})",
        verdict(median >= SHARE)
    )];
    for peer in &peers {
        let (median, (least, greatest)) = cross_fit::against(ours, peer);
        bars.push(format!("       of {}: {median:.3} ({least:.3} to {greatest:.3})", peer.name));
    }
    if let Some(most) = most_cpu {
        let cpu = ours.cpu_micros_per_sample().median;
        bars.push(format!("{:6} CPU us a read: {cpu:.2}, at most {most}", verdict(cpu <= most)));
    }
    Some((fastest.name.clone(), bars))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, samples: u64, cpu_seconds: f64) -> Outcome {
        let reading = Reading { samples, bytes: samples, seconds: 1.0, cpu_seconds, ..Reading::default() };
        Outcome { name: name.into(), readings: vec![reading; 2] }
    }

    #[test]
    fn bars_say_what_was_met_and_what_was_missed() {
        let outcomes =
            [outcome("fio", 900, 0.001), outcome("fio huge", 1000, 0.001), outcome(OURS, 960, 0.004)];
        let (peer, bars) = bars(&outcomes, Some(4.5)).unwrap();
        assert_eq!(peer, "fio huge");
        assert!(
            bars[0].starts_with("MISSED")
                && bars[0].contains("(fio huge): 0.960, at least 0.97 (0.960 to 0.960, 95 in 100)"),
            "{bars:?}"
        );
        assert!(bars[1].ends_with("of fio: 1.067 (1.067 to 1.067)"), "{bars:?}");
        assert!(bars[3].starts_with("met") && bars[3].contains("4.17, at most 4.5"), "{bars:?}");
    }
}
