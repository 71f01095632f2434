//! A read through a network that fails is right or an error of the right kind, and tried again it is right.

use crate::server::of_each_client;
use forebay_io::Kind;
use forebay_io_object::Verify;
use forebay_io_testkit::servers::{FastServer, HttpFault};
use forebay_io_testkit::services::under_faults::{self, Faulty};
use forebay_io_testkit::services::{Service as _, retrying};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

#[tokio::test]
async fn connections_that_break_are_unavailable_and_tried_again() {
    for client in of_each_client() {
        under_faults::connections_that_break(&client).await;
    }
}

#[tokio::test]
async fn bodies_that_do_not_say_how_long_they_are_never_pass_for_whole_ranges() {
    for client in of_each_client() {
        under_faults::ranges_without_a_length(&client).await;
    }
}

#[tokio::test]
async fn lengths_that_lie_are_noticed() {
    for client in of_each_client() {
        under_faults::lengths_that_lie(&client).await;
    }
}

#[tokio::test]
async fn a_service_that_is_asked_too_much_or_fails_is_asked_again() {
    for client in of_each_client() {
        under_faults::too_much(&client).await;
        // What the service says with 500 is `OperationTimedOut`, unless it says what is here below.
        under_faults::recovers_either_way(&client, HttpFault::internal_error(), Kind::TimedOut).await;
        let internal = HttpFault::Status { status: 500, code: Some("InternalError"), retry_after: None };
        under_faults::recovers_either_way(&client, internal, Kind::Unavailable).await;
    }
}

#[tokio::test]
async fn a_service_that_stalls_runs_into_the_deadline() {
    for client in of_each_client() {
        under_faults::stalls(&client).await;
    }
}

#[tokio::test]
async fn a_body_that_comes_slowly_is_waited_for() {
    for client in of_each_client() {
        under_faults::trickles(&client).await;
    }
}

#[tokio::test]
async fn an_object_that_is_replaced_between_its_parts_is_never_mixed() {
    for client in of_each_client() {
        under_faults::replaced_between_parts(&client).await;
    }
}

#[tokio::test]
async fn expired_credentials_are_denied() {
    for client in of_each_client() {
        under_faults::expired(&client, "AuthenticationFailed").await;
    }
}

/// The service keeps the MD5 that a blob was put with, and gives it back with the whole blob.
#[tokio::test]
async fn a_flipped_bit_is_noticed_where_the_service_gives_a_checksum() {
    const FOX: &[u8] = b"The quick brown fox jumps over the lazy dog";
    const MD5_OF_FOX: &str = "nhB9nTcrtoJr2B01QqQZ1g==";
    for mut client in of_each_client() {
        client.http.verify = Verify::All;
        let setup = Faulty::new(&client, &HttpFault::FlipByte, false);
        let client = client.name();
        put_with_md5(&setup.server, FOX, MD5_OF_FOX);
        let error = setup.read(&*setup.store).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{client}: {error}");
        assert_eq!(setup.proxy.given_of(&HttpFault::FlipByte), 1, "{client}");
        assert!(
            setup.read(&retrying(setup.store.clone())).await.unwrap() == FOX,
            "{client}: the next one is right"
        );
    }
}

/// Puts the object past the store, which sends no MD5.
fn put_with_md5(server: &FastServer, content: &[u8], md5: &str) {
    let mut stream = TcpStream::connect(server.azure_address()).unwrap();
    let (account, container, len) = (FastServer::ACCOUNT, server.bucket(), content.len());
    let head = format!(
        "PUT /{account}/{container}/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len}\r\n\
         x-ms-blob-type: BlockBlob\r\nx-ms-blob-content-md5: {md5}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), content].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}
