//! What flights are submitted to: the ring, or threads where there is none.

use crate::bounce::Bounces;
use crate::flight::Flight;
use crate::open_file::OpenFile;
use crate::options::{self, DirectOptions};
use crate::preads;
use crate::registered::Counts;
use crate::ring::{Ring, Seat};
use forebay_io::Result;
use forebay_io_fs::posix::Threads;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Engine {
    ring: Option<Ring>,
    pub(crate) threads: Threads,
    bounces: Arc<Bounces>,
}

/// Threads beside a ring only open files; without one, each is a request in flight.
const BESIDE_A_RING: usize = 4;
const WITHOUT: usize = 16;

impl Engine {
    pub(crate) fn start(options: &DirectOptions) -> Result<Self> {
        let bounces = Arc::new(Bounces::default());
        let ring = match options.engine {
            options::Engine::Threads => None,
            options::Engine::Ring => Some(Ring::start(options, bounces.clone())?),
            options::Engine::Auto => match Ring::start(options, bounces.clone()) {
                Ok(ring) => Some(ring),
                Err(error) => {
                    tracing::info!("files are read by threads: {error}");
                    None
                }
            },
        };
        let usual = if ring.is_some() { BESIDE_A_RING } else { WITHOUT };
        let threads = options.threads.unwrap_or(usual);
        Ok(Engine { ring, threads: Threads::new("forebay-direct", threads, threads)?, bounces })
    }

    pub(crate) fn has_ring(&self) -> bool {
        self.ring.is_some()
    }

    /// Of the ring's, where there is one.
    pub(crate) fn registered(&self) -> Option<&Counts> {
        self.ring.as_ref().map(Ring::counts)
    }

    pub(crate) fn submit(&self, flight: Flight) {
        match &self.ring {
            Some(ring) => ring.submit(flight),
            None => preads::submit(&self.threads, &self.bounces, flight),
        }
    }

    /// A place in the ring's table for a file that will be read often, where there is one.
    pub(crate) fn seat(&self) -> Option<Seat> {
        self.ring.as_ref().and_then(Ring::seat)
    }

    /// The file takes the place that it was given.
    pub(crate) fn seated(&self, file: &Arc<OpenFile>) {
        if let Some(ring) = &self.ring {
            ring.seated(file);
        }
    }
}
