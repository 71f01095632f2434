//! What every command is given: where to write, what it has done, and how to reach a store.

use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Result;
use crate::stores::Stores;
use crate::tally::Tally;
use crate::timeline::Timeline;
use forebay_io::{Location, Store};
use forebay_metrics::MetricsCollector;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// The surroundings of a command.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) console: Arc<Console>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) stores: Arc<Stores>,
    /// Where relative paths begin.
    pub(crate) cwd: Arc<PathBuf>,
    /// What a run of the loader counts, and its stores' requests with it.
    pub(crate) collector: Arc<MetricsCollector>,
    /// Where a timeline is written, if one is.
    pub(crate) timeline: Option<Timeline>,
    /// Whether somebody wants the command to end.
    pub(crate) stop: Stop,
}

/// A wish that the command end, and with which exit code.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Sender<Option<Exit>>);

impl Stop {
    /// Nobody has asked yet.
    pub(crate) fn new() -> Self {
        Stop(watch::Sender::new(None))
    }

    /// Asks.
    pub(crate) fn ask(&self, exit: Exit) {
        self.0.send_replace(Some(exit));
    }

    /// Waits until somebody asks. A command that looks at this ends by itself and reports what it has
    /// done; others are dropped where they are.
    pub(crate) async fn asked(&self) -> Exit {
        let mut asked = self.0.subscribe();
        // This holds a sender, so the channel never closes.
        let exit = asked.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
        exit.unwrap_or(Exit::Interrupted)
    }
}

impl Context {
    /// The location that an argument names: a URI, or a path from the working directory. File names
    /// are bytes, so an argument that is not UTF-8 is a path.
    pub(crate) fn locate(&self, argument: &OsStr) -> Result<Location> {
        Ok(match argument.to_str() {
            Some(text) => self.stores.locate(text, &self.cwd)?,
            None => {
                let location = Location::from_path(&self.cwd.join(argument))?;
                self.stores.named(&location);
                location
            }
        })
    }

    /// The store behind a location.
    pub(crate) fn store(&self, location: &Location) -> Result<Arc<dyn Store>> {
        Ok(self.stores.at(location)?)
    }
}
