//! Many deletes, tried again in rounds: what failed of one request goes into the next together, after one pause and
//! for one payment, because it is one request again.

use super::retries::{Retries, last};
use crate::{Error, Kind, Location, Result, Retry, Store};
use std::time::Duration;

/// Deletes, and tries again what may succeed the next time. `result[i]` belongs to `locations[i]`.
pub(super) async fn delete_many(
    store: &dyn Store,
    tries: &Retries,
    locations: &[Location],
) -> Vec<Result<()>> {
    let mut results = store.delete_many(locations).await;
    let mut open: Vec<Open> = (0..locations.len()).map(|at| Open { at, done_perhaps: false }).collect();
    let mut made = 0;
    loop {
        open.retain(|open| may_succeed(&results[open.at]));
        for Open { at, done_perhaps } in &mut open {
            *done_perhaps |= results[*at].as_ref().err().is_some_and(|error| error.kind() != Kind::Throttled);
        }
        let Some(slowest) = open.iter().max_by_key(|open| named_pause(&results[open.at])) else {
            tries.succeeded(usize::from(!locations.is_empty()));
            return results;
        };
        // It is an error: all that is open is.
        let Err(error) = std::mem::replace(&mut results[slowest.at], Ok(())) else { continue };
        if let Err(error) = tries.again(error, &mut made).await {
            for at in open.iter().map(|open| open.at).filter(|at| *at != slowest.at) {
                let result = std::mem::replace(&mut results[at], Ok(()));
                results[at] = result.map_err(|error| last(error, made));
            }
            results[slowest.at] = Err(error);
            return results;
        }
        let asked: Vec<Location> = open.iter().map(|open| locations[open.at].clone()).collect();
        for (open, answer) in open.iter().zip(store.delete_many(&asked).await) {
            results[open.at] = match answer {
                Err(error) if open.done_perhaps && error.kind() == Kind::NotFound => Ok(()),
                Err(error) if error.retry() == Retry::Never => Err(last(error, made + 1)),
                answer => answer,
            };
        }
    }
}

/// One that has to be asked for again.
struct Open {
    at: usize,
    /// An earlier try may have done it without saying so.
    done_perhaps: bool,
}

fn may_succeed(result: &Result<()>) -> bool {
    result.as_ref().err().is_some_and(|error| error.retry() != Retry::Never)
}

/// The pause that the service named for it.
fn named_pause(result: &Result<()>) -> Duration {
    match result.as_ref().err().map(Error::retry) {
        Some(Retry::After(pause)) => pause,
        _ => Duration::ZERO,
    }
}
