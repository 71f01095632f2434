//! Uploads in parts, keys that are odd, and many deletes at once.

use crate::server::{fast_options, options, store};
use bytes::Bytes;
use forebay_io::{
    Body, Budget, Kind, ListOptions, Location, Pool, PutMode, PutOptions, ReadOptions, Store, read,
};
use forebay_io_s3::{ClientKind, S3Options};
use forebay_io_testkit::data;
use forebay_io_testkit::servers::{FastServer, FaultPlan, FaultProxy, HttpFault, Rule, S3Server};
use futures::{StreamExt, TryStreamExt, stream};
use std::io::{BufRead, Read, Write};
use std::num::NonZeroU64;
use std::time::Duration;

const PART: u64 = 5 << 20;

fn in_parts(mut options: S3Options) -> S3Options {
    options.http.upload_part_bytes = NonZeroU64::new(PART).unwrap();
    options
}

fn body(content: &Bytes) -> Body {
    let chunks: Vec<_> = content.chunks(700_001).map(|chunk| Ok(content.slice_ref(chunk))).collect();
    Body::stream(stream::iter(chunks).boxed(), None)
}

async fn get(store: &dyn Store, location: &Location) -> Vec<u8> {
    let pool = Pool::new(Budget::new(128 << 20).unwrap());
    let block = read(store, location, None, ReadOptions::default(), &pool).await.unwrap();
    block.slot(0).unwrap().to_vec()
}

/// On a server that checks signatures and parts.
#[tokio::test]
async fn a_large_object_is_written_in_parts_and_read_in_parts() {
    let server = S3Server::start().unwrap();
    let store = store(server.bucket(), &in_parts(options(&server, ClientKind::Forebay)));
    let location: Location = format!("s3://{}/large object", server.bucket()).parse().unwrap();
    let content = Bytes::from(data::bytes(1, 3 * PART as usize + 12_345));
    let meta = store.put(&location, body(&content), PutOptions::default()).await.unwrap();
    assert_eq!(meta.size, content.len() as u64);
    assert!(get(&store, &location).await == content);
    let again =
        store.put(&location, body(&content), PutOptions { mode: PutMode::Create, durable: false }).await;
    if let Err(error) = again {
        assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    }
}

#[tokio::test]
async fn an_upload_that_fails_or_is_dropped_is_taken_back() {
    let server = FastServer::start(1).unwrap();
    let plan = FaultPlan::of([Rule::nth(2, HttpFault::internal_error()).method("PUT")]);
    let proxy = FaultProxy::start(server.s3_address(), plan, 1).unwrap();
    let mut options = in_parts(fast_options(&server));
    options.endpoint = Some(proxy.in_front_of(&server.s3_endpoint()));
    let store = store(server.bucket(), &options);
    let location: Location = format!("s3://{}/large", server.bucket()).parse().unwrap();
    let content = Bytes::from(data::bytes(1, 4 * PART as usize));
    let error = store.put(&location, body(&content), PutOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    nothing_left(&server, &location).await;

    proxy.set_plan(FaultPlan::none()).unwrap();
    let endless = stream::iter((0..20).map(|_| Ok(Bytes::from(vec![1; 1 << 20]))));
    let endless = Body::stream(endless.chain(stream::pending()).boxed(), None);
    let put = store.put(&location, endless, PutOptions::default());
    assert!(tokio::time::timeout(Duration::from_millis(500), put).await.is_err());
    nothing_left(&server, &location).await;
    store.put(&location, body(&content), PutOptions::default()).await.unwrap();
    assert!(get(&store, &location).await == content);
    assert_eq!(server.open_uploads(), 0);
}

async fn nothing_left(server: &FastServer, location: &Location) {
    for _ in 0..2000 {
        if server.open_uploads() == 0 {
            let key = std::str::from_utf8(location.path_bytes()).unwrap();
            assert!(server.content(server.bucket(), key).is_none());
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} uploads are left", server.open_uploads());
}

#[tokio::test]
async fn keys_with_empty_parts_are_kept_as_they_are() {
    let server = FastServer::start(1).unwrap();
    let store = store(server.bucket(), &fast_options(&server));
    let root: Location = format!("s3://{}", server.bucket()).parse().unwrap();
    for key in ["a//b", "a/", "/lead", "a/./b", "a/../b", "a/b"] {
        let location = root.join(key.as_bytes());
        store.put(&location, key.as_bytes().into(), PutOptions::default()).await.unwrap();
        assert_eq!(get(&store, &location).await, key.as_bytes());
    }
    let pages: Vec<_> = store.list(&root, ListOptions::recursive()).try_collect().await.unwrap();
    let mut keys: Vec<String> = pages
        .iter()
        .flat_map(|page| {
            page.iter().map(|entry| String::from_utf8(entry.key.to_vec()).unwrap()).collect::<Vec<_>>()
        })
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, ["/lead", "a/", "a/../b", "a/./b", "a//b", "a/b"]);
    // What makes a prefix look like a folder is not listed beneath it.
    let beneath: Vec<_> = store.list(&root.join(b"a"), ListOptions::recursive()).try_collect().await.unwrap();
    assert_eq!(beneath.iter().map(|page| page.len()).sum::<usize>(), 4);
}

#[tokio::test]
async fn many_are_deleted_at_once_and_each_is_answered() {
    for (server, fast) in
        [(Some(S3Server::start().unwrap()), None), (None, Some(FastServer::start(1).unwrap()))]
    {
        let (bucket, options) = match (&server, &fast) {
            (Some(server), _) => (server.bucket(), options(server, ClientKind::Forebay)),
            (_, Some(fast)) => (fast.bucket(), fast_options(fast)),
            _ => unreachable!(),
        };
        let store = store(bucket, &options);
        let root: Location = format!("s3://{bucket}/many").parse().unwrap();
        let locations: Vec<_> = (0..2100).map(|i| root.join(format!("o&{i}").as_bytes())).collect();
        for location in locations.iter().step_by(100) {
            store.put(location, b"x".as_slice().into(), PutOptions::default()).await.unwrap();
        }
        let answers = store.delete_many(&locations).await;
        assert_eq!(answers.len(), 2100);
        answers.into_iter().for_each(|answer| answer.unwrap());
        let left: Vec<_> = store.list(&root, ListOptions::recursive()).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
        let foreign: Location = "s3://other/x".parse().unwrap();
        let answer = store.delete_many(&[foreign]).await.remove(0).unwrap_err();
        assert_eq!(answer.kind(), Kind::InvalidConfig, "{answer}");
    }
}

/// A service that does half of what it is asked to do says which half, and why not the other.
#[tokio::test]
async fn half_of_the_keys_refused_is_half_of_the_answers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = std::thread::spawn(move || {
        let mut stream = std::io::BufReader::new(listener.accept().unwrap().0);
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
            let field = line.to_ascii_lowercase();
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut document = vec![0; length];
        stream.read_exact(&mut document).unwrap();
        let document = String::from_utf8(document).unwrap();
        assert_eq!(document.matches("<Key>").count(), 10, "{document}");
        let refused = |i: usize| {
            let code = if i.is_multiple_of(4) { "AccessDenied" } else { "SlowDown" };
            format!("<Error><Key>half/{i}</Key><Code>{code}</Code><Message>no</Message></Error>")
        };
        let errors: String = (0..10).step_by(2).map(refused).collect();
        let answer = format!("<DeleteResult>{errors}</DeleteResult>");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
        stream.get_mut().write_all((head + &answer).as_bytes()).unwrap();
    });
    let keys = S3Options {
        endpoint: Some(endpoint),
        access_key_id: Some("anyone".into()),
        secret_access_key: Some("anything".into()),
        ..S3Options::default()
    };
    let locations: Vec<Location> = (0..10).map(|i| format!("s3://b/half/{i}").parse().unwrap()).collect();
    for (i, answer) in store("b", &keys).delete_many(&locations).await.into_iter().enumerate() {
        match i % 4 {
            0 => assert_eq!(answer.unwrap_err().kind(), Kind::Denied),
            2 => assert_eq!(answer.unwrap_err().kind(), Kind::Throttled),
            _ => answer.unwrap(),
        }
    }
    service.join().unwrap();
}

/// What a client cannot keep it says, and stores nothing under another name.
#[cfg(feature = "object-store")]
#[tokio::test]
async fn keys_that_a_client_cannot_keep_are_refused_by_name() {
    let server = FastServer::start(1).unwrap();
    let store =
        store(server.bucket(), &S3Options { client: ClientKind::ObjectStore, ..fast_options(&server) });
    let root: Location = format!("s3://{}", server.bucket()).parse().unwrap();
    for key in ["a//b", "a/", "/lead", "a/./b", "a/../b", "new\nline"] {
        let location = root.join(key.as_bytes());
        let error = store.put(&location, b"x".as_slice().into(), PutOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidConfig, "{error}");
        assert!(
            error.to_string().contains(&format!("{key:?}")) && error.to_string().contains("client=forebay")
        );
    }
    let pages: Vec<_> = store.list(&root, ListOptions::recursive()).try_collect().await.unwrap();
    assert!(pages.is_empty());
}
