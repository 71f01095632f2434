//! `cp` to, from and between services.

use crate::service::{Service, azure, direct, in_files, in_memory, last, s3};
use forebay_io_testkit::servers::{FastServer, S3Server};
use rustix::process::{Pid, Signal, kill_process};
use std::any::Any;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

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
    copies_go_round(vec![s3(), azure()]);
}

#[test]
fn copies_go_between_s3_and_direct() {
    copies_go_round(vec![s3(), direct()]);
}

/// A bucket is named with a slash and without, as source and as destination.
fn whole_buckets_are_copied(service: &Service) {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    fs::create_dir_all(here.join("src/d")).expect("a folder");
    fs::write(here.join("src/d/a"), b"abc").expect("a file");
    let bucket = &service.root;
    service.json(here, &["cp", "src/d/a", bucket]);
    service.json(here, &["cp", "-r", "src", &format!("{bucket}/")]);
    let direct = format!("direct://{}/three", here.display());
    for (from, to) in
        [(bucket.clone(), "one"), (format!("{bucket}/"), "two"), (format!("{bucket}/"), &direct)]
    {
        let lines = service.json(here, &["cp", "-r", &from, to]);
        assert_eq!(last(&lines)["files"], 2, "{from} {to}");
    }
    for copy in ["one", "two", "three"] {
        assert_eq!(fs::read(here.join(copy).join("a")).expect("a file"), b"abc");
        assert_eq!(fs::read(here.join(copy).join("d/a")).expect("a file"), b"abc");
    }
    for prefix in ["d", "d/"] {
        let lines = service.json(here, &["cp", "-r", &format!("{bucket}/{prefix}"), &format!("of {prefix}")]);
        assert_eq!(last(&lines)["files"], 1, "{prefix}");
    }
    assert_eq!(fs::read(here.join("of d/a")).expect("a file"), b"abc");
    let output = service.run(here, &["cp", bucket, "four"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("add -r"), "{said}");
    let output = service.run(here, &["cp", "-r", &format!("{bucket}/nothing"), "four"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn whole_buckets_are_copied_of_s3() {
    whole_buckets_are_copied(&in_files(&S3Server::start().expect("an S3 server starts")));
}

#[test]
fn whole_containers_are_copied_of_azure() {
    whole_buckets_are_copied(&azure());
}

/// An object is copied with -r as without it, and into a directory.
#[test]
fn one_object_is_copied_with_r_too() {
    let server = S3Server::start().expect("an S3 server starts");
    let (service, folder) = (in_files(&server), tempfile::tempdir().expect("a folder"));
    let here = folder.path();
    let object = format!("{}/d/one", service.root);
    fs::write(here.join("file"), b"abc").expect("a file");
    service.json(here, &["cp", "file", &object]);
    fs::create_dir(here.join("into")).expect("a folder");
    service.json(here, &["cp", "-r", &object, "copy"]);
    service.json(here, &["cp", "-r", &object, "into"]);
    service.json(here, &["cp", "-r", &object, &format!("{}/e/", service.root)]);
    for copy in [here.join("copy"), here.join("into/one"), server.files(server.bucket()).join("e/one")] {
        assert_eq!(fs::read(&copy).expect("a file"), b"abc", "{}", copy.display());
    }
    let output = service.run(here, &["cp", "-r", &object, &format!("{}/d/", service.root)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("the same object"), "{said}");
}

#[test]
fn no_key_leads_out_of_the_destination() {
    let server = FastServer::start(1).expect("a server starts");
    let (service, folder) = (in_memory(&server), tempfile::tempdir().expect("a folder"));
    let strange = ["../evil1", "a/../../../evil2", "..", "./dot", "a/./dot", "a//b", "/lead", "a/.."];
    for key in strange.iter().chain(&["good/..b", "good/c"]) {
        server.put(server.bucket(), &format!("trav/{key}"), *key);
    }
    let here = folder.path().join("deep/er");
    fs::create_dir_all(&here).expect("folders");
    let from = format!("{}/trav", service.root);
    let direct = format!("direct://{}/out2", here.display());
    for to in ["out1", &direct] {
        let output = service.run(&here, &["cp", "-r", &from, to, "--json"]);
        let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(
            said.lines().filter(|line| line.contains("names no file beneath DST")).count(),
            8,
            "{said}"
        );
        assert!(out.lines().last().is_some_and(|line| line.contains("\"files\":2")), "{out}");
    }
    let mut found = Vec::new();
    files_beneath(folder.path(), &mut found);
    let expected = ["out1/good/..b", "out1/good/c", "out2/good/..b", "out2/good/c"].map(|key| here.join(key));
    found.sort();
    assert_eq!(found, expected);
    // One by name, too.
    let output = service.run(&here, &["cp", &format!("{from}/.."), "out1/"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    // A service keeps such keys as they are.
    let copied = service.json(&here, &["cp", "-r", &from, "s3://forebay-test/other"]);
    assert_eq!(last(&copied)["files"], 10);
    assert_eq!(
        server.content(server.bucket(), "other/a/../../../evil2").expect("an object"),
        "a/../../../evil2"
    );
}

fn files_beneath(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files_beneath(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn what_stands_for_a_folder_is_passed_over_and_counted() {
    let server = FastServer::start(1).expect("a server starts");
    let (service, folder) = (in_memory(&server), tempfile::tempdir().expect("a folder"));
    for (key, content) in [("m/sub/", ""), ("m/sub/a", "abc"), ("m/full/", "x")] {
        server.put(server.bucket(), key, content);
    }
    let from = format!("{}/m", service.root);
    let output = service.run(folder.path(), &["cp", "-r", &from, "out"]);
    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(out, "copied 1 file, 3 B; passed over 1 that stand for folders; 1 failed\n");
    assert!(said.contains("1 bytes and a folder's name"), "{said}");
    assert_eq!(fs::read(folder.path().join("out/sub/a")).expect("a file"), b"abc");
    let glob = ["ls", "-r", "--glob", "**/*[!/]", &from];
    assert_eq!(service.json(folder.path(), &glob).len(), 1, "as formats.md has it");
    let lines =
        service.json(folder.path(), &["cp", "-r", &format!("{}/m/sub", service.root), "s3://forebay-test/n"]);
    assert_eq!((&last(&lines)["files"], &last(&lines)["folder_markers"]), (&1.into(), &0.into()));
}

#[test]
fn what_is_there_is_not_moved_before_it_is_skipped() {
    let (service, folder) = (azure(), tempfile::tempdir().expect("a folder"));
    fs::create_dir(folder.path().join("src")).expect("a folder");
    for name in ["a", "b"] {
        fs::write(folder.path().join("src").join(name), vec![1; 100_000]).expect("a file");
    }
    let to = format!("{}/set", service.root);
    service.json(folder.path(), &["cp", "-r", "src", &to]);
    for (from, to) in [("src", to.as_str()), (&to, "src")] {
        let lines = service.json(folder.path(), &["cp", "-r", "-n", from, to]);
        let summary = last(&lines);
        assert_eq!((&summary["skipped"], &summary["bytes"]), (&2.into(), &0.into()), "{from} {to}");
    }
}

/// s3s-fs says that the keys of its pages are encoded, and leaves them as they are.
#[test]
fn odd_names_are_listed_copied_loaded_and_removed_where_a_service_encodes_none() {
    let server = S3Server::start().expect("an S3 server starts");
    let (service, folder) = (in_files(&server), tempfile::tempdir().expect("a folder"));
    let here = folder.path();
    let name = "sp ace%41/a b+&?#é.txt";
    fs::create_dir_all(here.join("src/sp ace%41")).expect("a folder");
    fs::write(here.join("src").join(name), b"abc").expect("a file");
    fs::write(here.join("src/plain"), b"x").expect("a file");
    let root = format!("{}/set", service.root);
    service.json(here, &["cp", "-r", "src", &root]);
    let keys: Vec<_> =
        service.json(here, &["ls", "-r", &root]).into_iter().map(|line| line["key"].clone()).collect();
    assert!(keys.contains(&name.into()), "{keys:?}");
    service.json(here, &["cp", "-r", &root, "back"]);
    assert_eq!(fs::read(here.join("back").join(name)).expect("a file"), b"abc");
    assert_eq!(last(&service.json(here, &["load", &root]))["facts"]["samples"], 2);
    assert_eq!(last(&service.json(here, &["rm", "-r", &root]))["objects"], 2);
    let mut left = Vec::new();
    files_beneath(&server.files(server.bucket()), &mut left);
    assert!(left.is_empty(), "{left:?}");
}

/// A copy in parts that is under way: it is slow, and the server has begun an upload. What `end` does to it and its
/// source ends it.
fn ended_midway(end: impl FnOnce(Pid, &Path)) -> (Output, usize) {
    let server = FastServer::start(1).expect("a server starts");
    let (service, folder) = (in_memory(&server), tempfile::tempdir().expect("a folder"));
    let source = folder.path().join("big");
    fs::write(&source, vec![1; 40 << 20]).expect("a file");
    let to = format!("{}/big", service.root);
    // The first part passes at once, the others take seconds.
    let mut command =
        service.command(folder.path(), &["cp", "big", &to, "--store", "limit_bytes_per_second=9MiB"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command runs");
    let begin = Instant::now();
    while server.open_uploads() == 0 {
        assert_eq!(child.try_wait().expect("a child"), None, "ended before an upload began");
        assert!(begin.elapsed() < Duration::from_secs(60), "no upload began");
        std::thread::sleep(Duration::from_millis(1));
    }
    end(Pid::from_child(&child), &source);
    let output = child.wait_with_output().expect("it ends");
    assert!(server.content(server.bucket(), "big").is_none());
    (output, server.open_uploads())
}

#[test]
fn an_interrupted_copy_leaves_no_upload_behind() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (output, open) = ended_midway(|process, _| kill_process(process, signal).expect("a signal"));
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(open, 0, "{signal:?}");
    }
}

#[test]
fn a_copy_whose_source_shrinks_leaves_no_upload_behind() {
    let (output, open) = ended_midway(|_, source| {
        fs::OpenOptions::new().write(true).open(source).and_then(|file| file.set_len(100)).expect("a file");
    });
    assert!(!output.status.success());
    assert_eq!(open, 0);
}
