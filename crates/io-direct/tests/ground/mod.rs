//! Files of random sizes, read at random offsets and lengths by every engine, on a disk and in memory, and what must
//! come of it: no wrong byte.

use forebay_io::{
    Block, Budget, GetRequest, Location, Place, Pool, ReadOptions, Reservation, Room, Store, Want,
};
use forebay_io_direct::{DirectOptions, DirectStore, Engine};
use futures::executor::block_on;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::Path;

/// Where blocks, pages and requests begin and end, and what lies around it.
fn size(random: &mut ChaCha8Rng) -> u64 {
    let edge = [0u64, 1, 512, 4096, 8192, 65_536, 131_072, 1 << 20][random.random_range(0..8)];
    match random.random_range(0..3) {
        0 => edge + random.random_range(0..3),
        1 => edge.saturating_sub(random.random_range(0..3)),
        _ => random.random_range(0..200_000),
    }
}

fn span(random: &mut ChaCha8Rng, size: u64) -> Range<u64> {
    let near = |random: &mut ChaCha8Rng| match random.random_range(0..3) {
        0 => random.random_range(0..=size),
        1 => random.random_range(0..=size) / 512 * 512,
        _ => size.saturating_sub(random.random_range(0..600)),
    };
    let (a, b) = (near(random), near(random));
    a.min(b)..a.max(b)
}

/// A store under test, and files of which every byte is known.
struct Ground {
    store: DirectStore,
    pool: Pool,
    random: ChaCha8Rng,
    at: Vec<Location>,
    content: Vec<Vec<u8>>,
    _dir: tempfile::TempDir,
}

impl Ground {
    fn new(parent: &Path, options: DirectOptions, seed: u64) -> Ground {
        let dir = tempfile::tempdir_in(parent).expect("a temporary directory");
        let mut ground = Ground {
            store: DirectStore::new(options).expect("a store"),
            pool: Pool::new(Budget::new(64 << 20).expect("a budget")),
            random: ChaCha8Rng::seed_from_u64(seed),
            at: Vec::new(),
            content: Vec::new(),
            _dir: dir,
        };
        for i in 0..40 {
            let path = ground._dir.path().join(i.to_string());
            let at: Location = format!("direct://{}", path.display()).parse().expect("a location");
            let mut content = vec![0; size(&mut ground.random) as usize];
            ground.random.fill_bytes(&mut content);
            // Half of them by the store itself, which cuts the last block to its length.
            if i % 2 == 0 {
                let put = ground.store.put(&at, content.clone().into(), Default::default());
                assert_eq!(block_on(put).expect("a put").size, content.len() as u64);
                assert!(std::fs::read(&path).expect("what was put") == content);
            } else {
                std::fs::write(&path, &content).expect("a write");
            }
            ground.at.push(at);
            ground.content.push(content);
        }
        ground
    }

    /// Files and ranges read together. Answers how many.
    fn batch(&mut self, options: ReadOptions) -> usize {
        let mut wanted = Vec::new();
        let mut requests = Vec::new();
        for slot in 0..self.random.random_range(1..50) {
            let file = self.random.random_range(0..self.at.len());
            let size = self.content[file].len() as u64;
            let whole = self.random.random_range(0..3) == 0;
            let range = (!whole).then(|| span(&mut self.random, size));
            wanted.push((file, range.clone().unwrap_or(0..size)));
            requests.push(GetRequest { range, ..GetRequest::whole(self.at[file].clone(), slot) });
        }
        let lease = self.pool.lease(self.pool.budget().ticket(), wanted.len() as u32);
        let results = block_on(self.store.get_many(requests.into(), options, lease.clone()));
        for (result, (_, span)) in results.iter().zip(&wanted) {
            assert_eq!(result.as_ref().expect("a read").bytes, span.end - span.start);
        }
        self.check(&lease.finish().expect("all are back"), &wanted);
        wanted.len()
    }

    /// Every byte of a block: those of the samples, and nothing but zeros between them.
    fn check(&self, block: &Block, wanted: &[(usize, Range<u64>)]) {
        let mut expected = vec![0; block.as_slice().len()];
        for (slot, (file, span)) in wanted.iter().enumerate() {
            let place = block.span(slot).expect("it was read");
            expected[place].copy_from_slice(&self.content[*file][span.start as usize..span.end as usize]);
        }
        assert!(block.as_slice() == expected, "{wanted:?}");
    }

    /// Ranges of one opened file, into buffers that lie anyhow.
    fn object(&mut self, options: ReadOptions) -> usize {
        let random = &mut self.random;
        let file = random.random_range(0..self.at.len());
        let content = &self.content[file];
        let object = block_on(self.store.open(&self.at[file], options)).expect("a file");
        let count = random.random_range(1..30u32);
        let lease = self.pool.lease(self.pool.budget().ticket(), count);
        let spans: Vec<_> = (0..count).map(|_| span(random, content.len() as u64)).collect();
        let wants: Vec<_> = (0..count)
            .zip(&spans)
            .map(|(slot, span)| {
                // As a caller that knows nothing of blocks asks, and as one that does.
                let align = [0, 512, 4096][random.random_range(0..3)];
                let before = 64 * random.random_range(0..10);
                let room = Room { align, before, after: random.random_range(0..600) };
                Want { room, ..Want::new(slot, span.end - span.start) }
            })
            .collect();
        let Reservation::Granted(bufs) = lease.try_reserve(&wants) else { panic!("the pool is large") };
        let ranges = spans.iter().map(|span| span.start).zip(bufs).collect();
        for ((buf, served), span) in block_on(object.read_many(ranges)).into_iter().zip(&spans) {
            served.expect("a read");
            assert!(*buf == content[span.start as usize..span.end as usize], "{span:?} of {}", content.len());
        }
        count as usize
    }

    fn alone(&mut self, options: ReadOptions) -> usize {
        let file = self.random.random_range(0..self.at.len());
        let content = &self.content[file];
        let wanted = span(&mut self.random, content.len() as u64);
        let range = Some(wanted.clone());
        let block = block_on(forebay_io::read(&self.store, &self.at[file], range, options, &self.pool));
        let expected = &content[wanted.start as usize..wanted.end as usize];
        assert!(block.expect("a read").slot(0) == Some(expected), "{wanted:?} of {}", content.len());
        1
    }
}

/// Reads `count` ranges and compares each with what is in the file.
pub(crate) fn fuzz(parent: &Path, options: DirectOptions, seed: u64, count: usize) {
    let mut ground = Ground::new(parent, options, seed);
    let mut read = 0;
    while read < count {
        let target = NonZeroU64::new(ground.random.random_range(1..100_000));
        let target_request_bytes = target.filter(|bytes| bytes.get() % 2 == 0);
        let options = ReadOptions { target_request_bytes, ..ReadOptions::default() };
        read += match ground.random.random_range(0..3) {
            0 => ground.batch(options),
            1 => ground.object(options),
            _ => ground.alone(options),
        };
    }
    assert_eq!(ground.pool.budget().used(), 0);
}

/// Where cargo builds: more likely on a disk than the directory for temporary files.
pub(crate) fn disk() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

pub(crate) fn memory() -> &'static Path {
    Path::new("/dev/shm")
}

pub(crate) fn with(engine: Engine) -> DirectOptions {
    DirectOptions { engine, ..DirectOptions::default() }
}
