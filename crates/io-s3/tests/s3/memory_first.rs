//! Memory is asked for before a request is made, where it is known how much: counted at the server.

use crate::server::Fast;
use forebay_io_testkit::services::memory_first;

#[tokio::test]
async fn with_known_sizes_there_are_as_many_requests_as_objects() {
    memory_first::one_request_an_object_of_known_size(&Fast).await;
}

#[tokio::test]
async fn with_ranges_there_are_as_many_requests_as_ranges() {
    memory_first::one_request_a_range(&Fast).await;
}

#[tokio::test]
async fn with_unknown_or_wrong_sizes_every_object_is_read_all_the_same() {
    memory_first::sizes_that_are_unknown_or_wrong(&Fast).await;
}

#[tokio::test]
async fn a_listing_gives_sizes_with_the_names_unasked() {
    memory_first::listings_give_sizes(&Fast).await;
}
