//! The memory of listings: a million names go by, and nothing is kept of them. A process of its own, because the peak is that
//! of a process; the server is in this one, so that its is not counted.

mod peak;

use forebay_io_testkit::servers::{FastServer, S3Server};
use peak::peak_rss;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

const MIB: u64 = 1 << 20;

const FEW: u64 = 100_000;
const MANY: u64 = 1_000_000;

/// With `few/` and `many/`, objects that all share one memory.
static SERVER: LazyLock<FastServer> = LazyLock::new(|| {
    let server = FastServer::start(2).expect("a server starts");
    server.fill(server.bucket(), "few/", FEW, 8);
    server.fill(server.bucket(), "many/", MANY, 8);
    server
});

fn s3() -> (String, Vec<(&'static str, String)>) {
    let environment = vec![
        ("AWS_ENDPOINT_URL", SERVER.s3_endpoint()),
        ("AWS_REGION", S3Server::REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY.to_owned()),
    ];
    (format!("s3://{}", SERVER.bucket()), environment)
}

fn azure() -> (String, Vec<(&'static str, String)>) {
    let connection = format!(
        "DefaultEndpointsProtocol=http;AccountName={};AccountKey={};BlobEndpoint={};",
        FastServer::ACCOUNT,
        // Any key that is one: this server looks at no signature.
        "MDEyMzQ1Njc4OWFiY2RlZg==",
        SERVER.azure_endpoint()
    );
    (format!("az://{}", SERVER.bucket()), vec![("AZURE_STORAGE_CONNECTION_STRING", connection)])
}

#[test]
fn a_listing_of_a_million_names_is_flat_on_s3() {
    is_flat("s3", &s3());
}

#[test]
fn a_listing_of_a_million_names_is_flat_on_azure() {
    is_flat("az", &azure());
}

/// `ls`, of which the order is the store's: sorting needs all names.
fn is_flat(scheme: &str, (root, environment): &(String, Vec<(&str, String)>)) {
    let list = |folder: &str, names: u64| {
        let (peak, out) = run(&["ls", "-r", "-U", &format!("{root}/{folder}")], environment);
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count() as u64, names);
        peak
    };
    let (few, many) = (list("few", FEW), list("many", MANY));
    println!("{scheme}: {} KiB with {FEW} names, {} KiB with {MANY}", few >> 10, many >> 10);
    assert!(many < few + 8 * MIB, "{scheme}: {many} bytes with {MANY} names, {few} with {FEW}");
}

/// A rank of a hundred, so that what takes the time is the listing.
#[test]
fn loading_over_a_listing_under_way_is_flat() {
    let (root, environment) = s3();
    let load = |folder: &str, samples: u64| {
        let place = format!("{root}/{folder}");
        let arguments = [
            ["load", &place, "--loading-mode=streaming", "--batch-size=100"],
            ["--max-bytes-in-flight=16MiB", "--shard-world-size=100", "--shuffle", "--shuffle-window=1000"],
        ];
        let (peak, out) = run(&[&arguments.concat()[..], &["--json"]].concat(), &environment);
        let text = String::from_utf8(out).unwrap();
        let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(summary["facts"]["samples"], samples);
        peak
    };
    let (few, many) = (load("few", FEW / 100), load("many", MANY / 100));
    println!("loading: {} KiB with {FEW} names, {} KiB with {MANY}", few >> 10, many >> 10);
    assert!(many < few + 16 * MIB, "{many} bytes with {MANY} names, {few} with {FEW}");
}

/// Runs the command to its end; the peak that the kernel counted for it, and what it printed.
fn run(arguments: &[&str], environment: &[(&str, String)]) -> (u64, Vec<u8>) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let out = folder.path().join("out");
    let peak = peak_rss(
        Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap()),
    );
    (peak, fs::read(&out).unwrap())
}
