//! How fast a large flat directory becomes a sorted list of names in compact memory, against a bare
//! `std::fs::read_dir` loop that only counts.
//!
//! The functions from [`Names`] to [`overlapped`] are complete in themselves: [`Names`] is the memory, [`sort`]
//! the sort, [`listed_then_sorted`] and [`overlapped`] are two ways to fill it. What was measured with them is in
//! `docs/decisions/fs-reads.md`.
//!
//! ```text
//! cargo bench -p forebay-io-fs --bench listing -- run --files 1000000
//! ```
#![allow(missing_docs)]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags, RawDir};

const USAGE: &str =
    "usage: listing run [--files N] [--dir DIR] [--repeats N] [--style decimal|hex|class] [--cold] [--keep]";

/// Names in one arena, each with its NUL so that `openat` can take it where it lies, and where each begins, in
/// bytewise order of the names. Costs the length of the name and nine bytes a sample.
#[derive(Default)]
struct Names {
    arena: Vec<u8>,
    starts: Vec<u64>,
}

impl Names {
    fn get(&self, index: usize) -> &CStr {
        name_at(&self.arena, self.starts[index])
    }
}

fn name_at(arena: &[u8], start: u64) -> &CStr {
    CStr::from_bytes_until_nul(&arena[start as usize..]).expect("every name in the arena ends with NUL")
}

/// A name under sort: eight bytes of it, big-endian, and where it begins in the arena.
#[derive(Clone, Copy)]
struct Item {
    key: u64,
    start: u64,
}

/// The eight bytes of a name from `depth` on, big-endian, zeros after its end. Since no name has a NUL in it, the
/// order of the keys is the order of the names as far as the keys differ.
#[inline]
fn key_at(arena: &[u8], start: u64, depth: usize) -> u64 {
    let from = start as usize + depth;
    let word = match arena.get(from..from + 8) {
        Some(bytes) => u64::from_be_bytes(bytes.try_into().expect("eight bytes")),
        // The last names of the arena.
        None => {
            let mut bytes = [0; 8];
            let rest = arena.get(from..).unwrap_or_default();
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(bytes)
        }
    };
    // Clears what follows the first NUL: that belongs to the next name. The lowest zero byte from the left is found
    // with the usual carry trick on the byte-swapped word, where it is exact.
    let le = word.swap_bytes();
    let zeros = le.wrapping_sub(0x0101_0101_0101_0101) & !le & 0x8080_8080_8080_8080;
    if zeros == 0 {
        return word;
    }
    let whole = zeros.trailing_zeros() / 8;
    if whole == 0 { 0 } else { word & (u64::MAX << (64 - 8 * whole)) }
}

/// Sorts the names that begin at the items. All of them have the same first `depth` bytes.
///
/// Items compare by their keys, in cache; only the names whose keys are equal are looked at again, eight bytes
/// further. `ImageNet`-like names (class, then number) take two rounds, numbers after a common word one.
fn sort(arena: &[u8], items: &mut [Item], depth: usize) {
    for item in items.iter_mut() {
        item.key = key_at(arena, item.start, depth);
    }
    items.sort_unstable_by_key(|item| item.key);
    sort_ties(arena, items, depth);
}

/// Puts items in order that are sorted by the key at `depth` already.
fn sort_ties(arena: &[u8], items: &mut [Item], depth: usize) {
    for group in items.chunk_by_mut(|a, b| a.key == b.key) {
        // A key that ends in zero holds the end of the name: such names are equal, not tied.
        if group.len() > 1 && group[0].key as u8 != 0 {
            sort(arena, group, depth + 8);
        }
    }
}

/// How many first bytes `name` has in common with `with`, at most `most`.
fn shared(name: &[u8], with: &[u8], most: usize) -> usize {
    name.iter().zip(with).take(most).take_while(|(a, b)| a == b).count()
}

fn open_directory(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .unwrap_or_else(|e| panic!("open {}: {e}", path.display()))
}

/// Calls `each` with the name (NUL included) of every entry but `.` and `..` that may be a regular file.
fn each_name(dir: &OwnedFd, buffer: usize, mut each: impl FnMut(&[u8])) {
    let mut space = vec![MaybeUninit::<u8>::uninit(); buffer];
    let mut entries = RawDir::new(dir, &mut space);
    while let Some(entry) = entries.next() {
        let entry = entry.expect("getdents64");
        // An unknown type needs a stat, which is the caller's business; here it counts as a file.
        if !matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown) {
            continue;
        }
        each(entry.file_name().to_bytes_with_nul());
    }
}

/// Lists on this thread, then sorts on `threads` of them.
fn listed_then_sorted(path: &Path, buffer: usize, threads: usize) -> Names {
    let dir = open_directory(path);
    let mut arena: Vec<u8> = Vec::new();
    let mut items: Vec<Item> = Vec::new();
    let mut common = usize::MAX;
    each_name(&dir, buffer, |name| {
        if items.is_empty() {
            common = name.len() - 1;
        } else if common > 0 && name.get(..common) != arena.get(..common) {
            common = shared(name, &arena, common);
        }
        items.push(Item { key: 0, start: arena.len() as u64 });
        arena.extend_from_slice(name);
    });
    if threads == 1 {
        sort(&arena, &mut items, common);
        return Names { starts: items.iter().map(|i| i.start).collect(), arena };
    }
    let half = items.len() / 2;
    let (left, right) = items.split_at_mut(half);
    std::thread::scope(|scope| {
        scope.spawn(|| sort(&arena, left, common));
        sort(&arena, right, common);
    });
    // The keys of tied groups are those of a greater depth: set back before they are compared with others.
    let mut starts = Vec::with_capacity(items.len());
    let (left, right) = items.split_at_mut(half);
    for item in left.iter_mut().chain(right.iter_mut()) {
        item.key = key_at(&arena, item.start, common);
    }
    merge(&arena, left, right, |item| starts.push(item.start));
    Names { arena, starts }
}

/// Merges two sorted runs, both with keys from the same depth.
fn merge(arena: &[u8], mut left: &[Item], mut right: &[Item], mut out: impl FnMut(Item)) {
    while let ([l, ..], [r, ..]) = (left, right) {
        let left_first = l.key < r.key
            || (l.key == r.key && name_at(arena, l.start).to_bytes() <= name_at(arena, r.start).to_bytes());
        if left_first {
            out(*l);
            left = &left[1..];
        } else {
            out(*r);
            right = &right[1..];
        }
    }
    left.iter().chain(right).for_each(|item| out(*item));
}

/// Names handed from the listing thread to the sorting one.
const RUN_BYTES: usize = 1 << 20;

/// Lists on this thread while another sorts what has arrived, run by run, and merges runs of about the same
/// length; what is left to do after the last name is the last run and the last merges.
fn overlapped(path: &Path, buffer: usize) -> Names {
    let dir = open_directory(path);
    let (send, receive) = mpsc::sync_channel::<Vec<u8>>(8);
    std::thread::scope(|scope| {
        let sorter = scope.spawn(move || {
            let mut arena: Vec<u8> = Vec::new();
            // The bytes that all names so far begin with; shrinks, hardly ever more than once or twice.
            let mut common = usize::MAX;
            let mut runs: Vec<Vec<Item>> = Vec::new();
            while let Ok(block) = receive.recv() {
                let mut run = Vec::new();
                let base = arena.len();
                arena.extend_from_slice(&block);
                let mut at = base;
                let known = common;
                for name in block.split_inclusive(|b| *b == 0) {
                    common = common.min(name.len() - 1);
                    if name.get(..common) != arena.get(..common) {
                        common = shared(name, &arena, common);
                    }
                    run.push(Item { key: 0, start: at as u64 });
                    at += name.len();
                }
                if common < known {
                    // Sorted runs stay sorted; only their keys begin elsewhere now.
                    rekey(&arena, runs.iter_mut().flatten(), common);
                }
                sort(&arena, &mut run, common);
                rekey(&arena, run.iter_mut(), common);
                runs.push(run);
                while let [.., a, b] = runs.as_slice()
                    && a.len() < 2 * b.len()
                {
                    let mut both = Vec::with_capacity(a.len() + b.len());
                    merge(&arena, a, b, |item| both.push(item));
                    runs.truncate(runs.len() - 2);
                    runs.push(both);
                }
            }
            while runs.len() > 2 {
                let (b, a) = (runs.pop().expect("a run"), runs.pop().expect("a run"));
                let mut both = Vec::with_capacity(a.len() + b.len());
                merge(&arena, &a, &b, |item| both.push(item));
                runs.push(both);
            }
            let (b, a) = (runs.pop().unwrap_or_default(), runs.pop().unwrap_or_default());
            let mut starts = Vec::with_capacity(a.len() + b.len());
            merge(&arena, &a, &b, |item| starts.push(item.start));
            Names { arena, starts }
        });
        let mut block = Vec::with_capacity(RUN_BYTES);
        each_name(&dir, buffer, |name| {
            block.extend_from_slice(name);
            if block.len() > RUN_BYTES - 4096 {
                send.send(std::mem::replace(&mut block, Vec::with_capacity(RUN_BYTES)))
                    .expect("the sorter waits");
            }
        });
        if !block.is_empty() {
            send.send(block).expect("the sorter waits");
        }
        drop(send);
        sorter.join().expect("the sorter ends well")
    })
}

fn rekey<'a>(arena: &[u8], items: impl Iterator<Item = &'a mut Item>, depth: usize) {
    for item in items {
        item.key = key_at(arena, item.start, depth);
    }
}

/// What the contestants return: checked in the first round, dropped in the others.
enum Outcome {
    Count(usize),
    Names(Names),
    Strings(Vec<std::ffi::OsString>),
}

/// A name for the table, and the way of listing it stands for.
type Contestant = (String, Box<dyn Fn(&Path) -> Outcome>);

fn contestants() -> Vec<Contestant> {
    let mut all: Vec<Contestant> = Vec::new();
    let mut add = |name: String, run: Box<dyn Fn(&Path) -> Outcome>| all.push((name, run));
    add(
        "baseline: std::fs::read_dir, counting".into(),
        Box::new(|p| Outcome::Count(std::fs::read_dir(p).expect("read_dir").filter(Result::is_ok).count())),
    );
    for kib in [32, 256, 1024, 4096] {
        add(
            format!("getdents64, {kib} KiB, counting"),
            Box::new(move |p| {
                let mut count = 0;
                each_name(&open_directory(p), kib << 10, |_| count += 1);
                Outcome::Count(count)
            }),
        );
    }
    add(
        "std, Vec<OsString>, sort_unstable".into(),
        Box::new(|p| {
            let entries = std::fs::read_dir(p).expect("read_dir");
            let mut names: Vec<_> = entries.map(|e| e.expect("entry").file_name()).collect();
            names.sort_unstable();
            Outcome::Strings(names)
        }),
    );
    add(
        "arena, sort by whole names".into(),
        Box::new(|p| {
            let mut names = Names::default();
            each_name(&open_directory(p), 256 << 10, |name| {
                names.starts.push(names.arena.len() as u64);
                names.arena.extend_from_slice(name);
            });
            let arena = &names.arena;
            names.starts.sort_unstable_by(|a, b| name_at(arena, *a).cmp(name_at(arena, *b)));
            Outcome::Names(names)
        }),
    );
    for kib in [32, 256, 1024] {
        add(
            format!("arena, 8-byte keys, {kib} KiB, 1 thread"),
            Box::new(move |p| Outcome::Names(listed_then_sorted(p, kib << 10, 1))),
        );
    }
    add(
        "arena, 8-byte keys, 256 KiB, 2 threads".into(),
        Box::new(|p| Outcome::Names(listed_then_sorted(p, 256 << 10, 2))),
    );
    for kib in [32, 256] {
        add(
            format!("overlapped runs, {kib} KiB"),
            Box::new(move |p| Outcome::Names(overlapped(p, kib << 10))),
        );
    }
    all
}

fn check(outcome: &Outcome, want: &[std::ffi::CString]) {
    match outcome {
        Outcome::Count(count) => assert_eq!(*count, want.len()),
        Outcome::Names(names) => {
            assert_eq!(names.starts.len(), want.len());
            for (i, name) in want.iter().enumerate() {
                assert_eq!(names.get(i), name.as_c_str(), "sample {i}");
            }
        }
        Outcome::Strings(names) => assert_eq!(names.len(), want.len()),
    }
}

fn name_of(style: &str, i: u64) -> String {
    let mixed = (i ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match style {
        "decimal" => format!("sample-{i:07}.bin"),
        "hex" => {
            format!("{mixed:016x}{:016x}.jpg", mixed.rotate_left(29).wrapping_mul(0xff51_afd7_ed55_8ccd))
        }
        "class" => format!("n{:08}_{}.JPEG", 1_440_764 + (i % 1000) * 1777, i / 1000),
        _ => panic!("unknown style {style}\n{USAGE}"),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    let mut root = PathBuf::from(option_env!("CARGO_TARGET_TMPDIR").unwrap_or("target")).join("bench-data");
    let (mut wanted, mut files, mut repeats, mut style) = (false, 1_000_000u64, 7, String::from("decimal"));
    let (mut cold, mut keep) = (false, false);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "run" => wanted = true,
            "--files" => files = value().parse().expect("a number of files"),
            "--repeats" => repeats = value().parse().expect("a number of rounds"),
            "--dir" => root = value().into(),
            "--style" => style = value(),
            "--cold" => cold = true,
            "--keep" => keep = true,
            _ => panic!("unknown argument {arg}\n{USAGE}"),
        }
    }
    if !wanted {
        // Test runners start every target without arguments: that is no wish to measure.
        eprintln!("{USAGE}");
        return;
    }
    let dir = root.join(format!("names-{style}-{files}"));
    let mut want: Vec<_> =
        (0..files).map(|i| std::ffi::CString::new(name_of(&style, i)).expect("no NUL in a name")).collect();
    if !dir.exists() {
        // Under its name only when it is complete, so that a run that was stopped leaves nothing to mistake.
        let partial = dir.with_extension("partial");
        let _ = std::fs::remove_dir_all(&partial);
        std::fs::create_dir_all(&partial).expect("create the directory");
        for name in &want {
            std::fs::File::create(partial.join(name.to_str().expect("ASCII"))).expect("create a file");
        }
        std::fs::rename(&partial, &dir).expect("name the directory");
    }
    want.sort_unstable();
    want.dedup();
    let list = contestants();
    for (_, run) in &list {
        check(&run(&dir), &want);
    }
    let mut walls = vec![Vec::new(); list.len()];
    for round in 0..repeats {
        for turn in 0..list.len() {
            let turn = (turn + round * 3) % list.len();
            if cold {
                std::fs::write("/proc/sys/vm/drop_caches", "3").expect("drop_caches (needs root)");
            }
            let start = Instant::now();
            let outcome = list[turn].1(&dir);
            walls[turn].push(start.elapsed().as_secs_f64());
            drop(outcome);
        }
    }
    let state = if cold { "cold" } else { "cached" };
    println!("\n### {} names, style {style} ({}), {state}\n", want.len(), name_of(&style, 1234));
    println!("| way | ms | of the baseline |");
    println!("|---|---:|---:|");
    for ((name, _), wall) in list.iter().zip(&walls) {
        let ratio = median(walls[0].iter().zip(wall).map(|(base, this)| this / base).collect());
        println!("| {name} | {:.0} | {ratio:.2} |", median(wall.clone()) * 1e3);
    }
    if !keep {
        std::fs::remove_dir_all(&dir).expect("remove the directory");
    }
}
