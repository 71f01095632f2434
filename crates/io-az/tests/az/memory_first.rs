//! Memory is asked for before a request is made, where it is known how much: counted at the server.

use crate::server::of_each_client;
use forebay_io_testkit::services::memory_first;

#[tokio::test]
async fn with_known_sizes_there_are_as_many_requests_as_objects() {
    for client in of_each_client() {
        memory_first::one_request_an_object_of_known_size(&client).await;
    }
}

#[tokio::test]
async fn with_ranges_there_are_as_many_requests_as_ranges() {
    for client in of_each_client() {
        memory_first::one_request_a_range(&client).await;
    }
}

#[tokio::test]
async fn with_unknown_or_wrong_sizes_every_object_is_read_all_the_same() {
    for client in of_each_client() {
        memory_first::sizes_that_are_unknown_or_wrong(&client).await;
    }
}

#[tokio::test]
async fn a_listing_gives_sizes_with_the_names_unasked() {
    for client in of_each_client() {
        memory_first::listings_give_sizes(&client).await;
    }
}
