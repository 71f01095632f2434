//! Errors of system calls, as a caller can act on them.

use forebay_io::{Error, Kind, Location, Operation};
use rustix::io::Errno;

/// What `errno` means for `operation` at `location`.
pub fn os(operation: Operation, errno: Errno, location: &Location) -> Error {
    match errno {
        // What opening a socket answers, and a device without a driver.
        Errno::NXIO => not_a_file(operation, location),
        Errno::ISDIR => is_a_directory(operation, location),
        Errno::NFILE => Error::from_os(operation, errno.into())
            .context("the system is out of open files (raise fs.file-max)")
            .at(location),
        _ => Error::from_os(operation, errno.into()).at(location),
    }
}

/// The kind of [`os`].
pub(crate) fn kind(errno: Errno) -> Kind {
    Error::from_os(Operation::Read, errno.into()).kind()
}

/// What is asked for is a directory.
pub fn is_a_directory(operation: Operation, location: &Location) -> Error {
    Error::new(Kind::InvalidConfig, operation, "is a directory; name a file in it").at(location)
}

/// What is asked for is no file at all.
pub fn not_a_file(operation: Operation, location: &Location) -> Error {
    let context =
        "is neither a regular file nor a directory (a pipe, socket or device); only files can be read";
    Error::new(Kind::InvalidConfig, operation, context).at(location)
}

/// A file turned out to have another size than it had when it was opened.
pub fn changed(operation: Operation, location: &Location, was: u64, now: impl std::fmt::Display) -> Error {
    let context = format!("changed while it was read: was {was} bytes, {now}");
    Error::new(Kind::Precondition, operation, context).at(location)
}

/// A thread of the pool panicked under the job.
pub fn lost(operation: Operation, location: &Location) -> Error {
    Error::new(Kind::Unavailable, operation, "the thread that worked on it panicked; see its message")
        .with_retry(forebay_io::Retry::Never)
        .at(location)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that runs as root is denied nothing, so this is checked here and not with a file.
    #[test]
    fn errors_of_the_system_get_the_kind_a_caller_acts_on() {
        let location: Location = "file:///a".parse().unwrap();
        for (errno, kind) in [
            (Errno::ACCESS, Kind::Denied),
            (Errno::PERM, Kind::Denied),
            (Errno::ROFS, Kind::Denied),
            (Errno::NOENT, Kind::NotFound),
            (Errno::NOTDIR, Kind::NotFound),
            (Errno::MFILE, Kind::Unavailable),
            (Errno::NFILE, Kind::Unavailable),
            (Errno::IO, Kind::Unavailable),
            (Errno::NOSPC, Kind::Unavailable),
            (Errno::LOOP, Kind::InvalidConfig),
            (Errno::NAMETOOLONG, Kind::InvalidConfig),
            (Errno::ISDIR, Kind::InvalidConfig),
            (Errno::NXIO, Kind::InvalidConfig),
            (Errno::EXIST, Kind::AlreadyExists),
        ] {
            let error = os(Operation::Get, errno, &location);
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(error.location(), Some(&location));
        }
        let text = os(Operation::Get, Errno::MFILE, &location).to_string();
        assert!(text.contains("ulimit -n"), "{text}");
    }
}
