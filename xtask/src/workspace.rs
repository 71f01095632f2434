//! Where things are: the repository's root, its target folder and its packages, as cargo sees them.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The workspace as `cargo metadata` describes it, read once a run.
#[derive(Debug)]
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Asks cargo about the workspace that this program was built from.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let metadata = MetadataCommand::new()
            .manifest_path(&manifest)
            .exec()
            .with_context(|| format!("cargo metadata for {}", manifest.display()))?;
        Ok(Self { metadata })
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// The build folder, `CARGO_TARGET_DIR` respected; tools, data and environments live there too.
    pub(crate) fn target(&self) -> &Path {
        self.metadata.target_directory.as_std_path()
    }

    /// A program built from this workspace, `profile` being `debug` or `release`.
    pub(crate) fn binary(&self, profile: &str, name: &str) -> PathBuf {
        self.target().join(profile).join(name)
    }

    /// The workspace's packages with the folder of each, relative to the root and `/`-separated.
    pub(crate) fn packages(&self) -> impl Iterator<Item = (&Package, String)> {
        self.metadata.workspace_packages().into_iter().map(|package| {
            let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
            let folder = folder.strip_prefix(&self.metadata.workspace_root).unwrap_or(folder);
            (package, folder.to_string())
        })
    }

    /// Fails unless a package of this name is part of the workspace.
    pub(crate) fn require(&self, name: &str) -> anyhow::Result<()> {
        if !self.packages().any(|(package, _)| package.name == name) {
            let have: Vec<_> = self.packages().map(|(package, _)| package.name.to_string()).collect();
            bail!("the workspace has no package `{name}`; it has {}", have.join(", "));
        }
        Ok(())
    }
}
