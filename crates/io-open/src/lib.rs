//! Turns a URI and options into a stack of Forebay stores.
