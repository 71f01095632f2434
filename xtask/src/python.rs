//! The Python side: one virtual environment under the target folder, and our package built into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::shell;
use crate::workspace::Workspace;

/// What the tests need, pinned; one requirement a line.
const REQUIREMENTS: &str = "crates/py/requirements-test.txt";

/// How the extension module is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As the tests of the Rust crates are: quick to build.
    Dev,
    /// As people install it: what a demonstration or a measurement must use.
    Release,
}

/// Whether PyTorch is part of the environment. It is by far the largest thing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Torch {
    With,
    Without,
}

/// A virtual environment that holds the pinned requirements.
#[derive(Debug)]
pub(crate) struct Venv {
    root: PathBuf,
    folder: PathBuf,
    torch: Torch,
}

impl Venv {
    /// Makes the environment, or takes the one that is there, and brings its packages to the pinned
    /// versions. An environment that already has PyTorch keeps it.
    pub(crate) fn open(workspace: &Workspace, torch: Torch) -> anyhow::Result<Self> {
        let folder = workspace.target().join("venv");
        let venv = Self { root: workspace.root().to_owned(), folder, torch };
        if shell::read(&mut venv.python(["-c", "import pip"])).is_err() {
            venv.create()?;
        }
        venv.install_file(&workspace.root().join(REQUIREMENTS))?;
        Ok(venv)
    }

    /// Brings the environment to the versions that a requirements file pins.
    pub(crate) fn install_file(&self, path: &Path) -> anyhow::Result<()> {
        let all = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let wanted: Vec<_> =
            requirements(&all).filter(|r| self.torch == Torch::With || !is_torch(r)).collect();
        self.install(&wanted)
    }

    fn create(&self) -> anyhow::Result<()> {
        let python = python_3_11(&self.root)?;
        let mut make = shell::command(&self.root, &python, ["-m", "venv", "--clear"]);
        shell::run(make.arg(&self.folder)).context(
            "cannot make a virtual environment; where Python is packaged apart from `venv`, install \
             that too (Debian: python3-venv)",
        )
    }

    /// Installs these requirements unless they are there already; pip is only asked when something changed.
    fn install(&self, wanted: &[&str]) -> anyhow::Result<()> {
        if self.has(wanted)? {
            return Ok(());
        }
        if wanted.iter().any(|requirement| is_torch(requirement)) {
            println!("installing PyTorch, once: several gigabytes unless pip is told of a CPU-only build");
        }
        shell::run(
            self.python(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(wanted),
        )
    }

    /// Whether every `name==version` is what the environment holds.
    fn has(&self, wanted: &[&str]) -> anyhow::Result<bool> {
        let held = shell::read(&mut self.python(["-m", "pip", "list", "--format=freeze"]))?;
        let held: Vec<_> = requirements(&held).map(normalised).collect();
        // A local version, as in `torch==2.15.0+cpu`, satisfies the pin without it.
        let satisfied = |want: &&str| {
            let want = normalised(want);
            held.iter().any(|have| *have == want || have.starts_with(&format!("{want}+")))
        };
        Ok(wanted.iter().all(satisfied))
    }

    /// Builds the wheel of `crates/py` and installs it, as people do: what a wheel lacks is missed here too.
    pub(crate) fn install_package(&self, profile: Profile) -> anyhow::Result<()> {
        let wheels = self.folder.with_file_name("wheels");
        if wheels.exists() {
            fs::remove_dir_all(&wheels).with_context(|| format!("cannot remove {}", wheels.display()))?;
        }
        let mut build = self.python(["-m", "maturin", "build", "--quiet"]);
        build.args(["--manifest-path", "crates/py/Cargo.toml", "--interpreter"]).arg(self.interpreter());
        build.arg("--out").arg(&wheels);
        if profile == Profile::Release {
            build.arg("--release");
        }
        shell::run(&mut build).context("cannot build the Python package")?;
        let built: Vec<_> = fs::read_dir(&wheels)?.collect::<Result<_, _>>()?;
        let [wheel] = &built[..] else {
            bail!("{} wheels in {}; one was built", built.len(), wheels.display());
        };
        // The version stays while the content changes, so pip has to be told to replace it.
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
        shell::run(self.python(install).arg("--force-reinstall").arg(wheel.path()))
    }

    fn interpreter(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// Python in this environment, started in the repository's root, its programs first on the path.
    pub(crate) fn python<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let bin = self.folder.join("bin");
        let mut command = shell::command(&self.root, self.interpreter(), args);
        // Somebody's own packages must not stand in for the pinned ones.
        command.env_remove("PYTHONPATH").env_remove("PYTHONHOME").env("PYTHONNOUSERSITE", "1");
        command.env("PATH", path_with(&bin));
        command
    }

    pub(crate) fn torch(&self) -> Torch {
        self.torch
    }
}

/// The search path with this folder in front.
pub(crate) fn path_with(folder: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).expect("a folder without `:` in its name")
}

/// An interpreter new enough for the package; `PYTHON` names one where several are installed.
fn python_3_11(root: &Path) -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("PYTHON").map(PathBuf::from);
    let candidates = match named {
        Some(python) => vec![python],
        None => ["python3", "python3.13", "python3.12", "python3.11"].map(PathBuf::from).to_vec(),
    };
    for python in &candidates {
        let new_enough = "import sys; print(sys.version_info >= (3, 11))";
        let said = shell::read(&mut shell::command(root, python, ["-c", new_enough]));
        if said.is_ok_and(|said| said.trim() == "True") {
            return Ok(python.clone());
        }
    }
    let tried: Vec<_> = candidates.iter().map(|python| python.display().to_string()).collect();
    bail!("no Python 3.11 or newer among {}; install one or name it in PYTHON", tried.join(", "))
}

/// The requirements of a pip file, comments left out.
fn requirements(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|line| !line.is_empty())
}

/// PyTorch, or what brings it along.
fn is_torch(requirement: &str) -> bool {
    ["torch==", "torchdata=="].iter().any(|name| requirement.starts_with(name))
}

/// pip spells a name in several ways that mean the same.
fn normalised(requirement: &str) -> String {
    requirement.to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_lines_without_comments() {
        let text = "# why\nnumpy==2.4.6\n\npytest==9.2.0  # runner\n";
        assert_eq!(requirements(text).collect::<Vec<_>>(), ["numpy==2.4.6", "pytest==9.2.0"]);
    }

    #[test]
    fn only_torch_and_what_needs_it_is_torch() {
        assert!(is_torch("torch==2.15.0") && is_torch("torchdata==0.11.0"));
        assert!(!is_torch("torchvision==0.30.0"));
    }
}
