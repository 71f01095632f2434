//! Samples inside objects: that they are found, numbered and read exactly, and that what is wrong is named.

mod any_bytes;
mod arrays;
mod damage;
mod fingerprints;
mod fixture;
mod index;
mod lines;
mod manifests;
mod records;
mod row_groups;
mod tfrecords;
mod webdatasets;
