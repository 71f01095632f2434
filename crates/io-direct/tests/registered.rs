//! Memory that is registered with a ring: what is read there is right, whatever the pool does with it
//! meanwhile, and it is given back.

use forebay_io::{
    Budget, Event, GetRequest, Lease, Location, Object, Place, Pool, ReadOptions, Reservation, Room, Store,
    Want,
};
use forebay_io_direct::{DirectOptions, DirectStore, RingMemory};
use forebay_io_testkit::RecordingObserver;
use futures::executor::block_on;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::sync::Arc;

const SIZE: u64 = 2 << 20;
const BLOCK: u64 = 4096;

struct File {
    _dir: tempfile::TempDir,
    at: Location,
    content: Vec<u8>,
}

impl File {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        let mut content = vec![0; SIZE as usize];
        ChaCha8Rng::seed_from_u64(5).fill_bytes(&mut content);
        std::fs::write(dir.path().join("file"), &content).unwrap();
        let at = format!("direct://{}", dir.path().join("file").display()).parse().unwrap();
        File { _dir: dir, at, content }
    }

    fn open(&self, store: &DirectStore) -> Arc<dyn Object> {
        block_on(store.open(&self.at, ReadOptions::default())).unwrap()
    }
}

fn store(register_buffers: bool) -> DirectStore {
    DirectStore::new(DirectOptions { register_buffers, ..DirectOptions::default() }).unwrap()
}

fn lease(pool: &Pool, slots: u32) -> Arc<Lease> {
    pool.lease(pool.budget().ticket(), slots)
}

/// Reads the file's first blocks into slots of a lease, and checks them.
fn read(file: &File, object: &dyn Object, lease: &Arc<Lease>, slots: u32) {
    let room = Room { align: BLOCK as u32, ..Room::default() };
    let wants: Vec<_> = (0..slots).map(|slot| Want { room, ..Want::new(slot, BLOCK) }).collect();
    let Reservation::Granted(bufs) = lease.try_reserve(&wants) else { panic!("there is room") };
    let ranges = bufs.into_iter().zip(0..).map(|(buf, i)| (i * BLOCK, buf)).collect();
    for ((buf, served), i) in block_on(object.read_many(ranges)).into_iter().zip(0..) {
        served.unwrap();
        assert!(*buf == file.content[i * BLOCK as usize..][..BLOCK as usize], "block {i}");
    }
}

#[test]
fn memory_that_is_used_again_is_registered_and_forgotten_when_it_goes() {
    let (file, store) = (File::new(), store(true));
    let object = file.open(&store);
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    for _ in 0..4 {
        read(&file, &*object, &lease(&pool, 16), 16);
    }
    let RingMemory { registered, refused } = store.ring_memory();
    if store.uses_ring() {
        // A kernel that may not lock memory for us says so, and that is counted.
        assert!(registered == pool.committed() || (registered, refused) == (0, 1), "{registered}, {refused}");
    } else {
        assert_eq!((registered, refused), (0, 0));
    }
    drop(pool);
    // The ring hears of what went before it hears of what is asked of it afterwards.
    read(&file, &*object, &lease(&Pool::new(Budget::new(1 << 20).unwrap()), 1), 1);
    assert_eq!(store.ring_memory().registered, 0);
}

/// More stretches of memory at once than the ring has places for: those without one are read into all the same.
#[test]
fn what_could_not_be_registered_is_counted_and_told_and_read_into_all_the_same() {
    let file = File::new();
    let observer = Arc::new(RecordingObserver::new());
    let options = DirectOptions { observer: Some(observer.clone()), ..DirectOptions::default() };
    let store = DirectStore::new(options).unwrap();
    let object = file.open(&store);
    let pool = Pool::new(Budget::new(64 << 20).unwrap());
    let held: Vec<_> = (0..300)
        .map(|_| {
            let lease = lease(&pool, 16);
            read(&file, &*object, &lease, 16);
            lease
        })
        .collect();
    drop(held);
    let RingMemory { refused, .. } = store.ring_memory();
    let told = observer.events();
    assert_eq!(told.len() as u64, refused);
    assert!(told.iter().all(|event| matches!(event, Event::Unregistered { .. })), "{told:?}");
    assert!(!store.uses_ring() || refused > 0);
}

#[test]
fn nothing_is_registered_where_it_is_not_wanted() {
    let (file, store) = (File::new(), store(false));
    let object = file.open(&store);
    let pool = Pool::new(Budget::new(1 << 20).unwrap());
    for _ in 0..4 {
        read(&file, &*object, &lease(&pool, 16), 16);
    }
    assert_eq!(store.ring_memory(), RingMemory::default());
}

/// Leases of all sizes under a cap that makes the pool take back what it committed, while others are read into.
#[test]
fn no_byte_is_wrong_while_the_pool_grows_and_trims_what_is_registered() {
    let (file, store) = (File::new(), store(true));
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let pool = Pool::new(Budget::new(256 << 10).unwrap());
    let (mut seen, mut shrank) = (0, 0);
    for _ in 0..1500 {
        // A small batch, then another that may need all that it left.
        let mut held = Vec::new();
        for (most, blocks) in [(1, 4), (5, 12)] {
            let slots = random.random_range(1..=most);
            let lease = lease(&pool, slots);
            let requests: Vec<_> = (0..slots)
                .map(|slot| {
                    let start = random.random_range(0..SIZE / BLOCK - 16) * BLOCK;
                    let len = random.random_range(1..=blocks) * BLOCK - random.random_range(0..600);
                    GetRequest { range: Some(start..start + len), ..GetRequest::whole(file.at.clone(), slot) }
                })
                .collect();
            let got =
                block_on(store.get_many(requests.clone().into(), ReadOptions::default(), lease.clone()));
            assert!(got.iter().all(Result::is_ok), "{got:?}");
            held.push((lease.finish().unwrap(), requests));
        }
        for (block, requests) in held {
            for request in requests {
                let range = request.range.unwrap();
                let right = &file.content[range.start as usize..range.end as usize];
                assert!(block.slot(request.slot as usize) == Some(right), "{range:?}");
            }
        }
        let RingMemory { registered, .. } = store.ring_memory();
        shrank += u32::from(registered < seen);
        seen = registered;
    }
    let RingMemory { refused, .. } = store.ring_memory();
    assert!(!store.uses_ring() || refused > 0 || shrank > 0, "nothing was ever forgotten");
}
