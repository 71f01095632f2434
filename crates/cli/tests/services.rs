//! Every command on a service, against a real server, and copies between any two schemes.

use forebay_io_testkit::servers::Azurite;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

/// Where a test may put its objects, and the environment that leads there.
struct Service {
    root: String,
    environment: Vec<(String, String)>,
    _server: Arc<Azurite>,
}

fn azure() -> Service {
    let azurite = Azurite::shared().expect("Azurite starts");
    let container = azurite.new_container().expect("a container");
    Service {
        root: format!("az://{container}"),
        environment: vec![("AZURE_STORAGE_CONNECTION_STRING".to_owned(), azurite.connection_string())],
        _server: azurite,
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

#[test]
fn every_command_works_on_azure() {
    let (service, folder) = (azure(), tempfile::tempdir().expect("a folder"));
    let (here, root) = (folder.path(), format!("{}/set", service.root));
    let made = service.json(here, &["gen", &root, "--files", "20", "--sizes", "fixed:10KiB", "--seed", "3"]);
    assert_eq!((&last(&made)["files"], &last(&made)["bytes"]), (&20.into(), &204_800.into()));
    assert_eq!(service.json(here, &["ls", &root]).len(), 20);
    let object = format!("{root}/00000007.bin");
    let stat = service.json(here, &["stat", &object]);
    assert_eq!((&stat[0]["type"], &stat[0]["size"]), (&"object".into(), &10_240.into()));
    assert_eq!(service.run(here, &["cat", &object]).stdout.len(), 10_240);
    let verified = service.json(here, &["verify", &root]);
    assert_eq!(last(&verified)["files"], 20);
    let loaded = service.json(here, &["load", &root, "--shuffle", "--batch-size", "8"]);
    assert_eq!(last(&loaded)["facts"]["samples"], 20);
    let removed = service.json(here, &["rm", "-r", &root]);
    assert_eq!(last(&removed)["objects"], 20);
    assert!(!service.run(here, &["stat", &object]).status.success());
}

#[test]
fn copies_go_between_files_and_azure_and_are_verified() {
    let (service, folder) = (azure(), tempfile::tempdir().expect("a folder"));
    let here = folder.path();
    // Larger than one part of an upload and one request of a read.
    let large: Vec<u8> = (0..20_000_003_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::create_dir(here.join("src")).expect("a folder");
    std::fs::write(here.join("src/large"), &large).expect("a file");
    std::fs::write(here.join("src/a b"), b"").expect("a file");
    let (there, again) = (format!("{}/x", service.root), format!("{}/y", service.root));
    for (from, to) in [("src", there.as_str()), (&there, &again), (&again, "back")] {
        let lines = service.json(here, &["cp", "-r", "--verify", from, to]);
        assert_eq!((&last(&lines)["files"], &last(&lines)["bytes"]), (&2.into(), &20_000_003.into()));
    }
    assert!(std::fs::read(here.join("back/large")).expect("a file") == large);
    assert!(std::fs::read(here.join("back/a b")).expect("a file").is_empty());
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
