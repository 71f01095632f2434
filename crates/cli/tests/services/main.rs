//! Every command on a service, against a real server, and copies between any two schemes.

mod copies;
mod service;

use forebay_io_testkit::servers::Azurite;
use serde_json::Value;
use service::{Service, azure, direct, files, last, s3};

/// Samples of 4 KiB in shards of 256 KiB come in the requests that were asked for; a sample that is larger in parts.
fn requests_are_of_the_size_that_was_asked_for(service: &Service) {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, root) = (folder.path(), format!("{}/shards", service.root));
    service.json(here, &["gen", &root, "--files", "4", "--sizes", "fixed:256KiB", "--seed", "3"]);
    let load = ["load", &root, "--format=records", "--batch-size=64"];
    let load = |more: &[&str]| {
        let summary = service.json(here, &[&load, more].concat()).pop().expect("a line");
        let get = &summary["metrics"]["operations"]["get"];
        let counted =
            [&get["req_bytes_hist"]["n"], &get["attempts"]["req_bytes_hist"]["n"]].map(Value::clone);
        let hist = &get["attempts"]["req_bytes_hist"];
        (counted, [&hist["min"], &hist["max"]].map(|bytes| bytes.as_u64().expect("bytes")))
    };
    let small = "--record-bytes=4096";
    let ([samples, requests], [least, most]) = load(&[small, "--target-request-bytes=65536"]);
    assert_eq!((samples, requests), (256.into(), 16.into()));
    // A histogram tells sizes by their bucket.
    assert!(least > 60_000 && most < 72_000, "{least} to {most}");
    let ([samples, requests], _) = load(&[small, "--reader-mode=range", "--shuffle"]);
    assert_eq!(samples, 256);
    assert!(requests.as_u64().is_some_and(|n| n < 200), "{requests}");
    let ([samples, requests], _) = load(&[small]);
    assert_eq!((samples, requests), (256.into(), 256.into()));
    let ([samples, requests], _) = load(&["--record-bytes=65536", "--target-request-bytes=16384"]);
    assert_eq!((samples, requests), (16.into(), 64.into()));
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
fn requests_are_of_the_size_that_was_asked_for_on_azure() {
    requests_are_of_the_size_that_was_asked_for(&azure());
}

#[test]
fn requests_are_of_the_size_that_was_asked_for_on_s3() {
    requests_are_of_the_size_that_was_asked_for(&s3());
}

#[test]
fn requests_are_of_the_size_that_was_asked_for_of_files() {
    requests_are_of_the_size_that_was_asked_for(&files());
}

#[test]
fn requests_are_of_the_size_that_was_asked_for_past_the_page_cache() {
    requests_are_of_the_size_that_was_asked_for(&direct());
}

#[test]
fn a_page_cache_policy_that_a_scheme_has_not_is_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (service, spelled, valid) in [
        (
            s3(),
            "--page-cache-mode=dont_need",
            "page_cache_mode=dont_need is not for s3://, where default can",
        ),
        (s3(), "--cache-policy=direct", "(cache_policy=direct) is not for s3://, where default can"),
        (files(), "--cache-policy=direct", "(cache_policy=direct) is not for file://"),
        (direct(), "--cache-policy=random", "is not for direct://, where default or direct_io can"),
    ] {
        let root = format!("{}/set", service.root);
        service.json(folder.path(), &["gen", &root, "--files=2", "--sizes=fixed:100"]);
        let output = service.run(folder.path(), &["load", &root, spelled]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(valid), "{text}");
    }
    let past = direct();
    past.json(folder.path(), &["gen", &past.root, "--files=2", "--sizes=fixed:100"]);
    past.json(folder.path(), &["load", &past.root, "--cache-policy=direct"]);
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

/// As the Azure portal shows it for a signature: with no name of an account but that in the endpoint.
#[test]
fn a_connection_string_of_a_signature_is_enough() {
    let (service, folder) = (azure(), tempfile::tempdir().expect("a folder"));
    let azurite = Azurite::shared().expect("Azurite starts");
    let string = format!("BlobEndpoint={}/;SharedAccessSignature={}", azurite.endpoint(), azurite.sas());
    let signed =
        Service { environment: vec![("AZURE_STORAGE_CONNECTION_STRING".to_owned(), string)], ..service };
    let object = format!("{}/one", signed.root);
    std::fs::write(folder.path().join("file"), b"abc").expect("a file");
    signed.json(folder.path(), &["cp", "file", &object]);
    assert_eq!(signed.json(folder.path(), &["stat", &object])[0]["size"], 3);
    let output = signed.run(folder.path(), &["stat", &object, "--store", "account_name=other"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("is for another"), "{said}");
}

#[test]
fn credentials_of_the_environment_are_not_sent_to_any_host_that_a_url_names() {
    let folder = tempfile::tempdir().expect("a folder");
    for credential in [("AZURE_STORAGE_TOKEN", "hush"), ("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=hush")] {
        let account = ("AZURE_STORAGE_ACCOUNT", "acme");
        let environment = [account, credential].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let service = Service { root: String::new(), environment, _kept: Vec::new() };
        for uri in ["https://localhost:1/box/k", "https://acme.blob.evil.example/box/k"] {
            let output = service.run(folder.path(), &["stat", uri, "--store", "retries=0"]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("is not sent to https://") && !said.contains("hush"), "{said}");
        }
    }
}
