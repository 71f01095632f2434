//! Size and version without reading.

use super::{fails, put};
use forebay_io::{EntryKind, Kind, Location, Store};

/// Size and kind are told, and a version that changes with each put where the store has versions.
pub async fn stat_tells_size_and_version(store: &dyn Store, root: &Location) {
    let location = root.join(b"d/object");
    let first = put(store, &location, b"12345").await;
    let meta = store.stat(&location).await.unwrap();
    assert_eq!((meta.kind, meta.size), (EntryKind::Object, 5));
    assert_eq!(meta.version.is_some(), store.capability().versions, "capability and stat agree on versions");
    assert_eq!(first.version, meta.version, "put and stat tell the same version");
    assert_eq!(store.stat(&location).await.unwrap().version, meta.version, "reading does not change it");
    let second = put(store, &location, b"54321").await;
    assert_eq!(store.stat(&location).await.unwrap().version, second.version);
    assert_eq!(first.version == second.version, !store.capability().versions);
}

/// A directory is one where directories are real; elsewhere nothing is stored there.
pub async fn stat_of_a_directory(store: &dyn Store, root: &Location) {
    put(store, &root.join(b"d/object"), b"1").await;
    let location = root.join(b"d");
    let result = store.stat(&location).await;
    if store.capability().real_directories {
        let meta = result.unwrap();
        assert_eq!((meta.kind, meta.size), (EntryKind::Directory, 0));
    } else {
        fails(result, Kind::NotFound, &location);
    }
}

/// Nothing to tell of.
pub async fn stat_of_a_missing_object_is_not_found(store: &dyn Store, root: &Location) {
    put(store, &root.join(b"there"), b"1").await;
    for key in [&b"missing"[..], b"no/such/directory", b"ther"] {
        let location = root.join(key);
        fails(store.stat(&location).await, Kind::NotFound, &location);
    }
}
