//! How a [`DirectStore`](crate::DirectStore) is set up.

use forebay_io::{Error, Observe, Result, parse_size};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Options of a [`DirectStore`](crate::DirectStore).
#[derive(Clone)]
pub struct DirectOptions {
    /// Whether files are read and written past the page cache. Where false, they go through it and do
    /// not stay in it (`RWF_DONTCACHE`, else `POSIX_FADV_DONTNEED` after each read).
    pub direct_io: bool,
    /// Whether what the filesystem refuses is an error. Where false, the next best is used: `O_DIRECT`,
    /// then `RWF_DONTCACHE`, then `POSIX_FADV_DONTNEED`. Each file that was read in a lesser way is noted,
    /// and shown in what was served.
    pub strict: bool,
    /// Alignment of addresses, offsets and lengths in bytes, a power of two from 512 to 1 MiB. None: the
    /// filesystem is asked, or tried where it does not say.
    pub alignment: Option<NonZeroU32>,
    /// No request of a direct read is for less than this, and each for a multiple: a power of two up to
    /// 1 MiB. More is read than asked for, so it only helps on devices that read such blocks anyway. 0: as
    /// the filesystem allows.
    pub min_io_size: u32,
    /// Every put returns only when its bytes and its name survive a power cut, as if each had asked for
    /// [`durable`](forebay_io::PutOptions).
    pub sync_writes: bool,
    /// What reads are submitted to.
    pub engine: Engine,
    /// Requests in the ring at once, from 1 to 4096.
    pub depth: u32,
    /// Whether memory of a pool that is read into again and again is registered with the ring, which spares the
    /// kernel to look it up for each read. It counts in `RLIMIT_MEMLOCK` (8 MiB on most systems, nothing for
    /// root): what that has no room for is read into as it is, and
    /// [counted](crate::DirectStore::ring_memory), and the observer is told.
    pub register_buffers: bool,
    /// Threads that open, write and list files, and read where there is no ring; from 1 to 1024. None: 4
    /// with a ring, 16 without.
    pub threads: Option<usize>,
    /// Hears of each request, each downgrade and all memory that could not be registered.
    pub observer: Option<Arc<dyn Observe>>,
}

/// What reads are submitted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// A ring where a read through one succeeds, else threads.
    #[default]
    Auto,
    /// An `io_uring`, or an error.
    Ring,
    /// Threads that call `pread`.
    Threads,
}

/// Larger blocks are not read by any disk.
const MOST: u32 = 1 << 20;

/// The options that can be given as text: name, and what it means.
pub const KEYS: [(&str, &str); 8] = [
    (
        "direct_io",
        "true to go past the page cache (the default), false to go through it and keep nothing there",
    ),
    ("strict", "true to fail where the filesystem refuses that, instead of using the next best"),
    (
        "alignment",
        "what offsets, lengths and addresses are multiples of, as 4096; else the filesystem is asked",
    ),
    (
        "min_io_size",
        "the least that is read at once, and each read a multiple of it, as 4096; 0 for no such thing",
    ),
    ("sync_writes", "true to have every put survive a power cut"),
    ("io_engine", "auto, ring (io_uring, or fail) or threads (pread)"),
    ("queue_depth", "the most requests in the ring at once"),
    (
        "register_buffers",
        "true to have memory that is used again and again known to the ring (the default), false not to",
    ),
];

impl DirectOptions {
    /// Sets the option `key` to what `value` says; false if there is none of this name.
    ///
    /// # Errors
    /// `InvalidConfig` for a value that cannot be honoured, naming it and what would be valid.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        let truth = || match value {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Error::invalid(format!("{key} must be true or false, is {value:?}"))),
        };
        let bytes = || {
            let bytes = parse_size(value).map_err(|e| e.context(key))?;
            u32::try_from(bytes)
                .map_err(|_| Error::invalid(format!("{key} must be at most {MOST}, is {value:?}")))
        };
        match key {
            "direct_io" => self.direct_io = truth()?,
            "strict" => self.strict = truth()?,
            "alignment" => self.alignment = NonZeroU32::new(bytes()?),
            "min_io_size" => self.min_io_size = bytes()?,
            "sync_writes" => self.sync_writes = truth()?,
            "register_buffers" => self.register_buffers = truth()?,
            "io_engine" => {
                self.engine = match value {
                    "auto" => Engine::Auto,
                    "ring" => Engine::Ring,
                    "threads" => Engine::Threads,
                    _ => {
                        let context = format!("{key} must be auto, ring or threads, is {value:?}");
                        return Err(Error::invalid(context));
                    }
                }
            }
            "queue_depth" => {
                let depth = value.parse();
                self.depth = depth
                    .map_err(|_| Error::invalid(format!("{key} must be from 1 to 4096, is {value:?}")))?;
            }
            _ => return Ok(false),
        }
        if key == "alignment" && self.alignment.is_none() {
            return Err(Error::invalid(
                "alignment must be a power of two from 512 to 1048576, is 0; leave it out \
                                       to have the filesystem asked",
            ));
        }
        self.check()?;
        Ok(true)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(alignment) = self.alignment.map(u32::from)
            && !(alignment.is_power_of_two() && (512..=MOST).contains(&alignment))
        {
            let context = format!("alignment must be a power of two from 512 to {MOST}, is {alignment}");
            return Err(Error::invalid(context));
        }
        if self.min_io_size > MOST || !(self.min_io_size == 0 || self.min_io_size.is_power_of_two()) {
            let context =
                format!("min_io_size must be 0 or a power of two up to {MOST}, is {}", self.min_io_size);
            return Err(Error::invalid(context));
        }
        if !(1..=4096).contains(&self.depth) {
            return Err(Error::invalid(format!("queue_depth must be from 1 to 4096, is {}", self.depth)));
        }
        if let Some(threads) = self.threads.filter(|threads| !(1..=1024).contains(threads)) {
            return Err(Error::invalid(format!("threads must be from 1 to 1024, is {threads}")));
        }
        Ok(())
    }
}

impl Default for DirectOptions {
    fn default() -> Self {
        DirectOptions {
            direct_io: true,
            strict: false,
            alignment: None,
            min_io_size: 0,
            sync_writes: false,
            engine: Engine::Auto,
            depth: 256,
            register_buffers: true,
            threads: None,
            observer: None,
        }
    }
}

impl fmt::Debug for DirectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectOptions")
            .field("direct_io", &self.direct_io)
            .field("strict", &self.strict)
            .field("alignment", &self.alignment)
            .field("min_io_size", &self.min_io_size)
            .field("sync_writes", &self.sync_writes)
            .field("engine", &self.engine)
            .field("depth", &self.depth)
            .field("register_buffers", &self.register_buffers)
            .field("threads", &self.threads)
            .field("observer", &self.observer.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_understood_and_bad_text_is_refused_by_name() {
        let mut options = DirectOptions::default();
        for (key, value) in [
            ("direct_io", "false"),
            ("strict", "true"),
            ("alignment", "4KiB"),
            ("min_io_size", "8192"),
            ("sync_writes", "true"),
            ("io_engine", "threads"),
            ("queue_depth", "7"),
            ("register_buffers", "false"),
        ] {
            assert!(options.set(key, value).unwrap(), "{key}");
            for bad in ["maybe", "-1", ""] {
                let error = DirectOptions::default().set(key, bad).unwrap_err();
                assert!(error.to_string().contains(key), "{key}={bad}: {error}");
            }
        }
        assert!(!options.direct_io && options.strict && options.sync_writes && !options.register_buffers);
        assert_eq!((options.alignment, options.min_io_size), (NonZeroU32::new(4096), 8192));
        assert_eq!((options.engine, options.depth), (Engine::Threads, 7));
        assert!(!options.set("colour", "red").unwrap());
        for (key, value) in
            [("alignment", "0"), ("alignment", "5GiB"), ("queue_depth", "0"), ("min_io_size", "3")]
        {
            assert!(DirectOptions::default().set(key, value).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn bad_values_are_named_with_what_would_be_valid() {
        let bad = |change: fn(&mut DirectOptions)| {
            let mut options = DirectOptions::default();
            change(&mut options);
            options.check().unwrap_err().to_string()
        };
        assert!(bad(|o| o.alignment = NonZeroU32::new(1000)).contains("power of two from 512"));
        assert!(bad(|o| o.alignment = NonZeroU32::new(256)).ends_with("is 256"));
        assert!(bad(|o| o.min_io_size = 2 << 20).contains("up to 1048576, is 2097152"));
        assert!(bad(|o| o.depth = 0).contains("from 1 to 4096"));
        assert!(bad(|o| o.threads = Some(0)).contains("from 1 to 1024, is 0"));
        assert!(DirectOptions::default().check().is_ok());
    }
}
