//! A store to be tested, empty beneath its root.

use forebay_io::{Location, Store};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What the factory given to [`conformance_suite!`](crate::conformance_suite) makes anew for each test.
pub struct Fixture {
    /// The store under test.
    pub store: Arc<dyn Store>,
    /// Where the test may put its objects. Nothing is stored beneath it. In a store with real
    /// directories it is an existing directory.
    pub root: Location,
    /// What must outlive the store: a temporary directory, a server.
    keep: Vec<Box<dyn Any + Send>>,
}

impl Fixture {
    /// A store that needs nothing else to live.
    pub fn new(store: Arc<dyn Store>, root: Location) -> Self {
        Fixture { store, root, keep: Vec::new() }
    }

    /// Keeps `what` until the test is over.
    #[must_use]
    pub fn keep(mut self, what: impl Any + Send) -> Self {
        self.keep.push(Box::new(what));
        self
    }

    /// The same fixture with its store wrapped.
    #[must_use]
    pub fn wrap(mut self, layer: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>) -> Self {
        self.store = layer(self.store);
        self
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture")
            .field("store", &self.store)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}
