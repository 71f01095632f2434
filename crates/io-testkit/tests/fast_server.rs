//! The server in memory answers as S3 and as Azure Blob do, where it answers at all.

use forebay_io_testkit::data::{self, Tree};
use forebay_io_testkit::servers::{Answer, Ask, FastServer};
use std::io::BufReader;
use std::net::TcpStream;

fn s3(server: &FastServer, ask: &Ask) -> Answer {
    ask.send(server.s3_address()).unwrap()
}

fn azure(server: &FastServer, ask: &Ask) -> Answer {
    ask.send(server.azure_address()).unwrap()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

#[test]
fn both_dialects_serve_the_same_objects() {
    let server = FastServer::start(1).unwrap();
    let tree = Tree::new(3, 6, 0..=3000);
    server.seed(server.bucket(), "x/", &tree).unwrap();
    for (key, content) in tree.iter() {
        let path = format!("/forebay-test/x/{}", std::str::from_utf8(key).unwrap());
        let by_s3 = s3(&server, &Ask::new("GET", &path));
        let by_azure = azure(&server, &Ask::new("GET", &format!("/{}{path}", FastServer::ACCOUNT)));
        for answer in [&by_s3, &by_azure] {
            assert_eq!((answer.status, answer.whole, &answer.body[..]), (200, true, &content[..]));
            assert_eq!(answer.header("content-length"), Some(&*content.len().to_string()));
        }
        assert_eq!(by_s3.header("etag"), by_azure.header("etag"));
    }
    assert_eq!(server.requests(), 12);
}

#[test]
fn ranges_heads_and_versions() {
    let server = FastServer::start(1).unwrap();
    server.put("b", "k", data::bytes(1, 1000));
    for (address, path, missing) in
        [(server.s3_address(), "/b/k", "/b/none"), (server.azure_address(), "/a/b/k", "/a/b/none")]
    {
        let send = |ask: Ask| ask.send(address).unwrap();
        let part = send(Ask::new("GET", path).header("range", "bytes=10-19"));
        assert_eq!((part.status, &part.body[..]), (206, &data::bytes(1, 1000)[10..20]));
        assert_eq!(part.header("content-range"), Some("bytes 10-19/1000"));
        let behind = send(Ask::new("GET", path).header("range", "bytes=1000-"));
        assert_eq!((behind.status, behind.header("content-range")), (416, Some("bytes */1000")));
        let head = send(Ask::new("HEAD", path));
        assert_eq!((head.status, head.header("content-length")), (200, Some("1000")));
        let etag = head.header("etag").unwrap().to_owned();
        assert_eq!(send(Ask::new("GET", path).header("if-match", &etag)).status, 200);
        assert_eq!(send(Ask::new("GET", path).header("if-none-match", &etag)).status, 304);
        server.put("b", "k", data::bytes(1, 1000));
        assert_eq!(send(Ask::new("GET", path).header("if-match", &etag)).status, 412);
        assert_eq!(send(Ask::new("GET", missing)).status, 404);
    }
}

#[test]
fn s3_lists_in_pages_with_prefixes_folded() {
    let server = FastServer::start(1).unwrap();
    for key in ["a&b", "d/1", "d/2", "e", "é/x"] {
        server.put("b", key, "1");
    }
    let mut found = Vec::new();
    let mut next = String::new();
    for _ in 0..4 {
        let target = format!("/b?list-type=2&delimiter=%2F&max-keys=1{next}");
        let page = s3(&server, &Ask::new("GET", &target)).text();
        found.extend(between(&page, "<Key>", "</Key>").into_iter().map(str::to_owned));
        found.extend(between(&page, "<CommonPrefixes><Prefix>", "<").into_iter().map(str::to_owned));
        let token = between(&page, "<NextContinuationToken>", "<");
        assert_eq!(page.contains("<IsTruncated>true<"), token.len() == 1);
        next = token.first().map(|token| format!("&continuation-token={token}")).unwrap_or_default();
    }
    assert_eq!((found, next), (["a&amp;b", "d/", "e", "é/"].map(str::to_owned).to_vec(), String::new()));
    let encoded = s3(&server, &Ask::new("GET", "/b?list-type=2&encoding-type=url&prefix=%C3%A9"));
    assert!(encoded.text().contains("<Key>%C3%A9/x</Key>"), "{}", encoded.text());
}

#[test]
fn azure_lists_in_pages() {
    let server = FastServer::start(1).unwrap();
    server.fill("c", "k/", 12, 10);
    let mut found = Vec::new();
    let mut next = String::new();
    for _ in 0..3 {
        let target = format!("/a/c?restype=container&comp=list&prefix=k%2F&maxresults=5&marker={next}");
        let page = azure(&server, &Ask::new("GET", &target)).text();
        found.extend(between(&page, "<Name>", "</Name>").into_iter().map(str::to_owned));
        next = between(&page, "<NextMarker>", "<")[0].to_owned();
    }
    assert_eq!(found, (0..12).map(|i| format!("k/{i:08}")).collect::<Vec<_>>());
    assert_eq!(next, "");
}

#[test]
fn a_put_obeys_its_conditions_and_gives_its_metadata_back() {
    let server = FastServer::start(1).unwrap();
    let put = Ask::new("PUT", "/forebay-test/k").header("if-none-match", "*").header("x-amz-meta-a", "1");
    assert_eq!(s3(&server, &put.clone().body("one")).status, 200);
    assert_eq!(s3(&server, &put.body("two")).status, 412);
    let got = s3(&server, &Ask::new("GET", "/forebay-test/k"));
    assert_eq!((got.text().as_str(), got.header("x-amz-meta-a")), ("one", Some("1")));
    let put = Ask::new("PUT", "/a/forebay-test/k").header("x-ms-blob-type", "BlockBlob");
    assert_eq!(azure(&server, &put.clone().header("if-none-match", "*").body("two")).status, 409);
    assert_eq!(azure(&server, &put.body("two")).status, 201);
    assert_eq!(&server.content("forebay-test", "k").unwrap()[..], b"two");
}

#[test]
fn a_checksum_is_checked_kept_and_told_to_who_asks() {
    let server = FastServer::start(1).unwrap();
    // CRC32C of "123456789" is 0xE3069283, a published check value.
    let put = Ask::new("PUT", "/forebay-test/k").body("123456789");
    assert_eq!(s3(&server, &put.clone().header("x-amz-checksum-crc32c", "AAAAAA==")).status, 400);
    assert_eq!(s3(&server, &put.header("x-amz-checksum-crc32c", "4waSgw==")).status, 200);
    let ask = Ask::new("GET", "/forebay-test/k");
    assert_eq!(s3(&server, &ask).header("x-amz-checksum-crc32c"), None);
    let ask = ask.header("x-amz-checksum-mode", "ENABLED");
    assert_eq!(s3(&server, &ask).header("x-amz-checksum-crc32c"), Some("4waSgw=="));
    let part = s3(&server, &ask.clone().header("range", "bytes=0-1"));
    assert_eq!(part.header("x-amz-checksum-crc32c"), None);
    server.put("forebay-test", "k", "123456789");
    assert_eq!(s3(&server, &ask).header("x-amz-checksum-crc32c"), Some("4waSgw=="), "seeded ones too");
}

#[test]
fn s3_parts_become_one_object_or_nothing() {
    let server = FastServer::start(1).unwrap();
    let begin = |key: &str| {
        let begun = s3(&server, &Ask::new("POST", &format!("/forebay-test/{key}?uploads")));
        between(&begun.text(), "<UploadId>", "<")[0].to_owned()
    };
    let id = begin("big");
    let (one, two) = (data::bytes(1, 5 << 20), data::bytes(2, 100));
    let etags: Vec<_> = [(2, &two), (1, &one)]
        .map(|(number, content)| {
            let target = format!("/forebay-test/big?partNumber={number}&uploadId={id}");
            let put = s3(&server, &Ask::new("PUT", &target).body(content.clone()));
            assert_eq!(put.status, 200);
            (number, put.header("etag").unwrap().to_owned())
        })
        .into();
    assert_eq!(server.open_uploads(), 1);
    let list = |etags: &[(i32, String)]| {
        let parts =
            etags.iter().map(|(n, e)| format!("<Part><ETag>{e}</ETag><PartNumber>{n}</PartNumber></Part>"));
        format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<String>())
    };
    let complete = Ask::new("POST", &format!("/forebay-test/big?uploadId={id}"));
    assert_eq!(s3(&server, &complete.clone().body(list(&etags))).status, 400, "parts out of order");
    let mut ordered = etags;
    ordered.reverse();
    assert_eq!(s3(&server, &complete.clone().body(list(&ordered))).status, 200);
    assert_eq!(&server.content("forebay-test", "big").unwrap()[..], [one, two].concat());
    assert_eq!(s3(&server, &complete.body(list(&ordered))).status, 404, "it is over");

    let given_up = begin("none");
    assert_eq!(
        s3(&server, &Ask::new("DELETE", &format!("/forebay-test/none?uploadId={given_up}"))).status,
        204
    );
    assert_eq!((server.open_uploads(), server.content("forebay-test", "none")), (0, None));
}

#[test]
fn azure_blocks_become_one_blob_in_the_order_of_the_list() {
    let server = FastServer::start(1).unwrap();
    for (id, content) in [("YQ==", "first "), ("Yg==", "second")] {
        let target = format!("/a/forebay-test/k?comp=block&blockid={}", id.replace('=', "%3D"));
        assert_eq!(azure(&server, &Ask::new("PUT", &target).body(content)).status, 201);
    }
    let put = Ask::new("PUT", "/a/forebay-test/k?comp=blocklist");
    let list = |ids: &[&str]| {
        let ids: String = ids.iter().map(|id| format!("<Uncommitted>{id}</Uncommitted>")).collect();
        format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{ids}</BlockList>")
    };
    assert_eq!(azure(&server, &put.clone().body(list(&["Yw=="]))).status, 400, "no such block");
    assert_eq!(azure(&server, &put.body(list(&["YQ==", "Yg=="]))).status, 201);
    assert_eq!(&server.content("forebay-test", "k").unwrap()[..], b"first second");
    assert_eq!(server.open_uploads(), 0);
}

#[test]
fn deletes_alone_and_in_batches() {
    let server = FastServer::start(1).unwrap();
    server.fill("b", "k", 6, 1);
    let left = || s3(&server, &Ask::new("GET", "/b?list-type=2")).text().matches("<Key>").count();
    assert_eq!(s3(&server, &Ask::new("DELETE", "/b/k00000000")).status, 204);
    let keys = "<Delete><Object><Key>k00000001</Key></Object><Object><Key>none&amp;</Key></Object></Delete>";
    let deleted = s3(&server, &Ask::new("POST", "/b?delete").body(keys)).text();
    assert_eq!(between(&deleted, "<Key>", "<"), ["k00000001", "none&amp;"]);
    assert_eq!(azure(&server, &Ask::new("DELETE", "/a/b/k00000002")).status, 202);
    assert_eq!(azure(&server, &Ask::new("DELETE", "/a/b/k00000002")).status, 404);
    let part = |id: u32, path: &str| {
        format!(
            "--x\r\nContent-Type: application/http\r\nContent-ID: {id}\r\n\r\nDELETE {path} HTTP/1.1\r\n\r\n\r\n"
        )
    };
    let batch = format!("{}{}--x--\r\n", part(0, "/a/b/k00000003"), part(1, "/b/none"));
    let ask =
        Ask::new("POST", "/a?comp=batch").header("content-type", "multipart/mixed; boundary=x").body(batch);
    let answer = azure(&server, &ask);
    assert_eq!(answer.status, 202);
    let text = answer.text();
    assert_eq!(between(&text, "HTTP/1.1 ", " "), ["202", "404"], "{text}");
    assert_eq!(between(&text, "Content-ID: ", "\r"), ["0", "1"]);
    assert_eq!(left(), 2);
}

#[test]
fn one_connection_serves_many_requests() {
    let server = FastServer::start(1).unwrap();
    server.put("b", "k", data::bytes(1, 100_000));
    let mut stream = BufReader::new(TcpStream::connect(server.s3_address()).unwrap());
    for _ in 0..50 {
        let answer = Ask::new("GET", "/b/k").send_along(&mut stream).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 100_000));
    }
    assert_eq!((server.connections(), server.requests()), (1, 50));
}

#[test]
fn what_it_cannot_do_it_refuses() {
    let server = FastServer::start(2).unwrap();
    assert_eq!(s3(&server, &Ask::new("GET", "/")).status, 501);
    assert_eq!(s3(&server, &Ask::new("GET", "/forebay-test?versions")).status, 501);
    assert_eq!(azure(&server, &Ask::new("PUT", "/a/forebay-test/k?comp=appendblock").body("x")).status, 400);
    assert_eq!(s3(&server, &Ask::new("GET", "/none/k")).status, 404);
}
