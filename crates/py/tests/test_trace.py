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
    report = forebay.trace.replay(path, prepare=True, replace=True, max_failures=0, max_size_distance=0.01)
    assert report["violations"] == [] and report["prepared"]["objects"] >= 1


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
import forebay, sys
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
