//! Many stores as one: each request reaches the store of its scheme and host, and comes back in its place.

use forebay_io::layer::Routed;
use forebay_io::{
    Budget, Error, GetRequest, Kind, Location, MemoryStore, Pool, PutOptions, ReadOptions, Store,
};
use futures::executor::block_on;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_batch_is_split_by_store_and_put_together_again() {
    let stores = ["mem", "s3"].map(|scheme| (scheme, Arc::new(MemoryStore::new())));
    let opened = Arc::new(AtomicUsize::new(0));
    let (count, all) = (opened.clone(), stores.clone());
    let routed = Routed::new(stores[0].1.clone(), move |location| {
        count.fetch_add(1, Ordering::Relaxed);
        match all.iter().find(|(scheme, _)| *scheme == location.scheme()) {
            Some((_, store)) => Ok(store.clone() as Arc<dyn Store>),
            None => Err(Error::invalid("no such scheme").at(location)),
        }
    });
    let locations: Vec<Location> = ["s3://b/1", "mem://h/2", "s3://b/3", "gopher://h/x", "mem://h/4"]
        .map(|uri| uri.parse().unwrap())
        .into();
    block_on(async {
        for (i, location) in locations.iter().enumerate().filter(|(i, _)| *i != 3) {
            routed.put(location, vec![i as u8; i + 1].into(), PutOptions::default()).await.unwrap();
        }
        let pool = Pool::new(Budget::new(1 << 20).unwrap());
        let lease = pool.lease(pool.budget().ticket(), 5);
        let requests: Arc<[GetRequest]> =
            locations.iter().enumerate().map(|(i, l)| GetRequest::whole(l.clone(), i as u32)).collect();
        let results = routed.get_many(requests, ReadOptions::default(), lease.clone()).await;
        let kinds: Vec<_> =
            results.iter().map(|result| result.as_ref().map_err(|e| e.kind()).map(|s| s.bytes)).collect();
        assert_eq!(kinds, [Ok(1), Ok(2), Ok(3), Err(Kind::InvalidConfig), Ok(5)]);
        let block = lease.finish().unwrap();
        assert_eq!(block.slot(4), Some(&[4u8; 5][..]));
        assert_eq!(block.slot(0), Some(&[0u8][..]));
    });
    assert_eq!(opened.load(Ordering::Relaxed), 3, "each store once, and the one that is none");
}
