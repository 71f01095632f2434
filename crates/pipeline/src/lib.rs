//! Stages joined by bounded queues, with statistics that name the bottleneck.
