//! The proxy passes on what it is not told to spoil, and spoils exactly what it is told to, counted.

use forebay_io_testkit::data;
use forebay_io_testkit::servers::{
    Answer, Ask, At, Azurite, BlackHole, FastServer, FaultPlan, FaultProxy, Framing, HttpFault, RefusedPort,
    Rule, S3Server,
};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LEN: usize = 300_000;
/// Longer than any test may take: whoever waits for it has failed.
const FOREVER: Duration = Duration::from_secs(3600);

fn content() -> Vec<u8> {
    data::bytes(9, LEN)
}

fn proxied(plan: FaultPlan) -> (FastServer, FaultProxy) {
    let server = FastServer::start(1).unwrap();
    server.put("b", "k", content());
    let proxy = FaultProxy::start(server.s3_address(), plan, 1).unwrap();
    (server, proxy)
}

fn get(proxy: &FaultProxy) -> io::Result<Answer> {
    Ask::new("GET", "/b/k").send(proxy.address())
}

/// What one GET gets under one fault, which must have been given.
fn under(fault: HttpFault) -> io::Result<Answer> {
    let (_server, proxy) = proxied(FaultPlan::of([Rule::always(fault.clone())]));
    let answer = get(&proxy);
    assert_eq!(proxy.given_of(&fault), 1, "{:?}", proxy.given());
    answer
}

#[test]
fn without_faults_all_passes_over_as_many_connections_as_came() {
    let (server, proxy) = proxied(FaultPlan::none());
    let mut stream = BufReader::new(TcpStream::connect(proxy.address()).unwrap());
    for _ in 0..20 {
        let answer = Ask::new("GET", "/b/k").send_along(&mut stream).unwrap();
        assert_eq!((answer.status, answer.whole, answer.body), (200, true, content()));
        assert_eq!(Ask::new("HEAD", "/b/k").send_along(&mut stream).unwrap().status, 200);
        let put = Ask::new("PUT", "/b/put").body(data::bytes(2, 70_000));
        assert_eq!(put.send_along(&mut stream).unwrap().status, 200);
        assert_eq!(Ask::new("DELETE", "/b/put").send_along(&mut stream).unwrap().status, 204);
    }
    let traffic = proxy.traffic();
    assert_eq!((traffic.connections, traffic.open, traffic.most_open, traffic.requests), (1, 1, 1, 80));
    assert_eq!((server.connections(), server.requests()), (1, 80));
    assert!(proxy.given().is_empty());
    let seen = proxy.seen();
    assert_eq!((seen[1].method.as_str(), seen[1].target.as_str(), seen[1].connection), ("HEAD", "/b/k", 0));
}

#[test]
fn bodies_in_chunks_pass_both_ways() {
    let (server, proxy) = proxied(FaultPlan::none());
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let put = "PUT /b/chunked HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    stream.write_all(put.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(&server.content("b", "chunked").unwrap()[..], b"hello world");

    let azurite = Azurite::shared().unwrap();
    let container = azurite.new_container().unwrap();
    let proxy = FaultProxy::start(azurite.address(), FaultPlan::none(), 1).unwrap();
    let target = format!("/{}/{container}?restype=container&comp=list&{}", Azurite::ACCOUNT, azurite.sas());
    let list = Ask::new("GET", &target).header("x-ms-version", "2021-12-02").send(proxy.address()).unwrap();
    assert_eq!((list.status, list.whole), (200, true), "{}", list.text());
    assert!(list.text().ends_with("</EnumerationResults>"), "{}", list.text());
}

#[test]
fn a_real_server_is_reached_through_it() {
    let server = S3Server::start_public().unwrap();
    let proxy = FaultProxy::start(server.address(), FaultPlan::none(), 1).unwrap();
    let answer = Ask::new("PUT", "/forebay-test/k").body(content()).send(proxy.address()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = Ask::new("GET", "/forebay-test/k").send(proxy.address()).unwrap();
    assert_eq!((answer.status, answer.body), (200, content()));
    assert_eq!(proxy.in_front_of(&server.endpoint()), proxy.endpoint());
}

#[test]
fn a_refused_connection_is_reset_before_any_answer() {
    let error = under(HttpFault::Refuse).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof),
        "{error}"
    );
}

#[test]
fn a_reset_comes_inside_the_body() {
    let (_server, proxy) = proxied(FaultPlan::of([Rule::always(HttpFault::Reset(At::Byte(1000)))]));
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"GET /b/k HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    let mut got = Vec::new();
    let error = stream.read_to_end(&mut got).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(got.len() < 2000, "{} bytes", got.len());
}

#[test]
fn a_body_is_cut_short_with_each_framing() {
    for (framing, whole) in [(Framing::Length, false), (Framing::Close, true), (Framing::Chunked, false)] {
        let answer = under(HttpFault::Truncate(At::Share(0.5), framing)).unwrap();
        assert_eq!((answer.status, answer.whole), (200, whole), "{framing:?}");
        assert_eq!(answer.body, content()[..LEN / 2]);
        let length = (framing == Framing::Length).then(|| LEN.to_string());
        assert_eq!(answer.header("content-length"), length.as_deref());
    }
}

#[test]
fn errors_are_in_the_words_of_the_service() {
    let (_server, proxy) = proxied(FaultPlan::none());
    let azure = |ask: Ask| ask.header("x-ms-version", "2021-12-02");
    for (fault, status, s3_code, azure_code) in [
        (HttpFault::slow_down(), 503, "SlowDown", "ServerBusy"),
        (HttpFault::internal_error(), 500, "InternalError", "OperationTimedOut"),
        (HttpFault::too_many_requests(Duration::from_secs(7)), 429, "TooManyRequests", "TooManyRequests"),
        (
            HttpFault::Status { status: 403, code: Some("RequestTimeTooSkewed"), retry_after: None },
            403,
            "RequestTimeTooSkewed",
            "RequestTimeTooSkewed",
        ),
    ] {
        proxy.set_plan(FaultPlan::of([Rule::always(fault)])).unwrap();
        let answer = get(&proxy).unwrap();
        assert_eq!((answer.status, answer.whole), (status, true));
        assert!(answer.text().contains(&format!("<Code>{s3_code}</Code>")), "{}", answer.text());
        assert_eq!(answer.header("retry-after"), (status == 429).then_some("7"));
        let answer = azure(Ask::new("GET", "/a/b/k")).send(proxy.address()).unwrap();
        assert_eq!((answer.status, answer.header("x-ms-error-code")), (status, Some(azure_code)));
    }
    proxy.set_plan(FaultPlan::of([Rule::always(HttpFault::Expired)])).unwrap();
    let answer = get(&proxy).unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("<Code>ExpiredToken</Code>"));
    let answer = azure(Ask::new("HEAD", "/a/b/k")).send(proxy.address()).unwrap();
    assert_eq!((answer.status, answer.header("x-ms-error-code")), (403, Some("AuthenticationFailed")));
    assert_eq!(proxy.given()["status 503"], 2);
    assert_eq!(proxy.given()["expired"], 2);
}

#[test]
fn a_length_may_lie_either_way() {
    let answer = under(HttpFault::WrongLength(10)).unwrap();
    assert_eq!((answer.whole, answer.body.len()), (false, LEN));
    let answer = under(HttpFault::WrongLength(-10)).unwrap();
    assert_eq!((answer.whole, answer.body), (true, content()[..LEN - 10].to_vec()));
}

#[test]
fn one_bit_is_flipped_and_it_is_always_the_same() {
    let one = under(HttpFault::FlipByte).unwrap().body;
    let bits: u32 = one.iter().zip(content()).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!((one.len(), bits), (LEN, 1));
    assert_eq!(under(HttpFault::FlipByte).unwrap().body, one);
}

#[test]
fn a_stall_ends_when_it_is_released() {
    for (at, arrived) in [(None, 0), (Some(At::Byte(1000)), 1000)] {
        let fault = HttpFault::Stall(at, FOREVER);
        let (_server, proxy) = proxied(FaultPlan::of([Rule::first(1, fault.clone())]));
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream.write_all(b"GET /b/k HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").unwrap();
        let mut got = vec![0; arrived];
        stream.read_exact(&mut got).unwrap();
        // Once is enough from when the request is known to have come, though the stall may just be about to begin.
        while proxy.seen().is_empty() {
            std::thread::yield_now();
        }
        proxy.release();
        stream.read_to_end(&mut got).unwrap();
        assert!(got.ends_with(&content()), "{} bytes", got.len());
        assert_eq!(proxy.given_of(&fault), 1);
    }
}

#[test]
fn a_stall_is_as_long_as_asked_and_ends_when_the_client_hangs_up() {
    let begun = Instant::now();
    let pause = Duration::from_millis(50);
    let answer = under(HttpFault::Stall(Some(At::Share(0.9)), pause)).unwrap();
    assert!(begun.elapsed() >= pause);
    assert_eq!((answer.whole, answer.body), (true, content()));

    let (_server, proxy) = proxied(FaultPlan::of([Rule::always(HttpFault::Stall(None, FOREVER))]));
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"GET /b/k HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    while proxy.given().is_empty() {
        std::thread::yield_now();
    }
    drop(stream);
    while proxy.traffic().open > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_trickle_brings_all_of_it_slowly() {
    let begun = Instant::now();
    let every = Duration::from_millis(2);
    let answer = under(HttpFault::Trickle { piece: LEN / 10, every }).unwrap();
    assert!(begun.elapsed() >= every * 10);
    assert_eq!((answer.whole, answer.body), (true, content()));
}

#[test]
fn a_replaced_object_is_another_version_with_other_bytes() {
    let (_server, proxy) =
        proxied(FaultPlan::of([Rule::nth(1, HttpFault::Replaced), Rule::nth(2, HttpFault::Replaced)]));
    let before = get(&proxy).unwrap();
    let after = get(&proxy).unwrap();
    assert_ne!(before.header("etag"), after.header("etag"));
    assert!(before.body.iter().zip(&after.body).all(|(a, b)| *a == !*b));
    let pinned = Ask::new("GET", "/b/k").header("if-match", before.header("etag").unwrap());
    assert_eq!(pinned.send(proxy.address()).unwrap().status, 412);
    assert_eq!(
        pinned.send(proxy.address()).unwrap().body,
        before.body,
        "the fourth is no longer of the plan"
    );
    assert_eq!(proxy.given()["replaced"], 2);
}

#[test]
fn a_fault_that_needs_a_body_is_not_given_to_an_answer_without() {
    let (_server, proxy) =
        proxied(FaultPlan::of([Rule::always(HttpFault::Truncate(At::Share(0.5), Framing::Length))]));
    let head = Ask::new("HEAD", "/b/k").send(proxy.address()).unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some(&*LEN.to_string())));
    assert!(proxy.given().is_empty());
    assert_eq!(proxy.seen()[0].drawn.as_deref(), Some("truncate length"));
}

#[test]
fn rules_choose_by_method_path_and_range() {
    let (server, proxy) = proxied(FaultPlan::of([
        Rule::always(HttpFault::slow_down()).method("PUT"),
        Rule::always(HttpFault::internal_error()).path("other"),
        Rule::always(HttpFault::Expired).ranged(true),
    ]));
    server.put("b", "other", "1");
    let status = |ask: Ask| ask.send(proxy.address()).unwrap().status;
    assert_eq!(status(Ask::new("GET", "/b/k")), 200);
    assert_eq!(status(Ask::new("PUT", "/b/k").body("x")), 503);
    assert_eq!(status(Ask::new("GET", "/b/other")), 500);
    assert_eq!(status(Ask::new("GET", "/b/k").header("range", "bytes=0-1")), 400);
    assert_eq!(server.content("b", "k").unwrap(), content(), "the put never reached the server");
}

#[test]
fn a_server_that_is_away_refuses_and_comes_back_where_it_was() {
    let (_server, proxy) = proxied(FaultPlan::none());
    let mut stream = BufReader::new(TcpStream::connect(proxy.address()).unwrap());
    Ask::new("GET", "/b/k").send_along(&mut stream).unwrap();
    for _ in 0..3 {
        proxy.go_away();
        assert_eq!(get(&proxy).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(Ask::new("GET", "/b/k").send_along(&mut stream).is_err(), "it was closed");
        proxy.come_back();
        assert_eq!(get(&proxy).unwrap().status, 200);
    }
}

#[test]
fn some_ports_refuse_and_some_never_answer() {
    let refused = RefusedPort::new().unwrap();
    assert_eq!(TcpStream::connect(refused.address()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let hole = BlackHole::new().unwrap();
    let error = TcpStream::connect_timeout(&hole.address(), Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn a_plan_that_cannot_be_is_refused() {
    let server = FastServer::start(1).unwrap();
    let plan = FaultPlan::of([Rule::rate(HttpFault::Refuse, 2.0)]);
    let error = FaultProxy::start(server.s3_address(), plan, 1).unwrap_err();
    assert!(error.to_string().contains("refuse") && error.to_string().contains('2'), "{error}");
}
