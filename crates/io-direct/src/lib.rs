//! O_DIRECT files on io_uring, with a pread pool where the ring is refused.
