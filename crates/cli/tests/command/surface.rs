//! What all commands have in common: help, errors, colours.

use crate::run::{Place, lines};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::Read;
use std::process::Command;

const COMMANDS: [&str; 9] = ["ls", "stat", "cat", "cp", "rm", "gen", "verify", "load", "report"];

#[test]
fn help_documents_json_and_exit_codes_of_every_command() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        let own = place.ok(&[command, "--help"]);
        for needle in ["With --json", "Exit codes:", "  130  "] {
            assert!(own.contains(needle), "{command} lacks {needle}: {own}");
        }
    }
    assert!(place.ok(&["--version"]).starts_with("forebay 0."));
}

#[test]
fn wrong_usage_is_code_2_with_the_nearest_right_one() {
    let place = Place::new();
    assert!(place.fails(2, &["laod", "x"]).contains("load"));
    assert!(place.fails(2, &["ls", "--recursiv"]).contains("--recursive"));
    assert!(place.fails(2, &[]).contains("Usage:"));
    let text = place.fails(2, &["ls", "ss3://bucket/key"]);
    assert!(text.contains("\"ss3\"") && text.contains("did you mean s3"), "{text}");
    assert!(place.fails(2, &["ls", "file://data"]).contains("file:///data"));
    assert!(place.fails(2, &["ls", "--store", "thread=1"]).contains("did you mean threads"));
    assert!(place.fails(2, &["ls", "--store", "threads"]).contains("KEY=VALUE"));
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let place = Place::new();
    for (arguments, kind, code) in [
        (&["--json", "stat", "missing"][..], "not_found", 3),
        (&["cat", "missing", "--json"], "not_found", 3),
        (&["load", "missing", "--json"], "not_found", 3),
        (&["ls", "--json", "--recursiv"], "invalid_config", 2),
        (&["cp", ".", "x", "--json"], "invalid_config", 2),
    ] {
        let outcome = place.run(arguments);
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(code), ""), "{arguments:?}");
        let errors = lines(&outcome.err);
        assert_eq!(errors.len(), 1, "{arguments:?}");
        assert_eq!(
            (&errors[0]["error"]["kind"], &errors[0]["error"]["exit_code"]),
            (&kind.into(), &code.into())
        );
        assert!(!errors[0]["error"]["message"].as_str().unwrap().is_empty());
    }
}

/// What a command prints to a terminal, both streams together.
fn on_a_terminal(mut command: Command) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let open = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut child = command.env("TERM", "xterm").stdout(open()).stderr(open()).spawn().unwrap();
    drop(command);
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        // The terminal ends with an error when its last writer is gone.
        let _ = File::from(terminal).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    assert!(child.wait().unwrap().success());
    reader.join().unwrap()
}

#[test]
fn colours_and_progress_are_for_terminals_only() {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "200", "--sizes", "fixed:64KiB"]);
    let arguments = ["load", "set", "--batch-size", "4"];
    let text = on_a_terminal(place.command(&arguments));
    assert!(text.contains("\x1b[1m"), "headings stand out: {text:?}");
    assert!(text.contains("epoch 1/1") && text.contains("/50 batches"), "progress: {text:?}");
    // Slowed down, so that there is something to say before the end.
    let slow = [&arguments[..], &["--store", "limit_bytes_per_second=5MiB"]].concat();
    let text = on_a_terminal(place.command(&slow));
    for needle in [" MiB/s  p99 ", "  ready ", " left"] {
        assert!(text.contains(needle), "{needle}: {text:?}");
    }
    let text = on_a_terminal(place.command(&[&slow[..], &["--progress", "never"]].concat()));
    assert!(!text.contains("/50 batches") && !text.contains("MiB/s  p99 "), "{text:?}");
    assert!(on_a_terminal(place.command(&["ls"])).contains("\x1b[1m\x1b[34mset\x1b[0m/"));

    let mut plain = place.command(&["ls"]);
    plain.env("NO_COLOR", "1");
    assert!(!on_a_terminal(plain).contains('\x1b'));
    for arguments in [&arguments[..], &["ls"], &["ls", "missing"], &["--help"], &["verify", "set"]] {
        let outcome = place.run(arguments);
        assert!(!outcome.out.contains('\x1b') && !outcome.err.contains('\x1b'), "{arguments:?}: {outcome:?}");
        assert!(!outcome.err.contains("batches"), "no progress in a pipe: {outcome:?}");
    }
}

#[test]
fn a_terminal_is_not_steered_by_names() {
    let place = Place::new();
    place.write("a\x1b[31mb", "");
    assert!(on_a_terminal(place.command(&["ls"])).contains("a\\u{1b}[31mb"));
    assert_eq!(place.ok(&["ls"]), "a\x1b[31mb\n", "a pipe gets names as they are");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let place = Place::new();
    place.write("file", "x");
    for arguments in [&["ls"][..], &["cat", "file"], &["stat", "file", "--json"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = place.command(arguments).stdout(full).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(text.contains("cannot write to standard output: No space left"), "{arguments:?}: {text}");
    }
}

#[test]
fn what_happens_inside_is_told_to_those_who_ask() {
    let place = Place::new();
    place.ok(&["gen", "set", "--files", "10", "--sizes", "fixed:1KiB"]);
    place.ok(&["load", "set"]);
    let outcome = place.run(&["load", "set", "--log", "forebay=debug"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let told = |needle: &str| outcome.err.lines().filter(|line| line.contains(needle)).count();
    assert_eq!(told(" forebay::operation: close"), 11, "ten reads and a listing: {}", outcome.err);
    assert_eq!(told("bytes=1024"), 10, "{}", outcome.err);
    assert_eq!((told(" forebay::batch: close"), told(" forebay::stage: close")), (1, 1), "{}", outcome.err);
    assert!(!outcome.err.contains('\x1b') && !outcome.out.contains("close"));

    let mut by_environment = place.command(&["cat", "missing", "--json"]);
    let output = by_environment.env("FOREBAY_LOG", "forebay::operation=debug").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let told = lines(&text);
    assert!(told.iter().any(|line| line["span"]["error"] == "not_found"), "{text}");
    let text = place.fails(2, &["ls", "--log", "forebay=loud"]);
    assert!(text.contains("--log") && text.contains("forebay=debug"), "{text}");
}
