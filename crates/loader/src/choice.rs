//! Options that are one of a few words: each an enum whose words are written down once.

/// An enum of words: its names, its parser and its display.
macro_rules! choice {
    (
        $(#[$about:meta])*
        $option:literal: $name:ident { $($(#[$meaning:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum $name { $($(#[$meaning])* $variant,)+ }

        impl $name {
            /// Every word, in a fixed order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The spelling in options.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = forebay_io::Error;

            fn from_str(text: &str) -> forebay_io::Result<Self> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(forebay_io::Error::invalid(format!(
                        concat!($option, " {:?} is not one of {}"), text, Self::WORDS.join(", ")
                    ))),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

choice! {
    /// In which order batches reach the consumer, and when the first can.
    "loading_mode": LoadingMode {
        /// In the order of the sampler, though reads complete out of order: reproducible.
        #[default]
        Ordered = "ordered",
        /// As batches complete. What a batch holds is the same; which comes first is not.
        Completion = "completion",
        /// While the dataset is still listed, in the order of the listing.
        Streaming = "streaming",
    }
}

choice! {
    /// How the bytes of a sample are asked for.
    "reader_mode": ReaderMode {
        /// Each sample in one go, front to back.
        #[default]
        Sequential = "sequential",
        /// By ranges of the size of a request, side by side.
        Range = "range",
        /// Through a mapping of the file.
        Mmap = "mmap",
    }
}

choice! {
    /// What becomes of the samples that do not divide evenly among the ranks.
    "shard_remainder": Remainder {
        /// Some ranks get one sample more than others.
        #[default]
        Uneven = "uneven",
        /// The last samples of the order, fewer than there are ranks, are left out.
        Drop = "drop",
        /// Samples from the front of the order come a second time, so that all ranks get as many.
        Pad = "pad",
    }
}

choice! {
    /// The frameworks' words for what is done to the page cache.
    "cache_policy": CachePolicy {
        /// Whatever the kernel does by itself.
        #[default]
        Default = "default",
        /// Larger read-ahead.
        Sequential = "sequential",
        /// No read-ahead.
        Random = "random",
        /// Past the page cache.
        Direct = "direct",
    }
}

choice! {
    /// How the samples of a batch are handed to an array library.
    "collate": Collate {
        /// One matrix if all are of one size, else a list of vectors.
        #[default]
        Auto = "auto",
        /// One matrix; samples of different sizes are an error.
        Stack = "stack",
        /// A list of vectors, whatever their sizes.
        List = "list",
        /// One matrix as wide as the longest sample, filled up with zeros.
        Pad = "pad",
    }
}

choice! {
    /// Whether something is done: always, never, or where it is possible.
    "pin_memory and non_blocking": Wish {
        /// No.
        #[default]
        No = "false",
        /// Yes, and an error where it cannot be.
        Yes = "true",
        /// Where it can be.
        Auto = "auto",
    }
}

choice! {
    /// How processes are started.
    "multiprocessing_context": StartMethod {
        /// As a copy of the parent.
        #[default]
        Fork = "fork",
        /// Afresh.
        Spawn = "spawn",
        /// As a copy of a process that was started afresh.
        Forkserver = "forkserver",
    }
}
