//! The servers answer as the services that they stand for.

use forebay_io_testkit::data::Tree;
use forebay_io_testkit::servers::{Ask, Azurite, S3Server};

#[test]
fn the_s3_server_wants_a_signature() {
    let server = S3Server::start().unwrap();
    let answer = Ask::new("GET", "/forebay-test/nothing").send(server.address()).unwrap();
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(server.connections(), 1);
}

#[test]
fn the_public_s3_server_serves_what_was_seeded() {
    let server = S3Server::start_public().unwrap();
    let tree = Tree::new(1, 5, 0..=5000);
    let bucket = server.new_bucket().unwrap();
    server.seed(&bucket, "some/prefix", &tree).unwrap();
    for (key, content) in tree.iter() {
        let target = format!("/{bucket}/some/prefix/{}", std::str::from_utf8(key).unwrap());
        let answer = Ask::new("GET", &target).send(server.address()).unwrap();
        assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
        assert_eq!(answer.body, content[..]);
    }
    let list =
        Ask::new("GET", &format!("/{bucket}?list-type=2&prefix=some/")).send(server.address()).unwrap();
    assert!(list.text().contains("<KeyCount>5</KeyCount>"), "{}", list.text());
}

#[test]
fn a_dropped_s3_server_is_gone() {
    let server = S3Server::start().unwrap();
    let (address, files) = (server.address(), server.files(server.bucket()));
    drop(server);
    assert!(!files.exists());
    let error = Ask::new("GET", "/").send(address).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn azurite_serves_what_was_seeded_and_checks_signatures() {
    let azurite = Azurite::shared().unwrap();
    let container = azurite.new_container().unwrap();
    let tree = Tree::new(2, 5, 0..=5000);
    azurite.seed(&container, "a prefix/", &tree).unwrap();
    for (key, content) in tree.iter() {
        let key = std::str::from_utf8(key).unwrap();
        let target = format!("/{}/{container}/a%20prefix/{key}", Azurite::ACCOUNT);
        let answer = azurite.ask(Ask::new("GET", &target)).unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &content[..]), "{}", answer.text());
        let ask =
            Ask::new("GET", &format!("{target}?{}", azurite.sas())).header("x-ms-version", "2021-12-02");
        let by_sas = ask.send(azurite.address()).unwrap();
        assert_eq!((by_sas.status, &by_sas.body[..]), (200, &content[..]), "{}", by_sas.text());
        let unsigned = Ask::new("GET", &target).send(azurite.address()).unwrap();
        assert_eq!(unsigned.status, 403);
    }
}

#[test]
fn a_dropped_azurite_is_gone() {
    let azurite = Azurite::start().unwrap();
    let address = azurite.address();
    drop(azurite);
    let error = Ask::new("GET", "/").send(address).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}
