//! The cap in memory, on every scheme: peak RSS of an epoch far larger than it. A process of its own, because
//! the peak is that of a process; servers are in this one, so that theirs is not counted.

mod peak;

use forebay_io_testkit::servers::{FastServer, S3Server};
use peak::peak_rss;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;

/// The cap, far below what is read.
const CAP: u64 = 64 * MIB;

const BATCH: u64 = 8;

/// Sizes from half a MiB to two, that differ, so that slabs of the right size are not simply there.
fn sizes(total: u64) -> Vec<u64> {
    let size = |i: u64| MIB / 2 + (i * 7919 * 4096) % (3 * MIB / 2) + i % 61;
    let mut sizes = Vec::new();
    let mut sum = 0;
    while sum < total {
        sizes.push(size(sizes.len() as u64));
        sum += sizes[sizes.len() - 1];
    }
    sizes
}

/// Under what the command needs anyway, the cap, one batch and 16 MiB.
fn stays_under_the_cap(scheme: &str, small: &str, large: &str, environment: &[(&str, String)]) {
    stays_under_the_cap_with(&[], scheme, small, large, environment);
}

/// As [`stays_under_the_cap`], with more arguments for the larger one.
fn stays_under_the_cap_with(
    arguments: &[&str],
    scheme: &str,
    small: &str,
    large: &str,
    environment: &[(&str, String)],
) {
    let base = peak_of_load(small, &[], environment);
    let peak = peak_of_load(large, arguments, environment);
    let bound = base + CAP + BATCH * 2 * MIB + 16 * MIB;
    println!("{scheme}: base {} MiB, peak {} MiB, bound {} MiB", base / MIB, peak / MIB, bound / MIB);
    assert!(peak < bound, "{scheme}: peak {peak} bytes, bound {bound}");
    assert!(peak > base + CAP / 2, "{scheme}: peak {peak} bytes says nothing, base {base}");
}

/// The files are sparse, so they take no disk; they are read like any others.
fn files(folder: &Path, total: u64) {
    for (i, size) in sizes(total).into_iter().enumerate() {
        File::create(folder.join(format!("{i:06}"))).unwrap().set_len(size).unwrap();
    }
    let small = folder.join("base");
    fs::create_dir(&small).unwrap();
    fs::write(small.join("one"), b"a byte or two").unwrap();
}

#[test]
fn four_gib_of_files_through_a_cap_of_64_mib_stay_under_it() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    files(folder.path(), 4 << 30);
    let large = folder.path().display();
    stays_under_the_cap("file", &format!("file://{large}/base"), &format!("file://{large}"), &[]);
}

#[test]
fn a_gib_past_the_page_cache_through_a_cap_of_64_mib_stays_under_it() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    files(folder.path(), 1 << 30);
    let large = folder.path().display();
    stays_under_the_cap("direct", &format!("direct://{large}/base"), &format!("direct://{large}"), &[]);
}

/// A server with objects that all share one memory, so many bytes of them, and a manifest that says no lengths.
fn server(total: u64) -> FastServer {
    let server = FastServer::start(1).expect("a server starts");
    let bytes = bytes::Bytes::from(vec![7; 2 * MIB as usize + 61]);
    let mut manifest = "key\n".to_owned();
    for (i, size) in sizes(total).into_iter().enumerate() {
        let key = format!("large/{i:06}");
        server.put(server.bucket(), &key, bytes.slice(..size as usize));
        manifest += &format!("{key}\n");
    }
    server.put(server.bucket(), "small/one", bytes.slice(..13));
    server.put(server.bucket(), "list.csv", manifest);
    server
}

fn s3(server: &FastServer) -> [(&'static str, String); 4] {
    [
        ("AWS_ENDPOINT_URL", server.s3_endpoint()),
        ("AWS_REGION", S3Server::REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY.to_owned()),
    ]
}

#[test]
fn a_gib_of_s3_through_a_cap_of_64_mib_stays_under_it() {
    let server = server(1 << 30);
    let root = format!("s3://{}", server.bucket());
    stays_under_the_cap("s3", &format!("{root}/small/"), &format!("{root}/large/"), &s3(&server));
}

/// Memory is only asked for when the header of an answer says how much, while connections and permits are held.
#[test]
fn objects_whose_size_only_their_answers_say_stay_under_the_cap() {
    let server = server(512 << 20);
    let root = format!("s3://{}", server.bucket());
    let (small, large) = (format!("{root}/small/"), format!("{root}/list.csv"));
    for more in [&[][..], &["--on-error", "substitute:5", "--store", "hedge_quantile=0.9"]] {
        let arguments = [&["--manifest", "csv"], more].concat();
        stays_under_the_cap_with(&arguments, "s3, of unknown sizes", &small, &large, &s3(&server));
    }
}

#[test]
fn a_gib_of_azure_through_a_cap_of_64_mib_stays_under_it() {
    let server = server(1 << 30);
    let root = format!("az://{}", server.bucket());
    let connection = format!(
        "DefaultEndpointsProtocol=http;AccountName={};AccountKey={};BlobEndpoint={};",
        FastServer::ACCOUNT,
        // Any key that is one: this server looks at no signature.
        "MDEyMzQ1Njc4OWFiY2RlZg==",
        server.azure_endpoint()
    );
    let environment = [("AZURE_STORAGE_CONNECTION_STRING", connection)];
    stays_under_the_cap("az", &format!("{root}/small/"), &format!("{root}/large/"), &environment);
}

/// The peak of `forebay load`.
fn peak_of_load(root: &str, arguments: &[&str], environment: &[(&str, String)]) -> u64 {
    let batch = BATCH.to_string();
    peak_rss(
        Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["load", root, "--shuffle", "--batch-size", &batch, "--max-bytes-in-flight", "64MiB"])
            .args(["--num-workers", "8", "--prefetch", "16", "--json"])
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(std::process::Stdio::null()),
    )
}
