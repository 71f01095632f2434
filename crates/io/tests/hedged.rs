//! `Hedged` overtakes slow reads, sends few of them twice, and never lets two reads share memory.

use forebay_io::layer::{HedgePolicy, Hedged, Limited, Limits, Observed};
use forebay_io::{
    Budget, Event, GetRequest, Kind, Location, MemoryStore, Object, Operation, Place, Pool, PutOptions,
    ReadOptions, Reservation, Result, Served, Store, Want, read,
};
use forebay_io_testkit::{Fault, FaultRates, FaultStore, MemoryReads, Reads, RecordingObserver, data};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LEN: usize = 70_000;
const MIN_DELAY: Duration = Duration::from_millis(20);

struct Bench {
    store: Arc<Hedged>,
    faults: Arc<FaultStore>,
    device: Arc<RecordingObserver>,
    events: Arc<RecordingObserver>,
    location: Location,
    pool: Pool,
}

/// A hedged store that has seen enough to know what is usual: nothing takes any time.
async fn bench(policy: HedgePolicy) -> Bench {
    let memory = MemoryStore::new();
    let location: Location = "mem://test/object".parse().unwrap();
    memory.put(&location, data::bytes(1, LEN).into(), PutOptions::default()).await.unwrap();
    let faults = Arc::new(FaultStore::new(Arc::new(memory), FaultRates::none(), 3).unwrap());
    let (device, events) = (Arc::new(RecordingObserver::new()), Arc::new(RecordingObserver::new()));
    let observed = Arc::new(Observed::new(faults.clone(), device.clone()));
    let store = Arc::new(Hedged::new(observed, policy, events.clone()).unwrap());
    let bench =
        Bench { store, faults, device, events, location, pool: Pool::new(Budget::new(1 << 20).unwrap()) };
    let object = bench.object().await;
    for _ in 0..64 {
        bench.get().await.unwrap();
        bench.store.stat(&bench.location).await.unwrap();
        bench.read_into(&*object).await.unwrap();
    }
    bench
}

fn policy() -> HedgePolicy {
    HedgePolicy { quantile: 0.95, min_delay: MIN_DELAY, spare_bytes: 1 << 20 }
}

impl Bench {
    async fn get(&self) -> Result<()> {
        let options = ReadOptions::default();
        let block = read(&*self.store, &self.location, None, options, &self.pool).await?;
        assert!(block.slot(0).unwrap() == data::bytes(1, LEN));
        Ok(())
    }

    async fn object(&self) -> Arc<dyn Object> {
        self.store.open(&self.location, ReadOptions::default()).await.unwrap()
    }

    async fn read_into(&self, object: &dyn Object) -> Result<()> {
        let lease = self.pool.lease(self.pool.budget().ticket(), 3);
        let Reservation::Granted(mut bufs) = lease.try_reserve(&[Want::new(2, 1000)]) else { panic!() };
        let (buf, result) = object.read_into(500, bufs.remove(0)).await;
        assert_eq!((buf.slot(), buf.len()), (2, 1000));
        assert!(result.is_err() || *buf == data::bytes(1, LEN)[500..1500]);
        drop(buf);
        lease.finish().unwrap();
        result.map(drop)
    }

    fn script(&self, faults: &[Fault]) {
        self.faults.script(&self.location, faults.iter().copied());
    }

    fn hedges(&self) -> (usize, usize) {
        let events = self.events.events();
        let count = |wanted| events.iter().filter(|event| **event == wanted).count();
        (count(Event::Hedged), count(Event::HedgeWon))
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_is_overtaken_by_a_second_one() {
    let bench = bench(policy()).await;
    let object = bench.object().await;
    let begin = Instant::now();
    bench.script(&[Fault::Hang]);
    bench.get().await.unwrap();
    bench.script(&[Fault::Hang]);
    bench.read_into(&*object).await.unwrap();
    bench.script(&[Fault::Hang]);
    bench.store.stat(&bench.location).await.unwrap();
    bench.script(&[Fault::Hang]);
    bench.object().await;
    assert_eq!(begin.elapsed(), 4 * MIN_DELAY);
    assert_eq!(bench.hedges(), (4, 4));
    bench.device.assert_settled();
    assert_eq!(bench.pool.budget().used(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_twice_that_is_not_late() {
    let bench = bench(policy()).await;
    let sent = bench.device.of(Operation::Get).len();
    for _ in 0..100 {
        bench.get().await.unwrap();
    }
    assert_eq!((bench.device.of(Operation::Get).len() - sent, bench.hedges()), (100, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_would_come_again_ends_the_pair_and_others_do_not() {
    let bench = bench(policy()).await;
    for (second, expected) in [
        (Fault::Error(Kind::NotFound), Some(Kind::NotFound)),
        (Fault::Error(Kind::Precondition), Some(Kind::Precondition)),
    ] {
        bench.script(&[Fault::Hang, second]);
        assert_eq!(bench.get().await.map_err(|e| e.kind()).err(), expected);
    }
    assert_eq!(bench.hedges(), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn hedges_keep_to_their_share_when_everything_is_slow() {
    let bench = bench(policy()).await;
    bench.script(&[Fault::Hang; 400]);
    let mut given_up = 0;
    for _ in 0..200 {
        tokio::select! {
            result = bench.get() => result.unwrap(),
            () = sleep(Duration::from_millis(25)) => given_up += 1,
        }
    }
    // What was saved up, and one a second.
    assert!(bench.hedges().0 <= 10 + 5 && given_up > 180, "{:?} {given_up}", bench.hedges());
}

/// Asks for memory and then keeps its reader waiting, if it is told to.
#[derive(Debug, Default)]
struct SlowBody {
    pauses: parking_lot::Mutex<Vec<Duration>>,
}

impl Reads for SlowBody {
    fn get<'a>(
        &'a self,
        memory: &'a MemoryStore,
        request: GetRequest,
        _: ReadOptions,
        place: Arc<dyn Place>,
    ) -> BoxFuture<'a, Result<Served>> {
        async move {
            let pause = self.pauses.lock().pop().unwrap_or_default();
            let size = memory.stat(&request.location).await?.size;
            let mut buf = match place.try_reserve(&[Want::new(request.slot, size)]) {
                Reservation::Granted(mut bufs) => bufs.remove(0),
                Reservation::Refused(error) => return Err(error),
                other => panic!("{other:?}"),
            };
            buf.fill(0xA5);
            sleep(pause).await;
            buf.copy_from_slice(&data::bytes(1, size as usize));
            Ok(Served { bytes: size, ..Served::default() })
        }
        .boxed()
    }
}

/// A pair in which both reads have memory when the second one wins.
async fn overtaken_in_the_body(cap: u64, spare_bytes: u64) -> (Duration, Arc<RecordingObserver>) {
    let memory = MemoryStore::new();
    let location: Location = "mem://test/object".parse().unwrap();
    memory.put(&location, data::bytes(1, LEN).into(), PutOptions::default()).await.unwrap();
    let slow = Arc::new(MemoryReads::new(memory, SlowBody::default()));
    let events = Arc::new(RecordingObserver::new());
    let hedged = Hedged::new(slow.clone(), HedgePolicy { spare_bytes, ..policy() }, events.clone()).unwrap();
    let pool = Pool::new(Budget::new(cap).unwrap());
    let get = async || {
        let block = read(&hedged, &location, None, ReadOptions::default(), &pool).await.unwrap();
        assert!(block.slot(0).unwrap() == data::bytes(1, LEN));
    };
    for _ in 0..64 {
        get().await;
    }
    assert!(pool.budget().peak() < 2 * LEN as u64, "as long as nothing is slow");
    let begin = Instant::now();
    slow.reads.pauses.lock().extend([Duration::from_millis(3), Duration::from_secs(9)]);
    get().await;
    let hedged = events.events().contains(&Event::Hedged);
    assert_eq!(
        pool.budget().peak() >= 2 * LEN as u64,
        hedged,
        "both reads of a pair count in the caller's cap"
    );
    assert_eq!(pool.budget().used(), 0);
    (begin.elapsed(), events)
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_overtaken_in_spare_memory() {
    let (took, events) = overtaken_in_the_body(2 * LEN as u64 + 200, 1 << 20).await;
    assert_eq!(took, MIN_DELAY + Duration::from_millis(3));
    assert_eq!(events.events(), [Event::Hedged, Event::HedgeWon]);
}

#[tokio::test(start_paused = true)]
async fn without_spare_memory_the_first_read_is_waited_for() {
    for (cap, spare) in [(1 << 20, 1000), (LEN as u64 + 100, 1 << 20)] {
        let (took, events) = overtaken_in_the_body(cap, spare).await;
        assert_eq!(took, Duration::from_secs(9));
        assert_eq!(events.events(), [Event::HedgeDenied], "cap {cap}, spare {spare}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_memory_is_not_being_late() {
    let bench = bench(policy()).await;
    let small = Pool::new(Budget::new(LEN as u64 + 100).unwrap());
    let older = small.lease(small.budget().ticket(), 1);
    let held = older.try_reserve(&[Want::new(0, LEN as u64)]);
    let limits = Limits { concurrency: NonZeroU32::new(2), ..Limits::default() };
    for store in [bench.store.clone() as Arc<dyn Store>, Arc::new(Limited::new(bench.store.clone(), limits))]
    {
        let lease = small.lease(small.budget().ticket(), 1);
        let request = GetRequest::whole(bench.location.clone(), 0);
        let get = store.get(request, ReadOptions::default(), lease.clone());
        let waited = tokio::time::timeout(Duration::from_secs(60), get).await;
        assert!(waited.is_err());
    }
    drop((held, older));
    assert_eq!(bench.hedges(), (0, 0));
    let lease = small.lease(small.budget().ticket(), 1);
    let request = GetRequest::whole(bench.location.clone(), 0);
    bench.store.get(request, ReadOptions::default(), lease).await.unwrap();
}

#[test]
fn quantiles_that_make_no_sense_are_refused() {
    for quantile in [0.0, 1.0, -3.0, f64::NAN] {
        let policy = HedgePolicy { quantile, ..policy() };
        let observer = Arc::new(RecordingObserver::new());
        let error = Hedged::new(Arc::new(MemoryStore::new()), policy, observer).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidConfig);
        assert!(error.to_string().contains("hedge_quantile"), "{error}");
    }
}
