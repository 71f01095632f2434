//! One line of `strace -f -ttt`: who, when, which system call with which arguments, what it returned.

/// A call that has returned, or the one half of it that a line shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call<'a> {
    /// 0 where the lines have none: a single process.
    pub(super) pid: u64,
    /// As it stands: seconds with microseconds.
    pub(super) time: &'a str,
    pub(super) part: Part<'a>,
}

/// How much of a call a line shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part<'a> {
    /// `read(3, "…", 4096) = 4096 <0.000012>`
    Whole { name: &'a str, args: &'a str, ret: &'a str, took: Option<&'a str> },
    /// `read(3, <unfinished ...>`
    Begun { name: &'a str, args: &'a str },
    /// `<... read resumed>"…", 4096) = 4096 <0.000012>`
    Resumed { name: &'a str, args: &'a str, ret: &'a str, took: Option<&'a str> },
    /// A signal, an exit: nothing of I/O.
    Other,
}

impl<'a> Call<'a> {
    /// Reads a line; none if it is not of this form at all.
    pub(super) fn parse(line: &'a str) -> Option<Call<'a>> {
        let mut rest = line.trim();
        let mut pid = 0;
        if let Some(inner) = rest.strip_prefix("[pid") {
            let (number, after) = inner.split_once(']')?;
            (pid, rest) = (number.trim().parse().ok()?, after.trim_start());
        } else {
            let (word, after) = rest.split_once(' ')?;
            if !word.contains('.') {
                (pid, rest) = (word.parse().ok()?, after.trim_start());
            }
        }
        let (time, rest) = rest.split_once(' ')?;
        let (whole, fraction) = time.split_once('.')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return None;
        }
        Some(Call { pid, time, part: part(rest.trim()) })
    }
}

fn part(text: &str) -> Part<'_> {
    if let Some(rest) = text.strip_prefix("<... ") {
        let Some((name, after)) = rest.split_once(" resumed>") else { return Part::Other };
        return match returned(after) {
            Some((args, ret, took)) => Part::Resumed { name, args, ret, took },
            None => Part::Other,
        };
    }
    let Some((name, after)) = text.split_once('(') else { return Part::Other };
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Part::Other;
    }
    if let Some(args) = after.strip_suffix("<unfinished ...>") {
        return Part::Begun { name, args };
    }
    match returned(after) {
        Some((args, ret, took)) => Part::Whole { name, args, ret, took },
        None => Part::Other,
    }
}

/// Arguments, result and duration of `ARGS) = RET [<TOOK>]`.
fn returned(text: &str) -> Option<(&str, &str, Option<&str>)> {
    // From the right: what was read or written may hold anything. With -y the result may be a name, which may too.
    let (args, result) = text.rmatch_indices(" = ").find_map(|(at, equals)| {
        Some((text[..at].trim_end().strip_suffix(')')?, text[at + equals.len()..].trim()))
    })?;
    let (result, took) =
        match result.rsplit_once(" <").and_then(|(r, took)| Some((r, took.strip_suffix('>')?))) {
            Some((result, took)) => (result, Some(took)),
            None => (result, None),
        };
    Some((args, result, took))
}

/// Splits arguments at their commas, outside quotes and brackets. What -y says of a descriptor is in angular ones, within
/// which only those are escaped.
pub(super) fn split(args: &str) -> Vec<&str> {
    let (mut out, mut begin, mut depth) = (Vec::new(), 0, 0usize);
    let (mut quoted, mut escaped, mut said) = (false, false, false);
    for (i, b) in args.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'>' if said => said = false,
            _ if said => {}
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'<' => said = !args[i + 1..].starts_with('<') && !args[..i].ends_with('<'),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                out.push(args[begin..i].trim());
                begin = i + 1;
            }
            _ => {}
        }
    }
    let last = args[begin..].trim();
    if !last.is_empty() {
        out.push(last);
    }
    out
}

/// The text of a quoted argument: escapes as strace writes them. None if it is not one, or was cut short.
pub(super) fn unquote(arg: &str) -> Option<Vec<u8>> {
    unescape(arg.strip_prefix('"')?.strip_suffix('"')?)
}

/// What -y says that a descriptor is: `/name` of `3</name>`, without what is said of a file that has none any more.
/// None where nothing is said.
pub(super) fn name_at(arg: &str) -> Option<Vec<u8>> {
    let (_, name) = arg.split_once('<')?;
    let name = name.strip_suffix("(deleted)").unwrap_or(name).strip_suffix('>')?;
    unescape(name.strip_suffix(" (deleted)").unwrap_or(name))
}

/// Bytes of which strace wrote those that are not printable as escapes.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes().peekable();
    while let Some(b) = bytes.next() {
        if b != b'\\' {
            out.push(b);
            continue;
        }
        match bytes.next()? {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'v' => out.push(0x0b),
            b'f' => out.push(0x0c),
            digit @ b'0'..=b'7' => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    match bytes.peek() {
                        Some(d @ b'0'..=b'7') => value = value * 8 + u32::from(d - b'0'),
                        _ => break,
                    }
                    bytes.next();
                }
                out.push(u8::try_from(value).ok()?);
            }
            b'x' => {
                let hex: Vec<u8> = bytes.by_ref().take(2).collect();
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
            }
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let call = Call::parse(r#"1234  1700000000.123456 read(3, "a\"), = b"..., 4096) = 4096 <0.000012>"#)
            .unwrap();
        assert_eq!((call.pid, call.time), (1234, "1700000000.123456"));
        let Part::Whole { name, args, ret, took } = call.part else { panic!("{call:?}") };
        assert_eq!((name, ret, took), ("read", "4096", Some("0.000012")));
        assert_eq!(split(args), ["3", r#""a\"), = b"..."#, "4096"]);

        let begun = Call::parse("[pid  7] 1.5 pread64(3,  <unfinished ...>").unwrap();
        assert_eq!((begun.pid, begun.part), (7, Part::Begun { name: "pread64", args: "3,  " }));
        let failed =
            Call::parse(r#"1.5 openat(AT_FDCWD, "x", O_RDONLY) = -1 ENOENT (No such file)"#).unwrap();
        assert!(
            matches!(failed.part, Part::Whole { ret: "-1 ENOENT (No such file)", took: None, .. }),
            "{failed:?}"
        );
        assert_eq!(Call::parse("9 1.5 +++ exited with 0 +++").unwrap().part, Part::Other);
        for line in ["", "x", "12:00:00 read(3)", "1 2 3", "1. read()"] {
            assert_eq!(Call::parse(line), None, "{line}");
        }
    }

    #[test]
    fn quoted_names_are_bytes() {
        assert_eq!(unquote(r#""/a\40b\303\244\n\x41""#).unwrap(), b"/a b\xc3\xa4\nA");
        assert_eq!(unquote(r#""cut"..."#), None);
        assert_eq!(unquote("AT_FDCWD"), None);
    }

    #[test]
    fn what_is_said_of_a_descriptor_is_no_argument_of_its_own() {
        let line = r#"7 1.5 openat(AT_FDCWD</a, (b>, "c", O_RDONLY) = 3</a, (b/x = \303\244 \74> <0.000012>"#;
        let Part::Whole { args, ret, took, .. } = Call::parse(line).unwrap().part else { panic!("{line}") };
        assert_eq!(split(args), ["AT_FDCWD</a, (b>", "\"c\"", "O_RDONLY"]);
        assert_eq!(took, Some("0.000012"));
        assert_eq!(name_at(ret).unwrap(), "/a, (b/x = ä <".as_bytes());
        for gone in ["3</t (deleted)>", "3</t>(deleted)"] {
            assert_eq!(name_at(gone).unwrap(), b"/t");
        }
        assert_eq!(name_at("3<pipe:[7]>").unwrap(), b"pipe:[7]");
        assert_eq!(name_at("3"), None);
    }
}
