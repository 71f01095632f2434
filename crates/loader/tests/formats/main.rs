//! Samples inside objects: that they are found, numbered and read exactly, and that what is wrong is named.

mod fixture;
mod records;
