//! The same work over many things, a bounded number at once.

use crate::failure::{Failure, Result};
use forebay_io::Kind;
use futures::{Stream, StreamExt};
use std::future::Future;
use std::pin::pin;
use tokio::task::{JoinError, JoinSet};

/// Runs `work` for every item, at most `at_once` at a time, on all threads, and hands each result to
/// `done` as it comes. The first error that the source or `done` gives ends it all: tasks that are
/// under way are dropped, as they are when the returned future is.
pub(crate) async fn for_each<T, R, F>(
    items: impl Stream<Item = Result<T>>,
    at_once: usize,
    mut work: impl FnMut(T) -> F,
    mut done: impl FnMut(R) -> Result<()>,
) -> Result<()>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let mut items = pin!(items.fuse());
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            Some(item) = items.next(), if tasks.len() < at_once.max(1) => {
                tasks.spawn(work(item?));
            }
            Some(result) = tasks.join_next() => done(result.map_err(lost)?)?,
            else => return Ok(()),
        }
    }
}

/// A task that panicked: a defect of ours, which must not pass for success.
fn lost(error: JoinError) -> Failure {
    Failure::refused(Kind::Unavailable, format!("a task of this command died: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use futures::stream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn everything_runs_once_and_never_too_much_at_once() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut seen = Vec::new();
        let work = |i: usize| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                i
            }
        };
        for_each(stream::iter((0..100).map(Ok)), 4, work, |i| {
            seen.push(i);
            Ok(())
        })
        .await
        .unwrap();
        seen.sort();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 4);
    }

    #[tokio::test]
    async fn the_first_error_ends_it() {
        let items = stream::iter((0..10).map(|i| if i == 3 { Err(Failure::usage("three")) } else { Ok(i) }));
        let failure = for_each(items, 1, |i| async move { i }, |_| Ok(())).await.unwrap_err();
        assert_eq!((failure.exit(), failure.to_string().as_str()), (Exit::Usage, "three"));
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let work = |_| async { panic!("on purpose") };
        let failure = for_each(stream::iter([Ok(())]), 1, work, |()| Ok(())).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Failed);
    }
}
