//! Samples in a reproducible order, delivered in contiguous batches inside a memory cap.
