//! A batch that stops on one thread and goes on on another.

use super::*;
use crate::mapping::Probe;
use forebay_io::{Budget, Location, Pool};
use std::cell::Cell;

#[test]
fn another_thread_goes_on_where_the_first_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let content = |i: usize| vec![i as u8; 100 + i];
    let requests: Arc<[GetRequest]> = (0..8usize)
        .map(|i| {
            let path = dir.path().join(i.to_string());
            std::fs::write(&path, content(i)).unwrap();
            GetRequest::whole(Location::from_path(&path).unwrap(), i as u32)
        })
        .collect();
    for stop_after in 0..8 {
        for target in [None, NonZeroU64::new(64)] {
            let files = Arc::new(Files {
                descriptors: Descriptors::new(1, GROUP),
                kept: KeptFiles::new(),
                observer: None,
                lookout: None,
                probe: Probe::default(),
            });
            let pool = Pool::new(Budget::new(1 << 20).unwrap());
            let lease = pool.lease(pool.budget().ticket(), 8);
            let terms = Terms { mode: PageCacheMode::Default, target, split_from: u64::MAX };
            let batch = ReadBatch::new(requests.clone(), 0..8, terms, lease.clone(), files, None);
            // Asked before each file.
            let asked = Cell::new(0);
            let goes_back = || {
                asked.set(asked.get() + 1);
                asked.get() > stop_after
            };
            let stop = batch.run(None, Turn::new(&|| false, &|| {}, &goes_back, false));
            let Stop::Back(batch, room) = stop else { panic!("stopped before file {stop_after}") };
            assert_eq!(room.as_ref().map(Vec::len), Some(8 - stop_after));
            let stop = batch.run(room.map(Ok), Turn::new(&|| false, &|| {}, &|| false, false));
            let Stop::Done(results) = stop else { panic!("nothing keeps it from its end") };
            for (i, result) in results.into_iter().enumerate() {
                assert_eq!(result.unwrap().bytes, content(i).len() as u64);
            }
            let block = lease.finish().unwrap();
            assert!((0..8).all(|i| block.slot(i) == Some(&content(i)[..])));
        }
    }
}
