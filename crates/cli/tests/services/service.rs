//! Services that a test runs commands on.

use forebay_io_testkit::servers::{Azurite, FastServer, S3Server};
use serde_json::Value;
use std::any::Any;
use std::path::Path;
use std::process::{Command, Output};

/// Where a test may put its objects, and the environment that leads there.
pub(crate) struct Service {
    pub(crate) root: String,
    pub(crate) environment: Vec<(String, String)>,
    /// Servers and folders, while the test runs.
    pub(crate) _kept: Vec<Box<dyn Any>>,
}

pub(crate) fn azure() -> Service {
    let azurite = Azurite::shared().expect("Azurite starts");
    let container = azurite.new_container().expect("a container");
    Service {
        root: format!("az://{container}"),
        environment: vec![("AZURE_STORAGE_CONNECTION_STRING".to_owned(), azurite.connection_string())],
        _kept: vec![Box::new(azurite)],
    }
}

pub(crate) fn s3() -> Service {
    let server = S3Server::start().expect("an S3 server starts");
    let root = format!("s3://{}/root", server.bucket());
    let environment = keys_of_s3(server.endpoint());
    Service { root, environment, _kept: vec![Box::new(server)] }
}

/// All of a server's bucket.
pub(crate) fn in_files(server: &S3Server) -> Service {
    Service {
        root: format!("s3://{}", server.bucket()),
        environment: keys_of_s3(server.endpoint()),
        _kept: Vec::new(),
    }
}

/// On a server that takes any key, the usual one being files.
pub(crate) fn in_memory(server: &FastServer) -> Service {
    Service {
        root: format!("s3://{}", server.bucket()),
        environment: keys_of_s3(server.s3_endpoint()),
        _kept: Vec::new(),
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

pub(crate) fn direct() -> Service {
    let folder = tempfile::tempdir().expect("a folder");
    Service {
        root: format!("direct://{}", folder.path().display()),
        environment: Vec::new(),
        _kept: vec![Box::new(folder)],
    }
}

pub(crate) fn files() -> Service {
    let folder = tempfile::tempdir().expect("a folder");
    Service {
        root: format!("file://{}", folder.path().display()),
        environment: Vec::new(),
        _kept: vec![Box::new(folder)],
    }
}

impl Service {
    pub(crate) fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.args(arguments).current_dir(folder).env_clear();
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    pub(crate) fn run(&self, folder: &Path, arguments: &[&str]) -> Output {
        self.command(folder, arguments).output().expect("the command runs")
    }

    /// Runs what must succeed; its lines.
    pub(crate) fn json(&self, folder: &Path, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(folder, &[arguments, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{arguments:?}: {errors}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

pub(crate) fn last(lines: &[Value]) -> &Value {
    lines.last().expect("a line")
}
