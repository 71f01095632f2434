//! Where the bytes of a replay go: buffers that are thrown away and used again. Each operation has a pool
//! of its own, so that none waits for another one's size, which would change the times that are measured.

use crate::error::Result;
use forebay_io::{Budget, Pool};

pub(super) struct Memory {
    cap: u64,
    free: Vec<Pool>,
    /// Bytes that free pools keep committed.
    kept: u64,
}

impl Memory {
    /// Memory of which at most `cap` bytes are kept between operations.
    pub(super) fn new(cap: u64) -> Memory {
        Memory { cap, free: Vec::new(), kept: 0 }
    }

    pub(super) fn take(&mut self) -> Result<Pool> {
        match self.free.pop() {
            Some(pool) => {
                self.kept -= pool.committed();
                Ok(pool)
            }
            None => Ok(Pool::new(Budget::new(self.cap)?)),
        }
    }

    pub(super) fn give_back(&mut self, pool: Pool) {
        let bytes = pool.committed();
        if self.kept + bytes <= self.cap {
            self.kept += bytes;
            self.free.push(pool);
        }
    }
}
