//! A read through a network that fails is right or an error of the right kind, and tried again it is right.

use crate::server::Fast;
use forebay_io::Kind;
use forebay_io_testkit::servers::{At, Framing, HttpFault};
use forebay_io_testkit::services::under_faults;

#[tokio::test]
async fn connections_that_break_are_unavailable_and_tried_again() {
    under_faults::connections_that_break(&Fast).await;
}

#[tokio::test]
async fn bodies_that_do_not_say_how_long_they_are_never_pass_for_whole() {
    under_faults::ranges_without_a_length(&Fast).await;
    for framing in [Framing::Close, Framing::Chunked] {
        let fault = HttpFault::Truncate(At::Share(0.5), framing);
        under_faults::recovers(&Fast, fault, false, Kind::Corrupt).await;
    }
}

#[tokio::test]
async fn lengths_that_lie_are_noticed() {
    under_faults::lengths_that_lie(&Fast).await;
}

#[tokio::test]
async fn a_flipped_bit_is_noticed_where_the_service_gives_a_checksum() {
    under_faults::recovers(&Fast, HttpFault::FlipByte, false, Kind::Corrupt).await;
}

#[tokio::test]
async fn a_service_that_is_asked_too_much_or_fails_is_asked_again() {
    under_faults::too_much(&Fast).await;
    under_faults::recovers_either_way(&Fast, HttpFault::internal_error(), Kind::Unavailable).await;
}

#[tokio::test]
async fn a_service_that_stalls_runs_into_the_deadline() {
    under_faults::stalls(&Fast).await;
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_waited_for() {
    under_faults::trickles(&Fast).await;
}

#[tokio::test]
async fn an_object_that_is_replaced_between_its_parts_is_never_mixed() {
    under_faults::replaced_between_parts(&Fast).await;
}

#[tokio::test]
async fn expired_credentials_are_denied() {
    under_faults::expired(&Fast, "ExpiredToken").await;
}
