//! `Deadline` ends what a service takes too long for, alone, and gives its memory back.

use bytes::Bytes;
use forebay_io::layer::{Deadline, RetryPolicy, Retrying};
use forebay_io::{
    Body, Budget, GetRequest, Kind, ListOptions, Location, MemoryStore, Operation, Place, Pool, PutOptions,
    ReadOptions, Reservation, Result, Store, Unobserved, Want, read,
};
use forebay_io_testkit::{Fault, FaultRates, FaultStore};
use futures::{StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LIMIT: Duration = Duration::from_secs(10);

struct Bench {
    store: Arc<Deadline>,
    faults: Arc<FaultStore>,
    location: Location,
    pool: Pool,
}

async fn bench() -> Bench {
    let memory = MemoryStore::new();
    let location: Location = "mem://test/object".parse().unwrap();
    memory.put(&location, b"content".as_slice().into(), PutOptions::default()).await.unwrap();
    let faults = Arc::new(FaultStore::new(Arc::new(memory), FaultRates::none(), 3).unwrap());
    let store = Arc::new(Deadline::new(faults.clone(), LIMIT));
    Bench { store, faults, location, pool: Pool::new(Budget::new(1 << 20).unwrap()) }
}

fn late<T>(result: Result<T>, operation: Operation) {
    let error = result.err().expect("it hangs");
    assert_eq!((error.kind(), error.operation()), (Kind::TimedOut, operation));
    assert!(error.to_string().contains("operation_timeout=10s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn every_operation_ends_within_the_limit() {
    let bench = bench().await;
    let Bench { store, location, .. } = &bench;
    let hang = || bench.faults.script(location, [Fault::Hang]);
    let begin = Instant::now();
    hang();
    late(read(&**store, location, None, ReadOptions::default(), &bench.pool).await, Operation::Get);
    hang();
    late(store.open(location, ReadOptions::default()).await, Operation::Open);
    hang();
    late(store.stat(location).await, Operation::Stat);
    hang();
    late(store.put(location, b"x".as_slice().into(), PutOptions::default()).await, Operation::Put);
    hang();
    late(store.delete(location).await, Operation::Delete);
    hang();
    let pages: Vec<_> = store.list(location, ListOptions::recursive()).collect().await;
    pages.into_iter().for_each(|page| late(page, Operation::List));
    assert_eq!(begin.elapsed().as_secs(), 60);
    assert_eq!(bench.pool.budget().used(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_member_of_a_batch_is_given_up_and_not_its_neighbours() {
    let bench = bench().await;
    bench.faults.script(&bench.location, [Fault::None, Fault::Hang, Fault::None]);
    let lease = bench.pool.lease(bench.pool.budget().ticket(), 3);
    let requests: Arc<[_]> = (0..3).map(|slot| GetRequest::whole(bench.location.clone(), slot)).collect();
    let results = bench.store.get_many(requests, ReadOptions::default(), lease.clone()).await;
    let kinds: Vec<_> = results.iter().map(|r| r.as_ref().err().map(|e| e.kind())).collect();
    assert_eq!(kinds, [None, Some(Kind::TimedOut), None]);
    assert_eq!(lease.finish().unwrap().slot(2), Some(&b"content"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_range_read_that_is_given_up_gives_its_buffer_back() {
    let bench = bench().await;
    let object = bench.store.open(&bench.location, ReadOptions::default()).await.unwrap();
    let lease = bench.pool.lease(bench.pool.budget().ticket(), 2);
    let Reservation::Granted(mut bufs) = lease.try_reserve(&[Want::new(0, 3), Want::new(1, 4)]) else {
        panic!()
    };
    bench.faults.script(&bench.location, [Fault::Hang, Fault::None]);
    let (second, first) = (bufs.pop().unwrap(), bufs.pop().unwrap());
    let mut results = object.read_many(vec![(0, first), (3, second)]).await.into_iter();
    let ((first, hung), (second, served)) = (results.next().unwrap(), results.next().unwrap());
    late(hung, Operation::Read);
    served.unwrap();
    assert_eq!((first.slot(), first.len(), &second[..]), (0, 3, &b"tent"[..]));
    object.read_into(0, first).await.1.unwrap();
    drop(second);
    assert_eq!(lease.finish().unwrap().slot(0), Some(&b"con"[..]));
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_is_read_again_into_the_same_slot() {
    let bench = bench().await;
    bench.faults.script(&bench.location, [Fault::Hang, Fault::Lost, Fault::None]);
    let store = Retrying::new(bench.store.clone(), RetryPolicy::default(), Arc::new(Unobserved));
    let block = read(&store, &bench.location, None, ReadOptions::default(), &bench.pool).await.unwrap();
    assert_eq!(block.slot(0), Some(&b"content"[..]));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_memory_does_not_count() {
    let bench = bench().await;
    let small = Pool::new(Budget::new(64).unwrap());
    let older = small.lease(small.budget().ticket(), 1);
    let held = older.try_reserve(&[Want::new(0, 64)]);
    let lease = small.lease(small.budget().ticket(), 1);
    let request = GetRequest::whole(bench.location.clone(), 0);
    let get = bench.store.get(request, ReadOptions::default(), lease.clone());
    let free = async {
        sleep(LIMIT * 5).await;
        drop((held, older));
    };
    assert_eq!(tokio::join!(get, free).0.unwrap().bytes, 7);
}

#[tokio::test(start_paused = true)]
async fn a_put_may_take_long_if_it_gets_on() {
    let bench = bench().await;
    let slow = stream::unfold(0, |n| async move {
        sleep(LIMIT * 2).await;
        (n < 5).then(|| (Ok(Bytes::from_static(b"abc")), n + 1))
    });
    let body = Body::stream(slow.boxed(), None);
    assert_eq!(bench.store.put(&bench.location, body, PutOptions::default()).await.unwrap().size, 15);
}
