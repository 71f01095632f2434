//! Conformance suite, reference model and seeded fault store for Forebay stores.
