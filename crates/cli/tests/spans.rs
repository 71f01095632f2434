//! Operations, batches and tasks of stages are spans of `tracing`, one within the other, and say how they ended.

use forebay_io::{Budget, GetRequest, ListOptions, Location, Pool, ReadOptions};
use forebay_io_open::StoreOptions;
use forebay_loader::{Dataset, Loader, LoaderOptions};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, subscriber};

/// A span that was seen: its name, the name of the one around it, and its fields.
#[derive(Debug, Clone, Default)]
struct Seen {
    name: String,
    within: Option<u64>,
    fields: BTreeMap<String, String>,
    closed: bool,
}

/// Keeps every span.
#[derive(Default)]
struct Collected {
    spans: Mutex<HashMap<u64, (Seen, u32)>>,
    next: std::sync::atomic::AtomicU64,
}

thread_local!(static ENTERED: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) });

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

struct Collector(Arc<Collected>);

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("forebay::")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.0.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        let within = match span.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if span.is_contextual() => ENTERED.with(|entered| entered.borrow().last().copied()),
            None => None,
        };
        let mut seen = Seen { name: span.metadata().name().to_owned(), within, ..Seen::default() };
        span.record(&mut Fields(&mut seen.fields));
        self.0.spans.lock().unwrap().insert(id, (seen, 1));
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        values.record(&mut Fields(
            &mut self.0.spans.lock().unwrap().get_mut(&span.into_u64()).unwrap().0.fields,
        ));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        ENTERED.with(|entered| entered.borrow_mut().push(span.into_u64()));
    }

    fn exit(&self, _: &Id) {
        ENTERED.with(|entered| _ = entered.borrow_mut().pop());
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.0.spans.lock().unwrap().get_mut(&span.into_u64()).unwrap().1 += 1;
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let mut spans = self.0.spans.lock().unwrap();
        let (seen, held) = spans.get_mut(&span.into_u64()).unwrap();
        *held -= 1;
        seen.closed = *held == 0;
        seen.closed
    }
}

#[test]
fn a_run_is_tasks_batches_and_operations_one_within_the_other() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..10 {
        std::fs::write(folder.path().join(format!("{i}.bin")), vec![7; 100]).unwrap();
    }
    let collected = Arc::new(Collected::default());
    subscriber::set_global_default(Collector(collected.clone())).unwrap();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let root = Location::from_path(folder.path()).unwrap();
    let store = forebay_io_open::open(&root, &StoreOptions::default()).unwrap();
    let missing = root.join(b"no such.bin");
    runtime.block_on(async {
        let dataset = Arc::new(Dataset::list(&*store, &root, ListOptions::recursive()).await.unwrap());
        let options = LoaderOptions { batch_size: 5, ..LoaderOptions::default() };
        let loader = Loader::new(store.clone(), dataset, options).unwrap();
        let mut epoch = loader.start(&tokio::runtime::Handle::current()).unwrap();
        while let Some(batch) = epoch.next().await {
            batch.unwrap();
        }
        epoch.closed().await;
        let pool = Pool::new(Budget::new(1 << 20).unwrap());
        let lease = pool.lease(pool.budget().ticket(), 1);
        let request = GetRequest::whole(missing, 0);
        store.get(request, ReadOptions::default(), lease).await.unwrap_err();
    });
    drop(runtime);

    let spans = collected.spans.lock().unwrap();
    let named = |name: &str| {
        spans.values().map(|(seen, _)| seen).filter(|seen| seen.name == name).collect::<Vec<_>>()
    };
    let around = |seen: &Seen| seen.within.map(|id| spans[&id].0.clone());
    assert!(spans.values().all(|(seen, _)| seen.closed), "every span is closed");

    let tasks = named("task");
    assert!(tasks.iter().all(|task| task.fields["stage"] == "read" && task.within.is_none()));
    let batches = named("batch");
    assert_eq!((tasks.len(), batches.len()), (2, 2));
    for batch in &batches {
        assert_eq!((&*batch.fields["samples"], &*batch.fields["epoch"]), ("5", "0"));
        assert_eq!(around(batch).unwrap().name, "task");
    }
    let operations = named("operation");
    let gets: Vec<_> = operations.iter().filter(|seen| seen.fields["op"] == "get").collect();
    let served: Vec<_> = gets.iter().filter(|seen| seen.fields.contains_key("bytes")).collect();
    assert_eq!((gets.len(), served.len()), (11, 10), "each operation once, whatever layers it goes through");
    for get in served {
        assert_eq!((&*get.fields["bytes"], &*get.fields["stage"]), ("100", "read"));
        assert!(get.fields["uri"].starts_with("file:///") && get.fields["uri"].ends_with(".bin"));
        assert_eq!(around(get).unwrap().name, "batch");
    }
    let failed = gets.iter().find(|seen| seen.fields.contains_key("error")).unwrap();
    assert_eq!(failed.fields["error"], "not_found");
    assert_eq!(operations.iter().filter(|seen| seen.fields["op"] == "list").count(), 1);
}
