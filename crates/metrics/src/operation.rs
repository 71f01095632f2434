//! What is counted apart: kinds of operation, ways to end, and what was done to the page cache.
//!
//! The enums mirror those of the store traits, so that this crate can be built without them.

use std::fmt;

macro_rules! named {
    ($(#[$attr:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$doc])* $variant,)*
        }

        impl $type {
            /// Every one, in a fixed order.
            pub const ALL: &'static [$type] = &[$($type::$variant,)*];

            pub(crate) const COUNT: usize = $type::ALL.len();

            /// The key in a snapshot.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

named! {
    /// What a store was asked to do. Each has its own series of counts and histograms.
    Operation {
        /// One-shot read of an object of unknown size, alone or in a batch.
        Get = "get",
        /// Read of a range of an opened object.
        Read = "read",
        /// Opening an object.
        Open = "open",
        /// Asking for an object's size and version.
        Stat = "stat",
        /// Listing.
        List = "list",
        /// Writing an object.
        Put = "put",
        /// Removing an object.
        Delete = "delete",
        /// Reading options, locations or limits, before any store is asked.
        Configure = "configure",
    }
}

impl Operation {
    /// Whether it moves an object's bytes, so that their number is worth a histogram.
    pub fn moves_bytes(self) -> bool {
        matches!(self, Operation::Get | Operation::Read | Operation::Put)
    }
}

named! {
    /// What served an operation. Each has its own series, of each kind of operation.
    Backend {
        /// Files through the page cache.
        File = "file",
        /// Files past it.
        Direct = "direct",
        /// S3 and what speaks its protocol.
        S3 = "s3",
        /// Azure Blob Storage.
        Az = "az",
        /// Objects that the program itself holds.
        Memory = "memory",
        /// Any other, and what was counted without saying which.
        Other = "other",
    }
}

named! {
    /// Why an operation failed.
    Failure {
        /// Nothing is stored at the location.
        NotFound = "not_found",
        /// Something is stored there already.
        AlreadyExists = "already_exists",
        /// The caller may not do this here.
        Denied = "denied",
        /// The object is not the version asked for, or changed while it was read.
        Precondition = "precondition",
        /// The range lies outside the object, or the object is larger than what may hold it.
        InvalidRange = "invalid_range",
        /// A location, option or value that cannot be honoured.
        InvalidConfig = "invalid_config",
        /// The store cannot do this.
        Unsupported = "unsupported",
        /// The service asks for fewer requests.
        Throttled = "throttled",
        /// The service or device failed in a way that may pass.
        Unavailable = "unavailable",
        /// A deadline passed.
        TimedOut = "timed_out",
        /// Bytes are not what they should be.
        Corrupt = "corrupt",
        /// The operation reported its own cancellation as an error.
        Cancelled = "cancelled",
        /// A kind that this version does not know.
        Other = "other",
    }
}

named! {
    /// What the wrappers of a store did about trouble, and backends about connections, each counted by itself.
    Happening {
        /// A failed attempt was not made again because the retry budget was spent.
        RetryWithheld = "retries_withheld",
        /// A second request was sent because the first was slow.
        Hedged = "hedges",
        /// The second request of a hedged pair was the one that answered.
        HedgeWon = "hedges_won",
        /// There was no memory for a second request.
        HedgeDenied = "hedges_denied",
        /// A circuit breaker opened.
        BreakerOpened = "breaker_opens",
        /// An operation was refused at once because a circuit breaker was open.
        BreakerRefused = "breaker_refusals",
        /// An operation was taken to another endpoint.
        FailedOver = "failovers",
        /// The concurrency limit of an endpoint was lowered.
        ConcurrencyCut = "concurrency_cuts",
        /// A backend opened a connection.
        Connected = "connections",
        /// A file, or a stretch of one, was mapped to be read.
        Mapped = "mappings",
        /// The kernel was told how the pages of a mapping would be wanted.
        MappingAdvised = "mappings_advised",
        /// Memory could not be registered with a ring.
        Unregistered = "unregistered",
    }
}

named! {
    /// What was really done to the page cache for one read.
    CacheUse {
        /// There is no page cache of ours in the way (memory, network).
        NotApplicable = "not_applicable",
        /// The kernel did as it does by itself.
        Default = "default",
        /// Told to expect sequential reads.
        FadviseSequential = "fadvise_sequential",
        /// Told to expect random reads.
        FadviseRandom = "fadvise_random",
        /// Told to drop the pages after the read.
        DontNeed = "dont_need",
        /// Bypassed.
        DirectIO = "direct_io",
        /// Used, and what was read dropped from it by the read itself (`RWF_DONTCACHE`).
        Uncached = "uncached",
    }
}

impl CacheUse {
    /// Whether a policy other than the kernel's own was applied.
    pub fn is_hint(self) -> bool {
        !matches!(self, CacheUse::NotApplicable | CacheUse::Default)
    }
}

/// How much of an object was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// A range.
    Part,
}

/// How one operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked.
    Done {
        /// Bytes moved; 0 for operations that move none.
        bytes: u64,
        /// From start to end, in nanoseconds.
        latency_ns: u64,
        /// From start to first byte, in nanoseconds, where that is known.
        first_byte_ns: Option<u64>,
        /// What was done to the page cache.
        cache: CacheUse,
    },
    /// It failed.
    Failed(Failure),
    /// Its caller went away.
    Cancelled,
}

/// One operation that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What was done.
    pub operation: Operation,
    /// By what.
    pub backend: Backend,
    /// To how much of the object.
    pub extent: Extent,
    /// How it ended.
    pub outcome: Outcome,
}
