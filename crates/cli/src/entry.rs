//! One object or directory as `ls`, `stat` and others show it.

use forebay_io::{EntryKind, Location, Meta};
use forebay_metrics::units;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};

/// What people call the kind.
pub(crate) fn kind_name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Object => "object",
        EntryKind::Directory => "directory",
    }
}

/// A time as RFC 3339 in UTC, to the second. None where that form has no way to say it.
pub(crate) fn rfc3339(time: SystemTime) -> Option<String> {
    /// 10000-01-01T00:00:00Z, which has a digit too many.
    const END: Duration = Duration::from_secs(253_402_300_800);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (since < END).then(|| humantime::format_rfc3339_seconds(time).to_string())
}

/// The JSON form: `{"type", "location", "key"?, "size"?, "modified"?, "version"?}`.
pub(crate) fn to_json(
    location: &Location,
    key: Option<&[u8]>,
    kind: EntryKind,
    meta: Option<&Meta>,
) -> Value {
    let mut map = Map::new();
    let mut set = |name: &str, value: Value| drop(map.insert(name.to_owned(), value));
    set("type", kind_name(kind).into());
    set("location", location.to_string().into());
    if let Some(key) = key {
        set("key", String::from_utf8_lossy(key).into());
    }
    if let Some(meta) = meta {
        if kind == EntryKind::Object {
            set("size", meta.size.into());
        }
        if let Some(modified) = meta.modified.and_then(rfc3339) {
            set("modified", modified.into());
        }
        if let Some(version) = &meta.version {
            set("version", version.as_str().into());
        }
    }
    Value::Object(map)
}

/// A key as a line of text. A pipe gets the bytes as they are; a terminal gets no character that
/// would move its cursor or hide another.
pub(crate) fn shown(key: &[u8], on_terminal: bool) -> Vec<u8> {
    if !on_terminal {
        return key.to_vec();
    }
    let mut text = String::with_capacity(key.len());
    for c in String::from_utf8_lossy(key).chars() {
        match c {
            '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' => {
                text.extend(c.escape_unicode());
            }
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text.into_bytes()
}

/// Columns of `ls -l`: size and time.
pub(crate) fn columns(kind: EntryKind, meta: Option<&Meta>) -> String {
    let size = match (kind, meta) {
        (EntryKind::Object, Some(meta)) => units::count(meta.size),
        _ => "-".to_owned(),
    };
    let modified = meta.and_then(|meta| meta.modified).and_then(rfc3339).unwrap_or_else(|| "-".to_owned());
    format!("{size:>15}  {modified:<20}  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc3339_or_nothing() {
        let at = |s: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        assert_eq!(rfc3339(at(1_000_000_000)).as_deref(), Some("2001-09-09T01:46:40Z"));
        assert_eq!(rfc3339(at(253_402_300_799)).as_deref(), Some("9999-12-31T23:59:59Z"));
        assert_eq!(rfc3339(at(253_402_300_800)), None);
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
    }

    #[test]
    fn a_terminal_is_not_steered_by_names() {
        assert_eq!(shown("ä \x1b[2J\n".as_bytes(), true), "ä \\u{1b}[2J\\n".as_bytes());
        assert_eq!(shown("a\u{202E}b".as_bytes(), true), b"a\\u{202e}b");
        assert_eq!(shown(b"\xff\n", false), b"\xff\n");
    }
}
