//! A server that stops answering for a while is seen by everything that was due meanwhile: latency from the
//! intended time has the percentiles that arithmetic says, from what the server's proxy was told to do.

use forebay_io_open::{StoreOptions, open};
use forebay_io_testkit::servers::{FastServer, FaultPlan, FaultProxy, HttpFault, Rule};
use forebay_trace::replay::{Plan, ReplayOptions, Stop, replay};
use forebay_trace::{Action, Fidelity, Record};
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Every tenth part of the time nothing is answered, as with a second in ten.
const PERIOD: Duration = Duration::from_millis(5500);
const STALL: Duration = Duration::from_millis(550);
/// What the server takes for an answer. Much longer than the machine's own part in it, of which nothing is known.
const SERVICE: Duration = Duration::from_millis(250);
/// Stalls that the replay lives through, and operations a second.
const PERIODS: u32 = 3;
const RATE: u64 = 160;
/// How exactly the proxy is told when a stall ends.
const TICK: Duration = Duration::from_millis(1);
/// An answer waits for four threads to wake up: the proxy's and the server's, the proxy's again and the client's.
const WAKES: u32 = 4;
/// Of the analytic answer.
const TOLERANCE: f64 = 0.02;

/// From this instant on the proxy kept every request for this long.
struct Step {
    from: Instant,
    kept: Duration,
}

/// What the proxy did, and how late this machine woke up the thread that told it, in nanoseconds.
struct Told {
    steps: Vec<Step>,
    lateness: Histogram<u64>,
}

/// Every request is kept for so long.
fn kept(time: Duration) -> FaultPlan {
    FaultPlan::of([Rule::always(HttpFault::Stall(None, time))])
}

/// Tells the proxy how long to keep a request that comes now, until it is over: as long as the service takes,
/// in a stall to the stall's end.
fn stall(proxy: &FaultProxy, over: &AtomicBool) -> Told {
    let mut told = Told { steps: Vec::new(), lateness: Histogram::new_with_max(60_000_000_000, 3).unwrap() };
    let begin = Instant::now();
    let mut due = begin;
    while !over.load(Ordering::Relaxed) {
        let now = Instant::now();
        told.lateness.saturating_record((now - due).as_nanos() as u64);
        let periods = ((now - begin).as_nanos() / PERIOD.as_nanos()) as u32;
        let left = PERIOD * (periods + 1) - (now - begin);
        let kept = if left <= STALL { left.max(SERVICE) } else { SERVICE };
        if told.steps.last().is_none_or(|step| step.kept != kept) {
            proxy.set_plan(self::kept(kept)).unwrap();
            told.steps.push(Step { from: now, kept });
        }
        due = now + TICK;
        std::thread::sleep(TICK);
    }
    told
}

impl Told {
    /// The analytic answer: what an operation that is due at each of these instants has to wait, in order.
    fn waits(&self, due: impl Iterator<Item = Instant>) -> Vec<Duration> {
        let wait = |due| self.steps[self.steps.partition_point(|step| step.from <= due).max(1) - 1].kept;
        let mut waits: Vec<_> = due.map(wait).collect();
        waits.sort_unstable();
        waits
    }
}

fn quantile(sorted: &[Duration], q: f64) -> Duration {
    sorted[((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len()) - 1]
}

/// Replays `records` against the proxy, and says when it began.
fn replayed(records: &[Record], proxy: &FaultProxy) -> (Fidelity, Instant) {
    let scratch = tempfile::tempdir().unwrap();
    let endpoint = proxy.endpoint();
    let pairs = [("endpoint", endpoint.as_str()), ("region", "us-east-1"), ("anonymous", "true")];
    let options = StoreOptions::parse(pairs).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let plan = {
        let records = records.to_vec();
        Plan::new(move || Ok(Box::new(records.clone().into_iter().map(Ok))), scratch.path())
    };
    // It is told how long it has been going on; the telling takes a little, and the least of it is the best.
    let mut begin: Option<Instant> = None;
    let fidelity = replay(
        &plan,
        &ReplayOptions::default(),
        &move |location| open(location, &options),
        runtime.handle(),
        &Stop::default(),
        |progress| {
            if let Some(at) = Instant::now().checked_sub(progress.elapsed)
                && !progress.elapsed.is_zero()
            {
                begin = Some(begin.map_or(at, |begin| begin.min(at)));
            }
        },
    )
    .unwrap();
    (fidelity, begin.expect("progress is told"))
}

#[test]
fn latency_from_the_intended_time_is_what_arithmetic_says_of_a_server_that_stalls() {
    let server = FastServer::start(1).unwrap();
    server.put(server.bucket(), "object", vec![7; 1000]);
    let proxy = FaultProxy::start(server.s3_address(), kept(SERVICE), 1).unwrap();
    let uri = format!("s3://{}/object", server.bucket());
    let lasting = (PERIOD * PERIODS).as_nanos() as u64;
    let gap = 1_000_000_000 / RATE;
    let records: Vec<_> = (0..lasting / gap)
        .map(|i| Record { bytes: Some(1000), ..Record::asked(Action::Get, uri.clone(), i * gap) })
        .collect();

    let over = AtomicBool::new(false);
    let ((fidelity, begin), told) = std::thread::scope(|scope| {
        let telling = scope.spawn(|| stall(&proxy, &over));
        let replaying = scope.spawn(|| replayed(&records, &proxy));
        let outcome = replaying.join();
        over.store(true, Ordering::Relaxed);
        (outcome.unwrap(), telling.join().unwrap())
    });

    let operations = records.len() as u64;
    assert!(fidelity.is_exact() && fidelity.capped == 0, "{fidelity:?}");
    assert_eq!((fidelity.done, fidelity.latency_from_intended.len()), (operations, operations));
    // Each operation was one request, and each was kept.
    assert_eq!(proxy.given_of(&HttpFault::Stall(None, SERVICE)), operations);
    let waits = told.waits(records.iter().map(|record| begin + Duration::from_nanos(record.t_submit)));
    let stalled = waits.iter().filter(|wait| **wait > SERVICE).count() as f64 / operations as f64;
    assert!(stalled > 0.03, "{stalled} of the operations were due in a stall");
    let noise = Duration::from_nanos(told.lateness.value_at_quantile(0.999)) * WAKES;
    for q in [0.5, 0.99, 0.999] {
        let analytic = quantile(&waits, q);
        let seen = Duration::from_nanos(fidelity.latency_from_intended.value_at_quantile(q));
        let (least, most) = (analytic.mul_f64(1.0 - TOLERANCE), analytic.mul_f64(1.0 + TOLERANCE) + noise);
        assert!(seen >= least, "p{}: {seen:?} is less than {analytic:?}", q * 100.0);
        assert!(seen <= most, "p{}: {seen:?} is more than {analytic:?}, noise {noise:?}", q * 100.0);
    }
}
