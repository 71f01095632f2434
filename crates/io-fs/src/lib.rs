//! Buffered POSIX files for Forebay, with page-cache policy and batched reads.
