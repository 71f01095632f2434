//! Every command on a service, against a real server, and copies between any two schemes.

use forebay_io_testkit::servers::{Azurite, FastServer, S3Server};
use serde_json::Value;
use std::any::Any;
use std::path::Path;
use std::process::{Command, Output};

/// Where a test may put its objects, and the environment that leads there.
struct Service {
    root: String,
    environment: Vec<(String, String)>,
    /// Servers and folders, while the test runs.
    _kept: Vec<Box<dyn Any>>,
}

fn azure() -> Service {
    let azurite = Azurite::shared().expect("Azurite starts");
    let container = azurite.new_container().expect("a container");
    Service {
        root: format!("az://{container}"),
        environment: vec![("AZURE_STORAGE_CONNECTION_STRING".to_owned(), azurite.connection_string())],
        _kept: vec![Box::new(azurite)],
    }
}

fn s3() -> Service {
    let server = S3Server::start().expect("an S3 server starts");
    Service {
        root: format!("s3://{}/root", server.bucket()),
        environment: keys_of_s3(server.endpoint()),
        _kept: vec![Box::new(server)],
    }
}

/// Copies ask whether a key that others begin with is an object itself. `S3Server` keeps objects as files,
/// and fails at that where the key is one of its folders; this one keeps them in memory.
fn s3_in_memory() -> Service {
    let server = FastServer::start(1).expect("a server starts");
    Service {
        root: format!("s3://{}/root", server.bucket()),
        environment: keys_of_s3(server.s3_endpoint()),
        _kept: vec![Box::new(server)],
    }
}

fn keys_of_s3(endpoint: String) -> Vec<(String, String)> {
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", S3Server::REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY.to_owned()),
    ];
    environment.map(|(key, value)| (key.to_owned(), value)).into()
}

fn direct() -> Service {
    let folder = tempfile::tempdir().expect("a folder");
    Service {
        root: format!("direct://{}", folder.path().display()),
        environment: Vec::new(),
        _kept: vec![Box::new(folder)],
    }
}

impl Service {
    fn run(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.args(arguments).current_dir(folder).env_clear();
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.output().expect("the command runs")
    }

    /// Runs what must succeed; its lines.
    fn json(&self, folder: &Path, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(folder, &[arguments, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{arguments:?}: {errors}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

fn last(lines: &[Value]) -> &Value {
    lines.last().expect("a line")
}

/// All that can be done with objects, and that each command takes the location.
fn every_command_works(service: &Service) {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, root) = (folder.path(), format!("{}/set", service.root));
    let (scheme, _) = root.split_once("://").expect("a URI");
    let made = service.json(here, &["gen", &root, "--files", "20", "--sizes", "fixed:10KiB", "--seed", "3"]);
    assert_eq!((&last(&made)["files"], &last(&made)["bytes"]), (&20.into(), &204_800.into()));
    assert_eq!(service.json(here, &["ls", &root]).len(), 20);
    let object = format!("{root}/00000007.bin");
    let stat = service.json(here, &["stat", &object]);
    assert_eq!(stat[0]["size"], 10_240);
    assert_eq!(service.run(here, &["cat", &object]).stdout.len(), 10_240);
    let verified = service.json(here, &["verify", &root]);
    assert_eq!(last(&verified)["files"], 20);
    service.json(here, &["cp", &object, "one"]);
    service.json(here, &["cp", "one", &format!("{}/one", service.root)]);
    for arguments in [&["load", &root, "--shuffle", "--batch-size", "8", "--verify"][..], &["load", &root]] {
        let loaded = service.json(here, &[arguments, &["--target-request-bytes", "4096"]].concat());
        let summary = last(&loaded);
        assert_eq!(summary["facts"]["samples"], 20);
        let counters = &summary["metrics"]["backend_counters"];
        assert_eq!(counters["gets"], 20);
        let backend = &summary["metrics"]["backends"][scheme]["counters"];
        let connections = backend["connections"].as_u64();
        assert_eq!(connections.is_some_and(|n| n > 0), scheme != "direct", "{backend}");
        assert_eq!(backend, counters, "one backend did it all");
        // 10 KiB in requests of 4 KiB. A request whose batch has to wait for memory may be given up and made again.
        let requests = &summary["metrics"]["operations"]["get"]["attempts"];
        let number = |value: &Value| value.as_u64().expect("a number");
        let made_again = requests["failures"].get("cancelled").map_or(0, number);
        assert_eq!(number(&requests["requests"]) - made_again, 60, "{requests}");
        assert!(number(&counters["requests"]) >= 60, "{counters}");
    }
    let removed = service.json(here, &["rm", "-r", &root]);
    assert_eq!(last(&removed)["objects"], 20);
    assert!(!service.run(here, &["stat", &object]).status.success());
}

#[test]
fn every_command_works_on_azure() {
    every_command_works(&azure());
}

#[test]
fn every_command_works_on_s3() {
    every_command_works(&s3());
}

#[test]
fn every_command_works_past_the_page_cache() {
    every_command_works(&direct());
}

/// Copies go to each in turn, verified, and what comes back is what was sent.
fn copies_go_round(stations: Vec<Service>) {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    // Larger than one part of an upload and one request of a read.
    let large: Vec<u8> = (0..20_000_003_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::create_dir(here.join("src")).expect("a folder");
    std::fs::write(here.join("src/large"), &large).expect("a file");
    std::fs::write(here.join("src/a b"), b"").expect("a file");
    let mut from = "src".to_owned();
    let places: Vec<_> =
        stations.iter().enumerate().map(|(i, station)| format!("{}/{i}", station.root)).collect();
    let everywhere = Service {
        root: String::new(),
        environment: stations.iter().flat_map(|station| station.environment.clone()).collect(),
        _kept: stations.into_iter().map(|station| Box::new(station) as Box<dyn Any>).collect(),
    };
    // There and back, and once within the last.
    let back = places.iter().rev().skip(1).map(|place| format!("{place}-back"));
    let within = places.last().map(|place| format!("{place}-within"));
    for to in places.clone().into_iter().chain(within).chain(back).chain(["back".to_owned()]) {
        let lines = everywhere.json(here, &["cp", "-r", "--verify", &from, &to]);
        let copied = (&last(&lines)["files"], &last(&lines)["bytes"]);
        assert_eq!(copied, (&2.into(), &20_000_003.into()), "{from} {to}");
        from = to;
    }
    assert!(std::fs::read(here.join("back/large")).expect("a file") == large);
    assert!(std::fs::read(here.join("back/a b")).expect("a file").is_empty());
}

#[test]
fn copies_go_between_files_and_azure() {
    copies_go_round(vec![azure()]);
}

#[test]
fn copies_go_between_s3_and_azure() {
    copies_go_round(vec![s3_in_memory(), azure()]);
}

#[test]
fn copies_go_between_s3_and_direct() {
    copies_go_round(vec![s3_in_memory(), direct()]);
}

#[test]
fn options_of_the_command_line_lead_to_the_service_and_secrets_are_not_shown() {
    let (service, folder) = (azure(), tempfile::tempdir().expect("a folder"));
    let mut bare = Service { environment: Vec::new(), ..service };
    let azurite = Azurite::shared().expect("Azurite starts");
    let endpoint = format!("endpoint={}", azurite.endpoint());
    let account = format!("account_name={}", Azurite::ACCOUNT);
    let key = format!("az.account_key={}", Azurite::KEY);
    let store = ["--store", &endpoint, "--store", &account, "--store", &key];
    let object = format!("{}/one", bare.root);
    std::fs::write(folder.path().join("file"), b"abc").expect("a file");
    bare.json(folder.path(), &[&["cp", "file", &object], &store[..]].concat());

    let wrong = format!("account_key={}", "aHVzaGh1c2g=");
    for arguments in [
        &["--store", &endpoint, "--store", &account, "--store", &wrong][..],
        &["--store", "account_key"],
        &["--store", &endpoint, "--store", "sas_token=aHVzaGh1c2g="],
        &["--store", "acount_key=aHVzaGh1c2g="],
    ] {
        let output = bare.run(folder.path(), &[&["cat", &object], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !said.contains("aHVzaG"), "{arguments:?}: {said}");
    }
    bare.environment.push(("AZURE_STORAGE_CONNECTION_STRING".to_owned(), "AccountName=x;hush".to_owned()));
    let said = String::from_utf8_lossy(&bare.run(folder.path(), &["cat", &object]).stderr).into_owned();
    assert!(said.contains("AZURE") || said.contains("connection string"), "{said}");
    assert!(!said.contains("hush"), "{said}");
}

/// Loading while a service lists: complete, disjoint, in the order of keys, and from where a state was saved.
fn streaming_works(service: &Service) {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, root) = (folder.path(), format!("{}/set", service.root));
    service.json(here, &["gen", &root, "--files", "60", "--sizes", "fixed:100", "--seed", "3"]);
    let streaming = ["load", &root, "--loading-mode=streaming", "--batch-size=7"];
    let samples = |more: &[&str]| {
        let lines = service.json(here, &[&streaming, more].concat());
        assert!(last(&lines)["samples_in_dataset"].is_null());
        last(&lines)["facts"]["samples"].as_u64().expect("a number")
    };
    assert_eq!(samples(&[]), 60);
    assert_eq!(samples(&["--shuffle", "--shuffle-window=10", "--seed=1"]), 60);
    let of_ranks = ["0", "1", "2"].map(|rank| samples(&["--shard-world-size=3", "--shard-rank", rank]));
    assert_eq!(of_ranks, [20; 3], "a service lists in an order that all see, so that ranks share evenly");
}

#[test]
fn streaming_works_on_azure() {
    streaming_works(&azure());
}

#[test]
fn streaming_works_on_s3() {
    streaming_works(&s3());
}
