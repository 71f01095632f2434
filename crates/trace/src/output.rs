//! A file that is compressed if its name ends in `.zst`.

use crate::error::{Error, Result};
use crate::writer::is_compressed;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

pub(crate) struct Output {
    path: PathBuf,
    inner: Inner,
}

enum Inner {
    Plain(BufWriter<File>),
    Zstd(Box<zstd::Encoder<'static, BufWriter<File>>>),
}

impl Output {
    pub(crate) fn create(path: &Path) -> Result<Output> {
        let file = BufWriter::with_capacity(1 << 16, File::create(path).map_err(Error::file(path))?);
        let inner = match is_compressed(path) {
            true => Inner::Zstd(Box::new(zstd::Encoder::new(file, 3).map_err(Error::file(path))?)),
            false => Inner::Plain(file),
        };
        Ok(Output { path: path.to_owned(), inner })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let result = match &mut self.inner {
            Inner::Plain(out) => out.write_all(bytes),
            Inner::Zstd(out) => out.write_all(bytes),
        };
        result.map_err(Error::file(&self.path))
    }

    pub(crate) fn finish(self) -> Result<()> {
        let mut out = match self.inner {
            Inner::Plain(out) => out,
            Inner::Zstd(out) => out.finish().map_err(Error::file(&self.path))?,
        };
        out.flush().map_err(Error::file(&self.path))
    }
}
