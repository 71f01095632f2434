//! Azurite, Microsoft's emulator of Azure Blob, as a child process that ends with this one.
//!
//! It starts in about a second and keeps everything in memory. A range that starts exactly at the blob's
//! length it answers with 206 and no bytes.

use super::azurite_install::{Installed, NodeFrom, installed, installed_in};
use super::plain_http::{Answer, Ask};
use super::shared_key;
use crate::data::Tree;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// What it says when it is ready, in front of its URL.
const READY: &str = "successfully listens on http://";
/// What a path may hold as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// See the module's words. Ends, and its blobs are gone, when it is dropped.
#[derive(Debug)]
pub struct Azurite {
    child: Child,
    address: SocketAddr,
    containers: AtomicU64,
}

impl Azurite {
    /// The one account that it knows, as every Azure emulator does.
    pub const ACCOUNT: &'static str = "devstoreaccount1";
    /// The published key of that account.
    pub const KEY: &'static str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    /// The container that is there from the beginning, empty.
    pub const CONTAINER: &'static str = "forebay-test";

    /// Starts one, after installing it where that was not done before: once for each version under the build
    /// folder, which takes a minute and the network.
    ///
    /// # Errors
    /// It cannot be installed or does not start; the text says what it said.
    pub fn start() -> io::Result<Self> {
        let Installed { node, program } = installed()?;
        Self::run(Command::new(node), program)
    }

    /// Starts one that gives way to every other program (a nice value of 19), as a server on another machine would: for measuring a
    /// client beside which it has no processors of its own. Whoever does says so with the figures.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_giving_way() -> io::Result<Self> {
        let Installed { node, program } = installed()?;
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(node);
        Self::run(command, program)
    }

    /// Starts one that is installed in `folder`, and the Node.js it runs in too unless one is there already.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_in(folder: &Path, node: NodeFrom) -> io::Result<Self> {
        let Installed { node, program } = installed_in(folder, node)?;
        Self::run(Command::new(node), program)
    }

    /// `command` runs the program that is its next argument.
    fn run(mut command: Command, program: PathBuf) -> io::Result<Self> {
        command.arg(program);
        // Port 0: the system chooses, and nobody can take it in between.
        command.args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--silent"]);
        command.args(["--skipApiVersionCheck", "--disableTelemetry"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut said = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let address = loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                let mut errors = String::new();
                let _ = child.stderr.take().expect("stderr is piped").read_to_string(&mut errors);
                let status = child.wait()?;
                return Err(io::Error::other(format!("Azurite ended with {status}: {said}{errors}")));
            }
            if let Some((_, address)) = line.trim().split_once(READY) {
                break address.parse().map_err(|_| io::Error::other(format!("no address: {line:?}")))?;
            }
            said.push_str(&line);
        };
        // Read on, so that it never waits for a full pipe.
        drain(lines);
        drain(child.stderr.take().expect("stderr is piped"));
        let azurite = Azurite { child, address, containers: AtomicU64::new(0) };
        azurite.make_container(Self::CONTAINER)?;
        Ok(azurite)
    }

    /// The one that runs for other tests of this process at the moment, or a new one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn shared() -> io::Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Azurite>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock();
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// `http://127.0.0.1:PORT/devstoreaccount1`: emulators have the account in the path.
    pub fn endpoint(&self) -> String {
        format!("http://{}/{}", self.address, Self::ACCOUNT)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of [`CONTAINER`](Self::CONTAINER).
    pub fn container(&self) -> &str {
        Self::CONTAINER
    }

    /// What Azure's tools take as one string.
    pub fn connection_string(&self) -> String {
        let (account, key) = (Self::ACCOUNT, Self::KEY);
        format!(
            "DefaultEndpointsProtocol=http;AccountName={account};AccountKey={key};BlobEndpoint={};",
            self.endpoint()
        )
    }

    /// A shared access signature for the account, without a leading `?`. It allows everything.
    pub fn sas(&self) -> String {
        shared_key::account_sas(Self::ACCOUNT, Self::KEY)
    }

    /// Makes another container, empty, and names it.
    ///
    /// # Errors
    /// What the connection or the server says.
    pub fn new_container(&self) -> io::Result<String> {
        let name = format!("forebay-test-{}", self.containers.fetch_add(1, Ordering::Relaxed));
        self.make_container(&name)?;
        Ok(name)
    }

    fn make_container(&self, name: &str) -> io::Result<()> {
        self.expect(201, Ask::new("PUT", &format!("/{}/{name}?restype=container", Self::ACCOUNT)))
    }

    /// Puts a tree's objects into `container` beneath `prefix`.
    ///
    /// # Errors
    /// What the connection or the server says.
    pub fn seed(&self, container: &str, prefix: &str, tree: &Tree) -> io::Result<()> {
        for (key, content) in tree.iter() {
            let path = percent_encode(&[prefix.as_bytes(), key].concat(), PATH).to_string();
            let ask = Ask::new("PUT", &format!("/{}/{container}/{path}", Self::ACCOUNT));
            self.expect(201, ask.header("x-ms-blob-type", "BlockBlob").body(content.to_vec()))?;
        }
        Ok(())
    }

    /// Signs and sends a request, whose target begins with the account.
    ///
    /// # Errors
    /// What the connection says.
    pub fn ask(&self, ask: Ask) -> io::Result<Answer> {
        shared_key::sign(ask, Self::ACCOUNT, Self::KEY).send(self.address)
    }

    fn expect(&self, status: u16, ask: Ask) -> io::Result<()> {
        let what = format!("{} {}", ask.method(), ask.target());
        let answer = self.ask(ask)?;
        if answer.status != status {
            let text = answer.text();
            return Err(io::Error::other(format!("Azurite answered {what} with {}: {text}", answer.status)));
        }
        Ok(())
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drain(mut from: impl Read + Send + 'static) {
    std::thread::spawn(move || io::copy(&mut from, &mut io::sink()));
}
