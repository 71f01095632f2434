//! `Observed` announces every operation once and ends it once, whatever becomes of it.

use forebay_io::layer::Observed;
use forebay_io::{
    Budget, End, GetRequest, Kind, ListOptions, Location, MemoryStore, Operation, Pool, PutOptions,
    ReadOptions, Store,
};
use forebay_io_testkit::data::Tree;
use forebay_io_testkit::{Fault, FaultRates, FaultStore, RecordingObserver};
use futures::{FutureExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;

struct Bench {
    store: Observed,
    faults: Arc<FaultStore>,
    observer: Arc<RecordingObserver>,
    root: Location,
    locations: Vec<Location>,
    pool: Pool,
}

async fn bench() -> Bench {
    let memory = MemoryStore::new();
    let root: Location = "mem://test/set".parse().unwrap();
    let tree = Tree::new(1, 1200, 10..=20);
    tree.put(&memory, &root).await.unwrap();
    let faults = Arc::new(FaultStore::new(Arc::new(memory), FaultRates::none(), 1).unwrap());
    let observer = Arc::new(RecordingObserver::new());
    Bench {
        store: Observed::new(faults.clone(), observer.clone()),
        faults,
        observer,
        locations: tree.locations(&root),
        root,
        pool: Pool::new(Budget::new(1 << 20).unwrap()),
    }
}

fn ends(bench: &Bench, operation: Operation) -> Vec<Option<End>> {
    bench.observer.of(operation).into_iter().map(|r| r.end).collect()
}

#[tokio::test]
async fn members_of_a_batch_end_each_in_its_own_way() {
    let bench = bench().await;
    bench.faults.script(&bench.locations[1], [Fault::Error(Kind::Denied)]);
    let lease = bench.pool.lease(bench.pool.budget().ticket(), 3);
    let requests = bench.locations[..3].iter().zip(0..).map(|(location, slot)| GetRequest {
        sample: Some(u64::from(slot) + 100),
        ..GetRequest::whole(location.clone(), slot)
    });
    let options = ReadOptions { stage: "decode", attempt: 2, ..Default::default() };
    bench.store.get_many(requests.collect(), options, lease).await;
    let records = bench.observer.of(Operation::Get);
    for (i, record) in records.iter().enumerate() {
        assert_eq!((record.sample, record.stage, record.attempt), (Some(i as u64 + 100), "decode", 2));
        assert_eq!(record.location, bench.locations[i]);
        match record.end {
            Some(End::Done(served)) if i != 1 => assert!(served.bytes >= 10 && !served.elapsed.is_zero()),
            Some(End::Failed(Kind::Denied)) if i == 1 => {}
            other => panic!("member {i}: {other:?}"),
        }
    }
    bench.observer.assert_settled();
}

#[tokio::test(start_paused = true)]
async fn dropped_operations_are_cancelled() {
    let bench = bench().await;
    let location = &bench.locations[0];
    let short = Duration::from_millis(1);
    bench.faults.script(
        location,
        [Fault::None, Fault::Hang, Fault::Hang, Fault::Hang, Fault::Hang, Fault::Hang, Fault::Hang],
    );
    let object = bench.store.open(location, ReadOptions::default()).await.unwrap();
    let read = object.read_into(0, bench.pool.buffer(5).await.unwrap());
    assert!(tokio::time::timeout(short, read).await.is_err());
    let lease = bench.pool.lease(bench.pool.budget().ticket(), 1);
    let get = bench.store.get(GetRequest::whole(location.clone(), 0), ReadOptions::default(), lease.clone());
    assert!(tokio::time::timeout(short, get).await.is_err());
    assert!(tokio::time::timeout(short, bench.store.stat(location)).await.is_err());
    assert!(tokio::time::timeout(short, bench.store.open(location, ReadOptions::default())).await.is_err());
    let put = bench.store.put(location, b"x".as_slice().into(), PutOptions::default());
    assert!(tokio::time::timeout(short, put).await.is_err());
    assert!(tokio::time::timeout(short, bench.store.delete(location)).await.is_err());
    for operation in [Operation::Read, Operation::Get, Operation::Stat, Operation::Put, Operation::Delete] {
        assert_eq!(ends(&bench, operation), [Some(End::Cancelled)], "{operation}");
    }
    assert_eq!(ends(&bench, Operation::Open)[1], Some(End::Cancelled));
    // A future that was never polled began nothing.
    drop(bench.store.stat(location));
    assert_eq!(bench.observer.of(Operation::Stat).len(), 1);
    bench.observer.assert_settled();
}

#[tokio::test]
async fn a_listing_ends_with_its_stream() {
    let bench = bench().await;
    let all = bench.store.list(&bench.root, ListOptions::recursive());
    assert_eq!(all.count().await, 2);
    let mut half = bench.store.list(&bench.root, ListOptions::recursive());
    assert!(half.next().now_or_never().is_some());
    drop(half);
    bench.faults.script(&bench.root, [Fault::Short]);
    let broken = bench.store.list(&bench.root, ListOptions::recursive());
    assert_eq!(broken.filter(|page| futures::future::ready(page.is_ok())).count().await, 1);
    let ends = ends(&bench, Operation::List);
    assert!(matches!(
        ends[..],
        [Some(End::Done(_)), Some(End::Cancelled), Some(End::Failed(Kind::Unavailable))]
    ));
    bench.observer.assert_settled();
}

#[tokio::test]
async fn bytes_are_counted_where_they_move() {
    let bench = bench().await;
    let location = bench.root.join(b"new");
    bench.store.put(&location, b"12345".as_slice().into(), PutOptions::default()).await.unwrap();
    let object = bench.store.open(&location, ReadOptions::default()).await.unwrap();
    let ranges = vec![(1, bench.pool.buffer(3).await.unwrap()), (4, bench.pool.buffer(9).await.unwrap())];
    object.read_many(ranges).await;
    bench.store.stat(&location).await.unwrap();
    bench.store.delete(&location).await.unwrap();
    let bytes = |operation| {
        let done = |end| match end {
            Some(End::Done(served)) => Ok(served.bytes),
            Some(End::Failed(kind)) => Err(kind),
            other => panic!("{other:?}"),
        };
        ends(&bench, operation).into_iter().map(done).collect::<Vec<_>>()
    };
    assert_eq!(bytes(Operation::Put), [Ok(5)]);
    assert_eq!(bytes(Operation::Read), [Ok(3), Err(Kind::InvalidRange)]);
    assert_eq!(bench.observer.of(Operation::Read)[0].range, Some(1..4));
    for operation in [Operation::Open, Operation::Stat, Operation::Delete] {
        assert_eq!(bytes(operation), [Ok(0)], "{operation}");
    }
}
