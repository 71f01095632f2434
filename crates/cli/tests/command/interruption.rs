//! Ctrl-C: at once, cleanly, and with a word on what was done.

use crate::run::{Place, lines, tree};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

/// An interrupted command is gone within this.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Slow enough that no test data passes before the signal does.
const SLOW: &str = "limit_bytes_per_second=1MiB";

struct Running(Child);

impl Running {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = place.command(arguments);
        Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits until something can be seen of the process from outside.
    fn until(&mut self, what: &str, seen: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        let process = format!("/proc/{}", self.0.id());
        while !seen(&process) {
            assert_eq!(self.0.try_wait().unwrap(), None, "ended before {what}");
            assert!(begin.elapsed() < Duration::from_secs(30), "never {what}");
            std::thread::yield_now();
        }
    }

    /// Waits until the process listens to signals.
    fn until_it_listens(&mut self) {
        self.until("listened to SIGINT", |process| {
            let status = fs::read_to_string(format!("{process}/status")).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
            u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0
        });
    }

    /// Waits until the process has read so many bytes.
    fn until_it_has_read(&mut self, bytes: u64) {
        self.until("read that much", |process| {
            let told = fs::read_to_string(format!("{process}/io")).unwrap_or_default();
            let read = told.lines().find_map(|line| line.strip_prefix("rchar: "));
            read.is_some_and(|read| read.parse::<u64>().unwrap() >= bytes)
        });
    }

    /// Waits until the process has a file open whose path has this in it.
    fn until_it_has_open(&mut self, part: &str) {
        self.until("opened the file", |process| {
            let files = fs::read_dir(format!("{process}/fd")).into_iter().flatten().flatten();
            files
                .into_iter()
                .any(|file| fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().contains(part)))
        });
    }

    fn signal(self, signal: Signal) -> Output {
        let begin = Instant::now();
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        let output = self.0.wait_with_output().unwrap();
        assert!(begin.elapsed() < AT_ONCE, "took {:?}", begin.elapsed());
        assert_eq!(output.status.signal(), None, "it ended by itself");
        output
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn set(place: &Place) {
    place.ok(&["gen", "set", "--files", "64", "--sizes", "fixed:1MiB"]);
}

#[test]
fn a_load_ends_with_its_report() {
    let place = Place::new();
    set(&place);
    let mut run =
        Running::start(&place, &["load", "set", "--store", SLOW, "--batch-size", "1", "--epochs", "99"]);
    run.until_it_listens();
    let output = run.signal(Signal::INT);
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("interrupted: loaded "), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Loaded "), "the report: {}", text(&output.stdout));
}

#[test]
fn json_says_what_was_done() {
    let place = Place::new();
    set(&place);
    let mut run = Running::start(&place, &["load", "set", "--store", SLOW, "--epochs", "99", "--json"]);
    run.until_it_listens();
    let output = run.signal(Signal::INT);
    assert_eq!(output.status.code(), Some(130));
    let error = &lines(&text(&output.stderr))[0];
    assert_eq!((&error["error"]["kind"], &error["error"]["exit_code"]), (&"interrupted".into(), &130.into()));
    assert!(error["done"]["samples"].is_number());
    assert_eq!(lines(&text(&output.stdout))[0]["type"], "summary");
}

/// In modes that wait for the trace's times, too, and with reads in flight that do not end.
#[test]
fn a_replay_ends_with_its_report_and_says_where_to_go_on() {
    let place = Place::new();
    let synth =
        ["trace", "synth", "s.jsonl", "--prefix", "set", "--arrivals", "poisson:20", "--operations", "2000"];
    place.ok(&[&synth[..], &["--objects", "1", "--sizes", "fixed:1MiB"]].concat());
    place.ok(&["trace", "replay", "s.jsonl", "--prepare", "--mode", "closed", "--stop", "5s"]);
    for (mode, slow) in [("open", false), ("dependency", false), ("open", true)] {
        let slow: &[&str] = if slow { &["--store", SLOW] } else { &[] };
        let replay = [&["trace", "replay", "s.jsonl", "--mode", mode][..], slow].concat();
        let mut run = Running::start(&place, &replay);
        run.until_it_has_read(1 << 20);
        let output = run.signal(Signal::INT);
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("go on with --skip "), "{mode}: {}", text(&output.stdout));

        let mut run = Running::start(&place, &[&replay[..], &["--json"]].concat());
        run.until_it_has_read(1 << 20);
        let output = run.signal(Signal::INT);
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        let report = lines(&text(&output.stdout)).pop().unwrap_or_else(|| panic!("{}", text(&output.stderr)));
        assert_eq!(report["position"], report["fidelity"]["submitted"]);
        assert_eq!(
            (&report["fidelity"]["stopped"], &report["fidelity"]["exact"]),
            (&true.into(), &false.into())
        );
    }
}

#[test]
fn a_cat_that_nobody_reads_ends() {
    let place = Place::new();
    place.write("big", vec![1; 64 << 20]);
    let mut run = Running::start(&place, &["cat", "big"]);
    // It writes, and then waits for us in the middle of a write.
    let mut first = [0; 1];
    run.0.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let pipe = run.0.stdout.take();
    let output = run.signal(Signal::INT);
    drop(pipe);
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("interrupted: wrote out 0 objects"), "{}", text(&output.stderr));
}

#[test]
fn a_copy_leaves_nothing_half_written() {
    let place = Place::new();
    set(&place);
    place.write("big", vec![1; 64 << 20]);
    for arguments in [&["cp", "big", "out/copy"][..], &["cp", "-r", "set", "out"]] {
        let mut run = Running::start(&place, &[arguments, &["--store", SLOW]].concat());
        run.until_it_listens();
        run.until_it_has_open(if arguments.len() == 3 { "/big" } else { "/set/" });
        let output = run.signal(Signal::INT);
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("interrupted: copied "), "{}", text(&output.stderr));
        if place.at("out").exists() {
            for (key, bytes) in tree(&place.at("out")) {
                assert_eq!(bytes, place.read(&format!("set/{key}")), "{key} is whole");
            }
        }
    }
}

#[test]
fn an_unfinished_data_set_has_no_manifest() {
    let place = Place::new();
    let arguments = ["gen", "set", "--files", "64", "--sizes", "fixed:1MiB", "--store", SLOW];
    let mut run = Running::start(&place, &arguments);
    run.until_it_listens();
    let output = run.signal(Signal::INT);
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("interrupted: wrote "), "{}", text(&output.stderr));
    assert!(!place.at("set.manifest.jsonl").exists());
    if place.at("set").exists() {
        assert!(tree(&place.at("set")).iter().all(|(_, bytes)| bytes.len() == 1 << 20));
    }
}

#[test]
fn sigterm_ends_it_too_with_its_own_code() {
    let place = Place::new();
    set(&place);
    let mut run = Running::start(&place, &["verify", "set", "--store", SLOW]);
    run.until_it_listens();
    let output = run.signal(Signal::TERM);
    assert_eq!(output.status.code(), Some(143), "{}", text(&output.stderr));
    assert!(text(&output.stderr).starts_with("terminated: verified "), "{}", text(&output.stderr));
}
