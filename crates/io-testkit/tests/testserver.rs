//! The servers as a process of their own.

use forebay_io_testkit::servers::{Ask, Azurite};
use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay-testserver"));
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Process { child, out }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, line: &str) -> Value {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.line()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn address(server: &Value, name: &str) -> SocketAddr {
    let endpoint = server[name].as_str().unwrap().strip_prefix("http://").unwrap();
    endpoint.split('/').next().unwrap().parse().unwrap()
}

#[test]
fn it_serves_what_was_asked_for_and_ends_with_its_input() {
    let mut process = Process::start(&["fast", "--objects", "3", "--size", "100", "--keys", "2500"]);
    let ready = process.line();
    assert_eq!(ready["pid"], process.child.id());
    let servers = ready["servers"].as_array().unwrap();
    let names: Vec<_> = servers.iter().map(|server| server["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fast-s3", "fast-az"]);
    assert_eq!(servers[0]["env"]["AWS_ENDPOINT_URL"], servers[0]["endpoint"]);
    let (s3, azure) = (address(&servers[0], "endpoint"), address(&servers[1], "endpoint"));
    let object = Ask::new("GET", "/forebay-test/objects/00000002").send(s3).unwrap();
    assert_eq!((object.status, object.body.len()), (200, 100));
    let target = format!("/{}/forebay-test?restype=container&comp=list&prefix=keys%2F", Azurite::ACCOUNT);
    let keys = Ask::new("GET", &target).send(azure).unwrap();
    assert_eq!(keys.text().matches("<Name>").count(), 2500);
    drop(process);
    assert_eq!(Ask::new("GET", "/").send(s3).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn keys_in_folders_are_listed_in_pages_that_take_their_time() {
    let args = ["fast", "--keys", "10", "--key-folders", "4", "--page-delay", "30ms"];
    let mut process = Process::start(&args);
    let ready = process.line();
    let s3 = address(&ready["servers"][0], "endpoint");
    let begin = Instant::now();
    let level = Ask::new("GET", "/forebay-test?list-type=2&prefix=keys%2F&delimiter=%2F").send(s3).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(30));
    assert_eq!(level.text().matches("<CommonPrefixes>").count(), 4);
    let folder = Ask::new("GET", "/forebay-test?list-type=2&prefix=keys%2F0001%2F").send(s3).unwrap();
    assert_eq!(folder.text().matches("<Key>").count(), 3);
}

#[test]
fn its_faults_are_counted_and_told() {
    let mut process = Process::start(&["fast", "s3", "--objects", "2", "--faults", "503=1"]);
    let ready = process.line();
    let servers = ready["servers"].as_array().unwrap();
    assert_eq!(servers[0]["name"], "s3");
    let ask = Ask::new("GET", "/forebay-test/objects/00000000");
    assert_eq!(ask.send(address(&servers[1], "endpoint")).unwrap().status, 503);
    assert_eq!(ask.send(address(&servers[1], "direct_endpoint")).unwrap().status, 200);
    let counts = process.ask("counts");
    assert_eq!(
        (&counts["fast-s3"]["given"]["status 503"], &counts["fast-s3"]["requests"]),
        (&1.into(), &1.into())
    );
    assert_eq!(counts["s3"]["connections"], 0);
    assert!(process.ask("more")["error"].as_str().unwrap().contains("counts"));
}

#[test]
fn what_it_does_not_know_it_refuses() {
    for (args, part) in [(&["gcs"][..], "gcs"), (&["fast", "--faults", "rest=1"], "no such fault")] {
        let run = Command::new(env!("CARGO_BIN_EXE_forebay-testserver")).args(args).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert!(!run.status.success() && said.contains(part), "{said}");
    }
}
