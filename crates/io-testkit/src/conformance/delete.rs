//! Removing.

use super::{fails, get, keys, put};
use forebay_io::{Kind, Location, Store};

/// What is deleted is gone for every way to look for it, and nothing else is.
pub async fn delete_removes(store: &dyn Store, root: &Location) {
    let (gone, kept) = (root.join(b"d/gone"), root.join(b"d/kept"));
    put(store, &gone, b"gone").await;
    put(store, &kept, b"kept").await;
    store.delete(&gone).await.unwrap();
    fails(get(store, &gone).await, Kind::NotFound, &gone);
    fails(store.stat(&gone).await, Kind::NotFound, &gone);
    assert_eq!(keys(store, root).await.into_iter().collect::<Vec<_>>(), [b"d/kept"]);
    assert_eq!(get(store, &kept).await.unwrap(), b"kept");
    store.delete(&kept).await.unwrap();
    assert!(keys(store, root).await.is_empty());
    put(store, &gone, b"back").await;
    assert_eq!(get(store, &gone).await.unwrap(), b"back");
}

/// Deleting what is not there is reported, or succeeds, as the store says of itself.
pub async fn delete_of_a_missing_object(store: &dyn Store, root: &Location) {
    put(store, &root.join(b"there"), b"x").await;
    for key in [&b"missing"[..], b"no/such/directory", b"ther"] {
        let location = root.join(key);
        let result = store.delete(&location).await;
        if store.capability().delete_reports_missing {
            fails(result, Kind::NotFound, &location);
        } else {
            result.unwrap();
        }
    }
    assert_eq!(keys(store, root).await.len(), 1);
}

/// A directory is not deleted as if it were an object.
pub async fn delete_of_a_directory_keeps_what_is_in_it(store: &dyn Store, root: &Location) {
    let inside = root.join(b"d/inside");
    put(store, &inside, b"inside").await;
    let directory = root.join(b"d");
    let result = store.delete(&directory).await;
    let capability = store.capability();
    if capability.real_directories {
        fails(result, Kind::InvalidConfig, &directory);
    } else if capability.delete_reports_missing {
        fails(result, Kind::NotFound, &directory);
    } else {
        result.unwrap();
    }
    assert_eq!(get(store, &inside).await.unwrap(), b"inside");
}
