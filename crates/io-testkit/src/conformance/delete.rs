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

/// Many are removed by one call, more than Azure takes in one request, and nothing else is.
pub async fn delete_many_removes_what_it_names(store: &dyn Store, root: &Location) {
    const COUNT: usize = 300;
    let named: Vec<Location> = (0..COUNT).map(|i| root.join(format!("d/o&{i}").as_bytes())).collect();
    let kept = root.join(b"d/kept");
    put(store, &kept, b"kept").await;
    for location in &named {
        put(store, location, b"gone").await;
    }
    let answers = store.delete_many(&named).await;
    assert_eq!(answers.len(), COUNT, "one answer a location");
    answers.into_iter().for_each(|answer| answer.unwrap());
    assert_eq!(keys(store, root).await.into_iter().collect::<Vec<_>>(), [b"d/kept"]);
}

/// What is not there is answered in its place, and the others are removed.
pub async fn delete_many_members_fail_alone(store: &dyn Store, root: &Location) {
    let there: Vec<Location> = (0..3).map(|i| root.join(format!("there{i}").as_bytes())).collect();
    for location in &there {
        put(store, location, b"x").await;
    }
    let missing = root.join(b"missing");
    let named = [&there[0], &missing, &there[1], &there[2]].map(Location::clone);
    let mut answers = store.delete_many(&named).await;
    assert_eq!(answers.len(), named.len(), "one answer a location");
    let of_missing = answers.remove(1);
    if store.capability().delete_reports_missing {
        fails(of_missing, Kind::NotFound, &missing);
    } else {
        of_missing.unwrap();
    }
    answers.into_iter().for_each(|answer| answer.unwrap());
    assert!(keys(store, root).await.is_empty());
}

/// Nothing asked, nothing answered.
pub async fn delete_many_of_nothing_answers_nothing(store: &dyn Store, _: &Location) {
    assert!(store.delete_many(&[]).await.is_empty());
}
