//! `Balanced` spreads the load over endpoints and takes reads away from those that are down.

use forebay_io::layer::{Balanced, Observed};
use forebay_io::{
    Budget, Capability, Event, GetRequest, Kind, ListOptions, Location, MemoryStore, Operation, Place, Pool,
    PutOptions, ReadOptions, Reservation, Result, Store, Unobserved, Want, read,
};
use forebay_io_testkit::data::{self, Tree};
use forebay_io_testkit::{Fault, FaultRates, FaultStore, RecordingObserver};
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::advance;

const UNAVAILABLE: Fault = Fault::Error(Kind::Unavailable);

struct Door {
    faults: Arc<FaultStore>,
    seen: Arc<RecordingObserver>,
}

struct Bench {
    store: Balanced,
    doors: Vec<Door>,
    events: Arc<RecordingObserver>,
    memory: MemoryStore,
    locations: Vec<Location>,
    root: Location,
    pool: Pool,
}

/// Doors of one storage; those in `down` fail whatever is asked.
async fn bench(doors: usize, down: &[usize]) -> Bench {
    let memory = MemoryStore::new();
    let root: Location = "mem://test/set".parse().unwrap();
    let tree = Tree::new(1, 60, 1000..=1000);
    tree.put(&memory, &root).await.unwrap();
    let doors: Vec<_> = (0..doors)
        .map(|door| {
            let rate = if down.contains(&door) { 1.0 } else { 0.0 };
            let rates = FaultRates { errors: vec![(Kind::Unavailable, rate)], ..FaultRates::none() };
            let faults = Arc::new(FaultStore::new(Arc::new(memory.clone()), rates, 3).unwrap());
            Door { faults, seen: Arc::new(RecordingObserver::new()) }
        })
        .collect();
    let stores =
        doors.iter().map(|d| Arc::new(Observed::new(d.faults.clone(), d.seen.clone())) as _).collect();
    let events = Arc::new(RecordingObserver::new());
    let store = Balanced::new(stores, events.clone(), 1).unwrap();
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    Bench { store, doors, events, memory, locations: tree.locations(&root), root, pool }
}

impl Bench {
    async fn get_many(&self) -> Vec<Result<()>> {
        let lease = self.pool.lease(self.pool.budget().ticket(), self.locations.len() as u32);
        let requests = self.locations.iter().zip(0..).map(|(l, slot)| GetRequest::whole(l.clone(), slot));
        let results = self.store.get_many(requests.collect(), ReadOptions::default(), lease.clone()).await;
        let block = lease.finish().unwrap();
        assert!((0..block.slots()).all(|slot| block.slot(slot).is_some() == results[slot].is_ok()));
        results.into_iter().map(|r| r.map(drop)).collect()
    }

    async fn get(&self, location: &Location) -> Result<Vec<u8>> {
        let block = read(&self.store, location, None, ReadOptions::default(), &self.pool).await?;
        Ok(block.slot(0).unwrap().to_vec())
    }

    fn sent(&self, operation: Operation) -> Vec<usize> {
        self.doors.iter().map(|door| door.seen.of(operation).len()).collect()
    }

    fn failovers(&self) -> usize {
        self.events.events().iter().filter(|event| **event == Event::FailedOver).count()
    }
}

#[tokio::test(start_paused = true)]
async fn every_endpoint_gets_its_share() {
    let bench = bench(3, &[]).await;
    assert!(bench.get_many().await.iter().all(Result::is_ok));
    let sent = bench.sent(Operation::Get);
    assert!(sent.iter().sum::<usize>() == 60 && sent.iter().all(|&n| (15..=25).contains(&n)), "{sent:?}");
    for location in &bench.locations {
        bench.get(location).await.unwrap();
    }
    let sent = bench.sent(Operation::Get);
    assert!(sent.iter().sum::<usize>() == 120 && sent.iter().all(|&n| n > 25), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn reads_find_their_way_around_endpoints_that_are_down() {
    let bench = bench(3, &[0, 2]).await;
    assert!(bench.get_many().await.iter().all(Result::is_ok));
    for location in &bench.locations {
        bench.get(location).await.unwrap();
        bench.store.stat(location).await.unwrap();
        bench.store.open(location, ReadOptions::default()).await.unwrap();
    }
    let pages: Vec<_> = bench.store.list(&bench.root, ListOptions::recursive()).try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.len()).sum::<usize>(), 60);
    let [down, _, other] = bench.sent(Operation::Get)[..] else { panic!() };
    assert!(down + other <= 60, "only what was sent before the first failure came back");
    assert!(bench.failovers() >= 1);
    let (before, sent) = (bench.failovers(), bench.sent(Operation::Get));
    advance(Duration::from_millis(1500)).await;
    for location in &bench.locations {
        bench.get(location).await.unwrap();
    }
    assert!(bench.failovers() - before <= 2, "one try each, a while later: {sent:?}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_all_is_an_error_and_not_a_storm() {
    let bench = bench(3, &[0, 1, 2]).await;
    for location in &bench.locations {
        assert_eq!(bench.get(location).await.unwrap_err().kind(), Kind::Unavailable);
    }
    assert_eq!(bench.sent(Operation::Get).iter().sum::<usize>(), 60 + 2);
    let results = bench.get_many().await;
    assert!(results.iter().all(|r| r.as_ref().unwrap_err().kind() == Kind::Unavailable));
    assert_eq!(bench.sent(Operation::Get).iter().sum::<usize>(), 60 + 2 + 60);
}

#[tokio::test(start_paused = true)]
async fn answers_are_taken_as_they_are() {
    let bench = bench(2, &[]).await;
    let missing = bench.root.join(b"missing");
    assert_eq!(bench.get(&missing).await.unwrap_err().kind(), Kind::NotFound);
    for door in &bench.doors {
        door.faults.script(&missing, [Fault::Error(Kind::Throttled)]);
    }
    assert_eq!(bench.get(&missing).await.unwrap_err().kind(), Kind::Throttled);
    assert_eq!((bench.sent(Operation::Get).iter().sum::<usize>(), bench.failovers()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn writes_are_made_once_and_avoid_what_is_down() {
    let bench = bench(2, &[0]).await;
    let location = bench.root.join(b"new");
    let mut failed = 0;
    for _ in 0..50 {
        let put = bench.store.put(&location, b"x".as_slice().into(), PutOptions::default()).await;
        failed += usize::from(put.is_err());
    }
    bench.store.delete(&location).await.unwrap();
    assert!(failed <= 1, "{failed}");
    assert_eq!(bench.sent(Operation::Put).iter().sum::<usize>(), 50);
    assert_eq!(bench.failovers(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_opened_object_goes_on_at_another_endpoint_in_the_same_version() {
    let bench = bench(2, &[]).await;
    let location = &bench.locations[0];
    let object = bench.store.open(location, ReadOptions::default()).await.unwrap();
    let first = bench.sent(Operation::Open).iter().position(|&n| n == 1).unwrap();
    let lease = bench.pool.lease(bench.pool.budget().ticket(), 2);
    let Reservation::Granted(mut bufs) = lease.try_reserve(&[Want::new(0, 400), Want::new(1, 600)]) else {
        panic!()
    };
    bench.doors[first].faults.script(location, [UNAVAILABLE]);
    let second = (400, bufs.pop().unwrap());
    let mut results = object.read_many(vec![(0, bufs.pop().unwrap()), second]).await;
    assert!(results.iter().all(|(_, result)| result.is_ok()), "{results:?}");
    assert_eq!((bench.sent(Operation::Open), bench.failovers()), (vec![1, 1], 1));
    let content = bench.get(location).await.unwrap();
    let (last, head) = (results.pop().unwrap().0, results.pop().unwrap().0);
    assert!(head[..] == content[..400] && last[..] == content[400..]);

    // It stays where it is now, and does not mix versions.
    bench.memory.put(location, data::bytes(9, 1000).into(), PutOptions::default()).await.unwrap();
    bench.doors[1 - first].faults.script(location, [UNAVAILABLE]);
    advance(Duration::from_secs(5)).await;
    let (head, result) = object.read_into(0, head).await;
    assert_eq!((result.unwrap_err().kind(), head.len()), (Kind::Precondition, 400));
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_has_begun_stays_where_it_began() {
    let bench = bench(2, &[]).await;
    for door in &bench.doors {
        door.faults.script(&bench.root, [Fault::Short]);
    }
    let pages: Vec<_> = bench.store.list(&bench.root, ListOptions::recursive()).collect().await;
    assert!(pages.first().unwrap().is_ok() && pages.last().unwrap().is_err());
    assert_eq!(bench.failovers(), 0);
}

#[test]
fn endpoints_that_are_not_one_service_are_refused() {
    let none = Balanced::new(Vec::new(), Arc::new(Unobserved), 1).unwrap_err();
    assert!(none.to_string().contains("1 or more"), "{none}");
    let other: Arc<dyn Store> = Arc::new(Slower(MemoryStore::new()));
    let stores = vec![Arc::new(MemoryStore::new()) as Arc<dyn Store>, other];
    let error = Balanced::new(stores, Arc::new(Unobserved), 1).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
}

/// A store that says of itself that it can do less.
#[derive(Debug)]
struct Slower(MemoryStore);

mod slower {
    use super::*;
    use forebay_io::{Body, Meta, Object, Page, Served};
    use futures::future::BoxFuture;
    use futures::stream::BoxStream;

    impl Store for Slower {
        fn capability(&self) -> Capability {
            Capability { native_batch: false, ..self.0.capability() }
        }

        fn get<'a>(
            &'a self,
            request: GetRequest,
            options: ReadOptions,
            place: Arc<dyn Place>,
        ) -> BoxFuture<'a, Result<Served>> {
            self.0.get(request, options, place)
        }

        fn get_many<'a>(
            &'a self,
            requests: Arc<[GetRequest]>,
            options: ReadOptions,
            place: Arc<dyn Place>,
        ) -> BoxFuture<'a, Vec<Result<Served>>> {
            self.0.get_many(requests, options, place)
        }

        fn open<'a>(
            &'a self,
            location: &'a Location,
            options: ReadOptions,
        ) -> BoxFuture<'a, Result<Arc<dyn Object>>> {
            self.0.open(location, options)
        }

        fn stat<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<Meta>> {
            self.0.stat(location)
        }

        fn list<'a>(&'a self, location: &'a Location, options: ListOptions) -> BoxStream<'a, Result<Page>> {
            self.0.list(location, options)
        }

        fn put<'a>(
            &'a self,
            location: &'a Location,
            body: Body,
            options: PutOptions,
        ) -> BoxFuture<'a, Result<Meta>> {
            self.0.put(location, body, options)
        }

        fn delete_many<'a>(&'a self, locations: &'a [Location]) -> BoxFuture<'a, Vec<Result<()>>> {
            self.0.delete_many(locations)
        }

        fn delete<'a>(&'a self, location: &'a Location) -> BoxFuture<'a, Result<()>> {
            self.0.delete(location)
        }
    }
}
