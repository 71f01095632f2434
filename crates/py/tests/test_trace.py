"""`forebay.trace`: recorded, described, converted, compared, made up and replayed."""

import ast
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import forebay
import pytest


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for i in range(40):
        (data / f"{i:02}.bin").write_bytes(os.urandom(1000 + 100 * i))
    return data


@pytest.fixture
def epoch(folder, tmp_path):
    """The trace of a shuffled epoch."""
    path = tmp_path / "epoch.jsonl.zst"
    loader = forebay.create_async_loader(folder, {"batch_size": 8, "shuffle": True, "seed": 3})
    with forebay.trace.record(path) as trace:
        for _ in loader:
            pass
    assert trace.result["records"] >= 40
    assert (trace.result["dropped"], trace.result["failure"]) == (0, None)
    assert trace.result["files"] == [str(path)]
    return path


def test_an_epoch_is_recorded_and_replayed_as_it_was(epoch, folder):
    info = forebay.trace.info(epoch)
    assert info["complete"] and info["format"] == "forebay"
    assert info["summary"]["operations"]["get"] == 40
    assert info["summary"]["bytes"] == sum(f.stat().st_size for f in folder.iterdir())
    report = forebay.trace.replay(epoch)
    assert report["exact"] and report["failures"] == {}
    assert report["bytes"] == info["summary"]["bytes"]
    assert report["size_distance"] == 0
    assert report["submit_error_ns"]["n"] == report["submitted"]


def test_nothing_is_recorded_outside_the_block(folder, tmp_path):
    with forebay.trace.record(tmp_path / "t.jsonl") as trace:
        forebay.get(folder / "00.bin")
    forebay.get(folder / "01.bin")
    assert trace.result["records"] == 1
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert lines[0]["forebay_trace"] == 1
    assert lines[1]["uri"] == (folder / "00.bin").as_uri() and lines[1]["bytes"] == 1000
    assert lines[-1] == {"end": {"records": 1, "dropped": 0}}


def test_one_trace_at_a_time(tmp_path):
    with forebay.trace.record(tmp_path / "a.jsonl"):
        with pytest.raises(RuntimeError, match="already"):
            forebay.trace.record(tmp_path / "b.jsonl").__enter__()
        assert not (tmp_path / "b.jsonl").exists()


def test_traces_are_converted_and_compared(epoch, tmp_path):
    out = tmp_path / "epoch.tsv.zst"
    converted = forebay.trace.convert(epoch, out)
    assert converted["written"] >= 40 and "offsets of range reads" in converted["loses"]
    difference = forebay.trace.diff(epoch, out)["difference"]
    assert difference["size_distance"] == 0 and difference["operations_ratio"] == 1
    with pytest.raises(ValueError, match="to="):
        forebay.trace.convert(epoch, tmp_path / "odd.name")


def test_a_made_up_trace_is_prepared_and_mapped(tmp_path):
    path = tmp_path / "s.jsonl"
    n = forebay.trace.synth(path, "s3://nowhere/x", arrivals="bursty:5000,0.1,0.1", sizes="fixed:2KiB", objects=9, operations=300)
    assert n == 300
    report = forebay.trace.replay(path, map={"s3://nowhere": str(tmp_path)}, prepare=True, time_scale=0.5)
    assert report["prepared"]["objects"] == 9
    assert (report["done"], report["exact"], report["bytes"]) == (300, True, 300 * 2048)


def test_progress_is_told_and_a_replay_is_gone_on_with_where_it_ended(tmp_path):
    path = tmp_path / "s.jsonl"
    forebay.trace.synth(path, tmp_path, arrivals="poisson:200", sizes="fixed:1KiB", objects=5, operations=400)
    told = []

    def until_twenty(progress):
        told.append(progress)
        return progress["position"] < 20

    first = forebay.trace.replay(path, prepare=True, progress=until_twenty)
    assert first["stopped"] and 20 <= first["position"] < 400
    assert told[0]["total"] == 400 and told[0]["left"] > 0 and told[-1]["position"] == first["position"]
    rest = forebay.trace.replay(path, skip=first["position"], time_scale=0.01, progress=lambda _: None)
    assert first["submitted"] + rest["submitted"] == 400 and not rest["stopped"]

    with pytest.raises(ZeroDivisionError):
        forebay.trace.replay(path, progress=lambda _: 1 / 0)


def test_a_replay_is_held_to_bounds(tmp_path):
    path = tmp_path / "s.jsonl"
    forebay.trace.synth(path, tmp_path, arrivals="poisson:2000", sizes="fixed:1KiB", objects=5, operations=50)
    report = forebay.trace.replay(path, max_failures=0)
    assert report["failures"] == {"not_found": 50} and report["noise_floor_ns"]["n"] > 10
    assert len(report["violations"]) == 1 and "failures" in report["violations"][0]
    (tmp_path / "00000000.bin").write_bytes(b"small")
    with pytest.raises(ValueError, match="5 bytes"):
        forebay.trace.replay(path, prepare=True)
    bounds = {"max_failures": 0, "max_size_distance": 0.01, "exact": True}
    report = forebay.trace.replay(path, prepare=True, replace=True, **bounds)
    assert report["violations"] == [] and report["prepared"]["objects"] >= 1
    # Nobody ever read what was made up; and what does not fit under a cap is not asked for.
    report = forebay.trace.replay(path, max_latency_distance=1, exact=True, max_bytes_in_flight=512)
    assert [violation.split(":")[0].split(",")[0] for violation in report["violations"]] == [
        "the distance of latencies could not be measured",
        "stores were not asked for exactly what the trace says",
    ]


def test_a_made_up_trace_is_of_the_format_that_is_asked_for(tmp_path):
    model = {"objects": 3, "operations": 20, "sizes": "fixed:1KiB"}
    for out, to, format in [("a", None, "forebay"), ("b.fio", None, "fio"), ("c", "fio", "fio")]:
        assert forebay.trace.synth(tmp_path / out, tmp_path, to=to, **model) == 20
        assert forebay.trace.info(tmp_path / out)["format"] == format
    for to, prefix, why in [("tar", tmp_path, "tar"), ("fio", "s3://b/x", "fio cannot hold operations on s3://b/x")]:
        with pytest.raises(ValueError, match=why):
            forebay.trace.synth(tmp_path / "d", prefix, to=to, **model)


def test_traces_of_other_tools_are_told_what_they_leave_open(folder, tmp_path):
    calls = tmp_path / "calls.txt"
    calls.write_text(
        '7 1.0 openat(AT_FDCWD, "00.bin", O_RDONLY) = 3\n7 1.1 read(3, "x", 100) = 100\n7 1.2 read(9, "x", 5) = 5\n'
    )
    info = forebay.trace.info(calls, base=folder)
    assert info["left_out"] == 1 and info["summary"]["operations"] == {"open": 1, "read": 1}
    converted = forebay.trace.convert(calls, tmp_path / "calls.jsonl", format="strace", base=folder)
    assert (converted["written"], converted["left_out"]) == (2, 1)
    lines = (tmp_path / "calls.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["uri"] == (folder / "00.bin").as_uri()
    assert forebay.trace.diff(calls, calls, format="strace", base=folder)["difference"]["operations_ratio"] == 1
    report = forebay.trace.replay(calls, base=folder, max_failures=0)
    assert (report["done"], report["bytes"], report["exact"], report["violations"]) == (2, 100, True, [])
    log = tmp_path / "log.tsv"
    names = "idx thread op client_id n_objects bytes endpoint file error start first_byte end duration_ns".split()
    row = ["0", "3", "GET", "c", "1", "7", "http://h:9000", "k", "", "2020-03-21T12:55:07Z", "", "2020-03-21T12:55:08Z", "1"]
    log.write_text("\t".join(names) + "\n" + "\t".join(row) + "\n")
    assert forebay.trace.diff(log, log, bucket="warp")["a"]["bytes"] == 7
    with pytest.raises(ValueError, match="bucket"):
        forebay.trace.diff(log, log)


def test_a_replay_is_measured_if_asked(hundred):
    assert "metrics" not in forebay.trace.replay(hundred, time_scale=0.01)
    report = forebay.trace.replay(hundred, time_scale=0.01, enable_metrics=True)
    snapshot = report["metrics"]
    assert snapshot["operations"]["get"]["ops"] == 100 and snapshot["backend_counters"]["bytes_read"] == 100_000
    assert "get" in forebay.metrics.to_prometheus(snapshot)
    report = forebay.trace.replay(hundred, time_scale=0.01, enable_metrics={"significant_digits": 2})
    assert report["metrics"]["operations"]["get"]["latency_us_hist"]["recorded"]["digits"] == 2
    with pytest.raises(forebay.InvalidConfigError, match="enable_metrics"):
        forebay.trace.replay(hundred, enable_metrics={"digits": 2})


def test_mistakes_are_named(tmp_path, epoch):
    with pytest.raises(FileNotFoundError):
        forebay.trace.info(tmp_path / "missing.jsonl")
    (tmp_path / "broken.jsonl").write_text('{"forebay_trace":1,"engine":"e","host":"h","clock":{"realtime_ns":1}}\n{oops\n')
    with pytest.raises(ValueError, match="line 2, column 2"):
        forebay.trace.info(tmp_path / "broken.jsonl")
    for options, needle in [
        ({"time_scale": 0}, "time_scale"),
        ({"mode": "sideways"}, "open, closed or dependency"),
        ({"tim_scale": 1}, "did you mean \"time_scale\""),
        ({"map": ["a"]}, "dict"),
        ({"map": {"file:///a": ["file:///b"]}}, "which is no text"),
        ({"loops": -1}, "loops"),
        ({"prepare": 3}, "True or False"),
        ({"replace": True}, "prepare=True"),
        ({"max_drift": -1}, "drift_ppm"),
        ({"max_failures": 0.5}, "whole number"),
    ]:
        with pytest.raises(ValueError, match=needle):
            forebay.trace.replay(epoch, **options)
    with pytest.raises(ValueError, match="poisson:RATE"):
        forebay.trace.synth(tmp_path / "x", "p", arrivals="daily")


def test_ctrl_c_ends_a_replay(tmp_path):
    script = f"""
import forebay, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where whoever started the tests ignores it
forebay.trace.synth({str(tmp_path / "s.jsonl")!r}, {str(tmp_path)!r}, arrivals="poisson:1", sizes="fixed:1KiB", operations=1000, objects=3)
print("ready", flush=True)
forebay.trace.replay({str(tmp_path / "s.jsonl")!r}, prepare=True)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    # Whenever it comes: the replay lasts a quarter of an hour.
    begin = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in err and time.monotonic() - begin < 10


def test_the_stub_has_every_parameter():
    stub = ast.parse((Path(forebay.__file__).parent / "trace.pyi").read_text())
    functions = {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert functions.keys() | {"record"} == set(forebay.trace.__all__)
    for name, node in functions.items():
        if name == "replay":
            continue
        args = [arg.arg for arg in node.args.args + node.args.kwonlyargs]
        assert args == list(inspect.signature(getattr(forebay.trace, name)).parameters), name


def written(path, records):
    """A trace of these records."""
    header = {"forebay_trace": 1, "engine": "test", "host": "h", "clock": {"realtime_ns": 1}}
    lines = [header, *records, {"end": {"records": len(records), "dropped": 0}}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


MS = 1_000_000


@pytest.fixture
def hundred(folder, tmp_path):
    """A hundred reads of 1000 bytes each, a millisecond apart, of ten files."""
    return written(
        tmp_path / "hundred.jsonl",
        [
            {"op": "get", "uri": (folder / f"{i % 10:02}.bin").as_uri(), "offset": 0, "len": 1000, "t_submit": i * MS}
            for i in range(100)
        ],
    )


def test_passes_windows_and_the_rest_are_as_many_operations_as_they_should_be(hundred):
    replay = forebay.trace.replay
    for options, operations in [
        ({}, 100),
        ({"loops": 3}, 300),
        ({"start": 0.020, "stop": 0.050}, 30),
        ({"start": 0.020, "stop": 0.050, "loops": 2}, 60),
        ({"start": 0.090}, 10),
        ({"skip": 97}, 3),
        ({"skip": 100}, 0),
        ({"skip": 195, "loops": 2}, 5),
    ]:
        report = replay(hundred, time_scale=0.1, **options)
        assert (report["submitted"], report["done"], report["bytes"]) == (operations, operations, 1000 * operations), options
        assert report["exact"] and report["position"] == operations + options.get("skip", 0)
    for options, needle in [
        ({"start": 5}, "no operation from 5s on"),
        ({"start": 2, "stop": 1}, "stop after it starts"),
        ({"skip": 101}, "there are 100"),
    ]:
        with pytest.raises(ValueError, match=needle):
            replay(hundred, **options)


def test_times_are_scaled_and_the_noise_floor_is_measured_beside(hundred):
    slow = forebay.trace.replay(hundred, time_scale=3)
    # The last is due 297 ms after the first.
    assert slow["elapsed_ns"] >= 297 * MS
    assert slow["noise_floor_ns"]["n"] > 10 and isinstance(slow["noise_floor_ns"]["drift_ppm"], float)


def test_caps_are_kept_and_what_they_delay_is_counted(folder, tmp_path):
    at_once = written(
        tmp_path / "at_once.jsonl",
        [
            {"op": "get", "uri": (folder / f"{i % 40:02}.bin").as_uri(), "offset": 0, "len": 1000, "t_submit": 0}
            for i in range(200)
        ],
    )
    # Reads that take a while once the first second's bytes are spent, so that what may be under way at once is.
    slow = {"limit_bytes_per_second": 100_000}
    report = forebay.trace.replay(at_once, max_in_flight=2, options=slow)
    # All are due at once, and all that come after the first second's bytes wait.
    assert (report["done"], report["peak_in_flight"]) == (200, 2) and 50 < report["capped"] < 200
    report = forebay.trace.replay(at_once, max_bytes_in_flight="4KB", max_capped=50, options=slow)
    assert (report["done"], report["peak_bytes_in_flight"]) == (200, 4000) and 50 < report["capped"] < 200
    assert len(report["violations"]) == 1 and "that a cap delayed" in report["violations"][0]
    report = forebay.trace.replay(at_once, max_bytes_in_flight=999)
    assert (report["exact"], report["asked"], report["planned"]) == (False, 0, 200)
    report = forebay.trace.replay(at_once, max_bytes_in_flight=4000, max_in_flight=200, options=slow)
    assert report["peak_in_flight"] == 4
    for options in [{"max_in_flight": 0}, {"max_bytes_in_flight": 0}]:
        with pytest.raises(ValueError, match="1 or more"):
            forebay.trace.replay(at_once, **options)


def test_modes_keep_their_own_pace(hundred, folder, tmp_path):
    # Closed: by its concurrency, whatever the trace's times. The second half waits for its bytes, so that three do.
    slow = {"limit_bytes_per_second": 50_000}
    report = forebay.trace.replay(hundred, mode="closed", concurrency=3, options=slow)
    assert report["peak_in_flight"] == 3 and report["capped"] == 0
    assert report["submit_error_ns"] is None and report["noise_floor_ns"] is None and report["exact"]
    # Dependency: reads that took 1 ms each and thought for 5 ms, ten times.
    uri = (folder / "00.bin").as_uri()
    thinking = written(
        tmp_path / "thinking.jsonl",
        [{"op": "get", "uri": uri, "t_submit": i * 6 * MS, "t_done": (i * 6 + 1) * MS, "stream": 7} for i in range(10)],
    )
    report = forebay.trace.replay(thinking, mode="dependency", max_in_flight=8)
    assert (report["done"], report["peak_in_flight"], report["starved"]) == (10, 1, 0)
    assert report["elapsed_ns"] >= 45 * MS
    report = forebay.trace.replay(thinking, mode="dependency", time_scale=2)
    assert report["elapsed_ns"] >= 90 * MS
    for mode in ["sideways", 3, ["open"]]:
        with pytest.raises(ValueError, match="open, closed or dependency"):
            forebay.trace.replay(hundred, mode=mode)
    with pytest.raises(ValueError, match="concurrency"):
        forebay.trace.replay(hundred, mode="closed", concurrency=0)


def test_what_a_mode_cannot_obey_is_refused_and_an_empty_trace_passes_no_bound(hundred, tmp_path):
    for options, needle in [
        ({"concurrency": 4}, "concurrency"),
        ({"mode": "dependency", "concurrency": 4}, "concurrency"),
        ({"mode": "closed", "time_scale": 3}, "time_scale"),
        ({"mode": "closed", "max_submit_error": 1e-9}, "submit_error"),
        ({"mode": "closed", "max_drift": 1}, "drift"),
        ({"mode": "closed", "max_gap_distance": 0.01}, "gap_distance"),
        ({"mode": "closed", "max_capped": 0}, "capped"),
        ({"max_gap_distance": 2}, "0 to 1"),
        ({"max_latency_distance": 2}, "0 to 1"),
        ({"exact": 1}, "exact must be True or False"),
    ]:
        with pytest.raises(ValueError, match=needle):
            forebay.trace.replay(hundred, **options)
    empty = written(tmp_path / "empty.jsonl", [])
    assert forebay.trace.replay(empty)["violations"] == []
    report = forebay.trace.replay(empty, max_failures=0, max_drift=1)
    assert ["could not be measured" in violation for violation in report["violations"]] == [True, True]


def test_records_that_say_half_a_range_or_no_location_are_refused_where_they_stand(tmp_path):
    for record, needle in [
        ({"op": "get", "uri": "mem://h/k", "offset": 3, "t_submit": 1}, "line 2, column .* needs a len"),
        ({"op": "get", "uri": "data/k", "t_submit": 1}, "line 2, column .*data/k"),
    ]:
        trace = written(tmp_path / "bad.jsonl", [record])
        for use in [forebay.trace.info, forebay.trace.replay]:
            with pytest.raises(ValueError, match=needle):
                use(trace)


def test_operations_belong_to_the_epochs_of_their_own_loaders(folder, tmp_path):
    options = forebay.LoaderOptions(batch_size=8)
    one, other = (forebay.create_async_loader(folder, options) for _ in range(2))
    path = tmp_path / "t.jsonl"
    with forebay.trace.record(path, options=options):
        for loader in [one, other, one]:
            for _ in loader:
                pass
        forebay.get(folder / "00.bin")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["options"]["batch_size"] == 8
    epochs = [line.get("epoch") for line in lines if line.get("op") == "get"]
    assert [epochs.count(epoch) for epoch in [0, 1, None]] == [80, 40, 1]
    with forebay.trace.record(path, options={"model": "m7"}):
        pass
    assert forebay.trace.info(path)["header"]["options"] == {"model": "m7"}
    with pytest.raises(TypeError, match="LoaderOptions or a dict"):
        forebay.trace.record(path, options=3).__enter__()
    with pytest.raises(ValueError, match="65536 or more"):
        forebay.trace.record(path, rotate_bytes=1).__enter__()


def test_a_page_cache_policy_is_obeyed_or_refused(hundred):
    report = forebay.trace.replay(hundred, mode="closed", page_cache_mode="dont_need")
    assert report["done"] == 100
    with pytest.raises(ValueError, match="page_cache_mode=direct_io"):
        forebay.trace.replay(hundred, mode="closed", page_cache_mode="direct_io")
    for policy in ["sometimes", 3]:
        with pytest.raises(ValueError, match="page_cache_mode"):
            forebay.trace.replay(hundred, page_cache_mode=policy)


def test_a_priority_is_had_or_refused(hundred):
    report = forebay.trace.replay(hundred)
    if report["scheduling"] is not None:
        assert report["scheduling"]["policy"] in ("other", "batch", "idle", "fifo", "rr", "deadline")
    try:
        report = forebay.trace.replay(hundred, priority="realtime")
        assert (report["scheduling"]["policy"], report["scheduling"]["priority"]) == ("rr", 1)
    except ValueError as refused:
        assert "CAP_SYS_NICE" in str(refused)
    for priority in ["first", 3]:
        with pytest.raises(ValueError, match="fair or realtime"):
            forebay.trace.replay(hundred, priority=priority)


def test_what_changes_a_store_is_replayed_only_if_asked(folder, tmp_path):
    trace = written(
        tmp_path / "changes.jsonl",
        [
            {"op": "put", "uri": (folder / "new.bin").as_uri(), "t_submit": 0, "bytes": 77},
            {"op": "delete", "uri": (folder / "00.bin").as_uri(), "t_submit": 5},
        ],
    )
    report = forebay.trace.replay(trace)
    assert report["left_out"] == {"put": 1, "delete": 1} and not (folder / "new.bin").exists()
    report = forebay.trace.replay(trace, mutate=True)
    assert report["done"] == 2 and (folder / "new.bin").stat().st_size == 77 and not (folder / "00.bin").exists()


# Room for some pieces; for the first line and the last alone.
@pytest.mark.parametrize("room, least", [(1_500_000, 1000), (4096, 0)])
def test_a_disk_that_is_full_ends_the_trace_and_not_the_job(folder, tmp_path, room, least):
    """A limit on the size of files stands for a full disk; Python ignores the signal that comes with it."""
    path = tmp_path / "t.jsonl"
    script = f"""
import forebay, resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
loader = forebay.create_async_loader({str(folder)!r}, {{"batch_size": 8}})
samples = 0
with forebay.trace.record({str(path)!r}) as trace:
    for _ in range(500):
        samples += sum(len(batch) for batch in loader)
print(samples, trace.result["records"], trace.result["dropped"], trace.result["failure"])
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    samples, records, dropped, failure = out.split(maxsplit=3)
    assert int(samples) == 20_000 and int(records) >= least and int(dropped) > 1000 and "t.jsonl" in failure
    assert int(records) + int(dropped) >= 20_000
    info = forebay.trace.info(path)
    assert not info["complete"] and info["dropped"] == int(dropped)
    assert sum(info["summary"]["operations"].values()) == int(records)


@pytest.mark.parametrize(
    "name",
    ["start", "stop", "time_scale", "max_submit_error", "max_drift", "max_gap_distance", "max_size_distance"]
    + ["max_latency_distance", "max_envelope_deviation"],
)
def test_a_number_that_is_none_is_refused(epoch, name):
    for number in (float("nan"), float("inf")):
        with pytest.raises(forebay.InvalidConfigError, match=f"{name} must be a finite number"):
            forebay.trace.replay(epoch, **{name: number})
