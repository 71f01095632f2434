//! Traces of other tools, as they really look, and back.

use forebay_io::Kind;
use forebay_trace::export::{self, Target};
use forebay_trace::import::{Import, ImportOptions, Source};
use forebay_trace::{Action, Clock, Error, Header, Record, Status};
use std::path::{Path, PathBuf};

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn file(name: &str, text: &str) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    File { _folder: folder, path }
}

fn import_with(text: &str, source: Source, options: &ImportOptions) -> (Header, Vec<Record>) {
    let file = file("t", text);
    assert_eq!(Source::detect(&file.path).unwrap(), source);
    let import = Import::open(&file.path, source, options).unwrap();
    let header = import.header().clone();
    (header, import.collect::<Result<_, _>>().unwrap())
}

fn import(text: &str, source: Source) -> Vec<Record> {
    import_with(text, source, &ImportOptions::default()).1
}

const TITLE: &str = "idx\tthread\top\tclient_id\tn_objects\tbytes\tendpoint\tfile\terror\tstart\tfirst_byte\tend\tduration_ns\n";

#[test]
fn the_operation_log_of_s3dlio() {
    let text = format!(
        "{TITLE}0\t1717058\tGET\t\t1\t4096\ts3://\tbucket/data/a\t\t2025-10-01T12:34:56.789000001Z\t2025-10-01T12:34:56.79Z\t2025-10-01T12:34:56.8Z\t11\n\
         1\t99\tPUT\t\t1\t10\tfile://\tdata/b\t\t2025-10-01T12:34:57Z\t\t2025-10-01T12:34:58Z\t1000000000\n\
         # a line for people\n\
         2\t1717058\tGET\t\t1\t0\ts3://\tbucket/data/c\ttimeout\t2025-10-01T12:34:59Z\t\t2025-10-01T12:35:00Z\t1\n"
    );
    let (header, records) = import_with(&text, Source::OpLog, &ImportOptions::default());
    assert_eq!(header.clock.realtime_ns, 1_759_322_096_789_000_001);
    assert_eq!(records.len(), 3);
    assert_eq!(records[0].uri, "s3://bucket/data/a");
    assert_eq!(
        (records[0].t_submit, records[0].t_first, records[0].t_done, records[0].bytes),
        (0, Some(999_999), Some(10_999_999), Some(4096))
    );
    assert_eq!(
        (records[1].op, records[1].uri.as_str(), records[1].stream),
        (Action::Put, "file:///data/b", Some(1))
    );
    assert_eq!((records[2].status, records[2].bytes, records[2].stream), (Status::Error, None, Some(0)));
    assert!(records.iter().all(|r| r.t_intended.is_none()));
}

#[test]
fn the_operation_log_of_warp_needs_a_bucket() {
    let text = format!(
        "{TITLE}0\t3\tGET\tclient\t1\t1048576\thttp://127.0.0.1:9000\tprefix/obj.bin\t\t2020-03-21T12:55:07.1+01:00\t2020-03-21T12:55:07.2+01:00\t2020-03-21T12:55:07.3+01:00\t200000000\n"
    );
    let bucket = ImportOptions { bucket: Some("warp".into()), ..ImportOptions::default() };
    let (_, records) = import_with(&text, Source::OpLog, &bucket);
    assert_eq!(
        (records[0].uri.as_str(), records[0].latency()),
        ("s3://warp/prefix/obj.bin", Some(200_000_000))
    );
    let file = file("t.csv", &text);
    let error = Import::open(&file.path, Source::OpLog, &ImportOptions::default())
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, Error::Parse { line: 2, column: 48, .. }), "{error}");
    assert!(error.to_string().contains("bucket"), "{error}");
}

#[test]
fn the_log_of_fio_in_both_versions() {
    let three = "fio version 3 iolog\n25 /d/f add\n168 /d/f open\n172 /d/f read 0 4096\n23805 /d/f read 45056 4096\n23900 /d/f close\n";
    let records = import(three, Source::Fio);
    let seen: Vec<_> = records.iter().map(|r| (r.op, r.offset, r.len, r.t_submit)).collect();
    assert_eq!(
        seen,
        [
            (Action::Open, None, None, 168_000),
            (Action::Read, Some(0), Some(4096), 172_000),
            (Action::Read, Some(45056), Some(4096), 23_805_000),
        ]
    );
    let two = "fio version 2 iolog\n/d/f add\n/d/f open\n/d/f wait 2000 0\n/d/f read 8 16\n/d/f wait 500 0\n/d/f write 0 4\n";
    let records = import(two, Source::Fio);
    let seen: Vec<_> = records.iter().map(|r| (r.op, r.t_submit)).collect();
    assert_eq!(seen, [(Action::Open, 0), (Action::Read, 2_000_000), (Action::Put, 2_500_000)]);
    assert_eq!(records[1].uri, "file:///d/f");
}

#[test]
fn the_text_of_darshan() {
    let text = "\
# ***************************************************
# DXT, file_id: 14388265063268455899, file_name: /scratch/a b.dat
# DXT, rank: 3, hostname: n1
# DXT, write_count: 1, read_count: 1
# Module    Rank  Wt/Rd  Segment          Offset       Length    Start(s)      End(s)
 X_MPIIO       3  write        0               0     16777216      0.0016      0.0125
 X_POSIX       3  write        0               0     16777216      0.0018      0.0121
 X_POSIX       3   read        0        16777216         4096      0.5000      0.5001  [OST: 1]
";
    let records = import(text, Source::Darshan);
    assert_eq!(records.len(), 2);
    assert_eq!(
        (records[0].op, records[0].t_submit, records[0].t_done),
        (Action::Put, 1_800_000, Some(12_100_000))
    );
    let read = &records[1];
    assert_eq!(
        (read.uri.as_str(), read.offset, read.len, read.stream),
        ("file:///scratch/a%20b.dat", Some(16777216), Some(4096), Some(3))
    );
}

#[test]
fn what_strace_prints() {
    // Two threads share descriptors; a call is shown in two halves; -T gives durations.
    let text = r#"100 1700000000.000100 openat(AT_FDCWD, "data/x\40y", O_RDONLY|O_CLOEXEC) = 3 <0.000020>
100 1700000000.000200 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_THREAD, stack=0x7f}, 88) = 101 <0.000030>
100 1700000000.000300 read(3, "\177ELF(), = 7\0"..., 4096) = 4096 <0.000010>
101 1700000000.000400 pread64(3,  <unfinished ...>
100 1700000000.000450 read(3, "rest", 4096) = 100 <0.000005>
101 1700000000.000500 <... pread64 resumed>"abc", 65536, 8192) = 65536 <0.000100>
100 1700000000.000600 lseek(3, 10, SEEK_SET) = 10 <0.000001>
100 1700000000.000700 read(3, "", 4096) = 0 <0.000001>
100 1700000000.000750 openat(AT_FDCWD, "/missing", O_RDONLY) = -1 ENOENT (No such file or directory) <0.000007>
100 1700000000.000760 openat(AT_FDCWD, "/secret", O_RDONLY) = -1 EACCES (Permission denied) <0.000007>
100 1700000000.000770 read(9, "socket", 100) = 100 <0.000007>
100 1700000000.000780 newfstatat(AT_FDCWD, "/etc", {st_mode=S_IFDIR|0755, st_size=4096, ...}, 0) = 0 <0.000002>
100 1700000000.000800 close(3) = 0 <0.000003>
100 1700000000.000900 --- SIGCHLD {si_signo=SIGCHLD} ---
100 1700000000.000950 +++ exited with 0 +++
"#;
    let base = ImportOptions { base: Some("/work dir".into()), ..ImportOptions::default() };
    let (header, records) = import_with(text, Source::Strace, &base);
    assert_eq!(header.clock.realtime_ns, 1_700_000_000_000_100_000);
    let seen: Vec<_> = records
        .iter()
        .map(|r| (r.op, r.offset, r.len, r.stream.unwrap(), r.t_submit, r.latency().unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            (Action::Open, None, None, 100, 0, 20_000),
            (Action::Read, Some(0), Some(4096), 100, 200_000, 10_000),
            (Action::Read, Some(4096), Some(100), 100, 350_000, 5_000),
            (Action::Read, Some(8192), Some(65536), 101, 300_000, 100_000),
            (Action::Read, Some(10), Some(0), 100, 600_000, 1_000),
            (Action::Open, None, None, 100, 650_000, 7_000),
            (Action::Open, None, None, 100, 660_000, 7_000),
            (Action::Stat, None, None, 100, 680_000, 2_000),
        ]
    );
    assert_eq!(records[0].uri, "file:///work%20dir/data/x%20y");
    assert_eq!(
        (records[5].status, records[6].status),
        (Status::Failed(Kind::NotFound), Status::Failed(Kind::Denied))
    );
}

#[test]
fn calls_that_failed_keep_the_length_that_they_asked_for() {
    let text = r#"7 1.0 openat(AT_FDCWD, "/d/f", O_RDONLY) = 3
7 1.1 pread64(3, 0x7ffd, 100, 5000) = -1 EIO (Input/output error)
7 1.2 preadv(3, [{iov_base=0x1, iov_len=60}, {iov_base=0x2, iov_len=40}], 2, 6000) = -1 EIO (Input/output error)
7 1.3 read(3, 0x7ffd, 300) = -1 EIO (Input/output error)
7 1.4 pread64(3, "ab", 100, 7000) = 2
"#;
    let seen: Vec<_> = import(text, Source::Strace)
        .iter()
        .filter(|r| r.op == Action::Read)
        .map(|r| (r.offset, r.len, r.bytes, r.status))
        .collect();
    let failed = |offset, len| (Some(offset), Some(len), None, Status::Error);
    assert_eq!(
        seen,
        [failed(5000, 100), failed(6000, 100), failed(0, 300), (Some(7000), Some(2), Some(2), Status::Ok)]
    );
}

#[test]
fn with_y_opens_are_what_they_returned_and_reads_are_of_the_file_that_stands_there() {
    // As strace 6 prints it with -y: results have names, too, those that are not printable have escapes.
    let text = r#"7 1.0 openat(AT_FDCWD</w, x>, "\303\244 = 1", O_RDONLY|O_CLOEXEC) = 3</real/\303\244 = 1> <0.000020>
7 1.1 read(3</real/\303\244 = 1>, "ab"..., 100) = 100
7 1.2 openat(AT_FDCWD</w, x>, "/gone", O_RDONLY) = -1 ENOENT (No such file or directory)
7 1.3 fcntl(3</real/\303\244 = 1>, F_DUPFD_CLOEXEC, 0) = 4</real/\303\244 = 1>
7 1.4 read(4</real/\303\244 = 1>, "ab"..., 50) = 50
7 1.5 read(3</real/\303\244 = 1>, "ab"..., 10) = 10
7 1.6 execve("/bin/sh", ["sh"], 0x7ffe /* 9 vars */) = 0
7 1.7 pipe2([3<pipe:[9]>, 4<pipe:[9]>], 0) = 0
7 1.8 read(3<pipe:[9]>, "x", 4096) = 1
7 1.9 openat(AT_FDCWD</w, x>, "b,c", O_RDONLY) = 5</w, x/b,c>
7 2.0 read(5</w, x/b,c>, "x"..., 4096) = 4096
7 2.1 dup2(5</w, x/b,c>, 0</dev/pts/0>) = 0</w, x/b,c>
7 2.2 copy_file_range(0</w, x/b,c>, NULL, 1</out>, NULL, 9223372035781033984, 0) = 30
7 2.3 sendfile(9<socket:[4]>, 5</w, x/b,c>, [64] => [164], 100) = 100
7 2.4 sendfile(9<socket:[4]>, 5</w, x/b,c>, NULL, 100) = -1 EINVAL (Invalid argument)
"#;
    let file = file("t", text);
    let mut import = Import::open(&file.path, Source::Strace, &ImportOptions::default()).unwrap();
    let records = import.by_ref().collect::<Result<Vec<_>, _>>().unwrap();
    let seen: Vec<_> = records.iter().map(|r| (&*r.uri, r.offset, r.len, r.status)).collect();
    let (first, second) = ("file:///real/ä%20=%201", "file:///w,%20x/b,c");
    let read = |uri, offset, len| (uri, Some(offset), Some(len), Status::Ok);
    assert_eq!(
        seen,
        [
            (first, None, None, Status::Ok),
            read(first, 0, 100),
            ("file:///gone", None, None, Status::Failed(Kind::NotFound)),
            read(first, 100, 50),
            read(first, 150, 10),
            (second, None, None, Status::Ok),
            read(second, 0, 4096),
            read(second, 4096, 30),
            read(second, 64, 100),
            (second, Some(4126), Some(100), Status::Error),
        ]
    );
    assert_eq!(import.left_out(), 0);
}

#[test]
fn a_number_that_is_no_file_any_more_is_none() {
    // Without -y: a program is begun that has what is not O_CLOEXEC; numbers are given out again.
    let text = r#"7 1.0 openat(AT_FDCWD, "/a", O_RDONLY|O_CLOEXEC) = 3
7 1.1 openat(AT_FDCWD, "/b", O_RDONLY) = 4
7 1.2 execve("/bin/cat", ["cat"], 0x7ffe /* 9 vars */) = 0
7 1.3 read(4, "x", 10) = 10
7 1.4 socket(AF_INET, SOCK_STREAM, 0) = 3
7 1.5 read(3, "x", 10) = 10
7 1.6 pipe([4, 5]) = 0
7 1.7 read(4, "x", 10) = 10
7 1.8 openat(AT_FDCWD, "/c", O_RDONLY) = 6
7 1.9 close_range(6, 4294967295, 0) = 0
7 2.0 read(6, "x", 10) = 10
"#;
    let file = file("t", text);
    let mut import = Import::open(&file.path, Source::Strace, &ImportOptions::default()).unwrap();
    let records = import.by_ref().collect::<Result<Vec<_>, _>>().unwrap();
    let reads: Vec<_> = records.iter().filter(|r| r.op == Action::Read).map(|r| &*r.uri).collect();
    assert_eq!((reads, import.left_out()), (vec!["file:///b"], 3));
}

#[test]
fn calls_on_files_without_a_name_are_counted() {
    // A thread that runs before the call that made it returns; one that nobody saw made; sockets with and without -y.
    let text = r#"7 1.0 openat(AT_FDCWD, "/d/f", O_RDONLY) = 3
7 1.1 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}, 88 <unfinished ...>
8 1.2 pread64(3, "x", 1, 50) = 1
7 1.3 <... clone3 resumed>) = 8
8 1.4 pread64(3, "x", 1, 60) = 1
9 1.5 pread64(3, "x", 1, 70) = 1
10 1.6 <... read resumed>"x", 1) = 1
7 1.7 read(5<socket:[1]>, "x", 1) = 1
7 1.8 openat(AT_FDCWD, "relative", O_RDONLY) = 4
"#;
    let file = file("t", text);
    let mut import = Import::open(&file.path, Source::Strace, &ImportOptions::default()).unwrap();
    let records = import.by_ref().collect::<Result<Vec<_>, _>>().unwrap();
    let reads: Vec<_> = records.iter().filter(|r| r.op == Action::Read).map(|r| r.offset).collect();
    assert_eq!(reads, [Some(50), Some(60)]);
    assert_eq!(import.left_out(), 3);
}

#[test]
fn a_clock_that_was_set_back_is_told_and_what_had_begun_before_is_not_moved() {
    let text = "7 2.0 openat(AT_FDCWD, \"/f\", O_RDONLY <unfinished ...>\n8 2.5 openat(AT_FDCWD, \"/g\", O_RDONLY) = 3\n7 2.6 <... openat resumed>) = 3\n";
    let times: Vec<_> = import(text, Source::Strace).iter().map(|r| r.t_submit).collect();
    assert_eq!(times, [500_000_000, 0]);
    let back = file("t", &format!("{text}7 1.9 read(3, \"\", 4) = 0\n"));
    let error = Import::open(&back.path, Source::Strace, &ImportOptions::default())
        .unwrap()
        .find_map(Result::err)
        .unwrap();
    assert!(matches!(error, Error::Parse { line: 4, column: 3, .. }), "{error}");
    assert!(error.to_string().contains("set back"), "{error}");
}

#[test]
fn records_that_say_half_a_range_or_no_location_are_refused_where_they_stand() {
    let head = "{\"forebay_trace\":1,\"engine\":\"e\",\"host\":\"h\",\"clock\":{\"realtime_ns\":1}}";
    for (record, column, needle) in [
        ("{\"op\":\"get\",\"uri\":\"mem://h/k\",\"offset\":3,\"t_submit\":1}", 31, "needs a len"),
        ("{\"op\":\"get\",\"uri\":\"mem://h/k\",\"len\":3,\"t_submit\":1}", 31, "needs an offset"),
        ("{\"op\":\"get\",\"uri\":\"data/k\",\"t_submit\":1}", 13, "data/k"),
    ] {
        let file = file("t.jsonl", &format!("{head}\n{record}\n"));
        let error =
            Import::open(&file.path, Source::Forebay, &ImportOptions::default()).unwrap().next().unwrap();
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Parse { line: 2, column: at, .. } if at == column), "{error}");
        assert!(error.to_string().contains(needle), "{error}");
    }
}

#[test]
fn names_beside_descriptors_are_used() {
    let text = "7 1.000000 read(5</data/late>, \"x\", 10) = 10\n7 1.500000 read(5</data/late>, \"x\", 10) = 10\n7 1.600000 read(6<socket:[123]>, \"x\", 10) = 10\n";
    let records = import(text, Source::Strace);
    let seen: Vec<_> = records.iter().map(|r| (r.uri.as_str(), r.offset, r.t_done)).collect();
    assert_eq!(seen, [("file:///data/late", Some(0), None), ("file:///data/late", Some(10), None)]);
}

#[test]
fn what_is_none_of_them_is_refused_by_name() {
    let file = file("x.txt", "hello\nworld\n");
    let error = Source::detect(&file.path).unwrap_err().to_string();
    assert!(error.contains("x.txt") && error.contains("op-log, fio, darshan, strace"), "{error}");
}

fn sample() -> (Header, Vec<Record>) {
    let header = Header::new("t", "h", Clock { realtime_ns: 1_700_000_000_123_456_789, monotonic_ns: None });
    let read = |uri: &str, offset: u64, t: u64| Record {
        offset: Some(offset),
        len: Some(4096),
        t_first: Some(t + 500),
        t_done: Some(t + 1000),
        bytes: Some(4096),
        stream: Some(2),
        epoch: Some(1),
        ..Record::asked(Action::Read, uri, t)
    };
    let records = vec![
        read("file:///d/a", 0, 0),
        Record { t_done: Some(5000), bytes: Some(77), ..Record::asked(Action::Get, "s3://b/k,\"1\"", 2000) },
        read("file:///d/a", 8192, 3_000_000),
        Record {
            t_done: Some(4_000_000),
            status: Status::Failed(Kind::NotFound),
            ..Record::asked(Action::Stat, "file:///d/b", 3_500_000)
        },
    ];
    (header, records)
}

fn export(path: &Path, target: Target) -> export::Exported {
    let (header, records) = sample();
    export::write(path, target, &header, records.into_iter().map(Ok), 0).unwrap()
}

#[test]
fn what_other_formats_can_hold_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (header, records) = sample();

    let path = folder.path().join("t.jsonl.zst");
    assert_eq!(export(&path, Target::Forebay).written, 4);
    let import = Import::open(&path, Source::Forebay, &ImportOptions::default()).unwrap();
    assert_eq!(import.header(), &header);
    assert_eq!(import.collect::<Result<Vec<_>, _>>().unwrap(), records);

    let path = folder.path().join("t.tsv.zst");
    assert_eq!(export(&path, Target::OpLog).written, 4);
    let import = Import::open(&path, Source::OpLog, &ImportOptions::default()).unwrap();
    assert_eq!(import.header().clock.realtime_ns, header.clock.realtime_ns);
    let back: Vec<_> = import.collect::<Result<_, _>>().unwrap();
    let times = |r: &Record| (r.t_submit, r.t_first, r.t_done, r.uri.clone());
    assert_eq!(back.iter().map(times).collect::<Vec<_>>(), records.iter().map(times).collect::<Vec<_>>());

    let path = folder.path().join("t.iolog");
    let exported = export(&path, Target::Fio);
    assert_eq!((exported.written, exported.left_out), (2, 2));
    let back: Vec<_> = Import::open(&path, Source::Fio, &ImportOptions::default())
        .unwrap()
        .map(Result::unwrap)
        .filter(|r| r.op == Action::Read)
        .map(|r| (r.uri, r.offset, r.len, r.t_submit))
        .collect();
    assert_eq!(
        back,
        [
            ("file:///d/a".into(), Some(0), Some(4096), 0),
            ("file:///d/a".into(), Some(8192), Some(4096), 3_000_000)
        ]
    );
}

#[test]
fn tables_hold_every_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    export(&path, Target::Csv);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        "op,uri,offset,len,t_submit,t_first,t_done,bytes,status,attempt,stage,stream,epoch,sample_id,t_intended"
    );
    assert_eq!(lines[1], "read,file:///d/a,0,4096,0,500,1000,4096,ok,0,,2,1,,");
    assert_eq!(lines[2], "get,\"s3://b/k,\"\"1\"\"\",,,2000,,5000,77,ok,0,,,,,");

    let path = folder.path().join("t.parquet");
    export(&path, Target::Parquet);
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
    assert_eq!(rows.len(), 4);
    assert!(
        rows[2].contains("op: \"read\"")
            && rows[2].contains("offset: 8192")
            && rows[2].contains("sample_id: null"),
        "{}",
        rows[2]
    );
}

#[test]
fn formats_are_known_by_their_names() {
    for (name, target) in [
        ("a.jsonl", Some(Target::Forebay)),
        ("a.jsonl.zst", Some(Target::Forebay)),
        ("a.tsv.zst", Some(Target::OpLog)),
        ("a.csv", Some(Target::Csv)),
        ("a.parquet", Some(Target::Parquet)),
        ("a.iolog", Some(Target::Fio)),
        ("a", None),
    ] {
        assert_eq!(Target::of(Path::new(name)), target, "{name}");
    }
}
