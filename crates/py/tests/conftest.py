"""Data sets, other processes and libraries for the tests."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest


def content(index, size):
    """What sample `index` of a test's data set holds: no two samples begin alike."""
    return (index.to_bytes(4, "little") + bytes(range(256)) * (size // 256 + 1))[:size]


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of files 00000.bin, 00001.bin, ... of the given sizes."""

    def make(sizes, name="data"):
        root = tmp_path / name
        root.mkdir()
        for index, size in enumerate(sizes):
            (root / f"{index:05}.bin").write_bytes(content(index, size))
        return root

    return make


@pytest.fixture
def torch():
    """PyTorch. Its tests are only left out where that was asked for: an absence must not pass for a success."""
    if os.environ.get("FOREBAY_NO_TORCH") == "1":
        pytest.skip("FOREBAY_NO_TORCH=1: PyTorch was left out")
    import torch

    return torch


@pytest.fixture
def script(tmp_path):
    """Writes a program to a file, as `spawn` needs it, and starts it in an interpreter of its own."""

    def start(text, *arguments):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(text))
        return subprocess.Popen(
            [sys.executable, "-u", path, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run(script):
    """Runs a program to its end, which must be a good one, and returns what it printed."""

    def run(text, *arguments, timeout=60):
        process = script(text, *arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"still running after {timeout} s\n{out}\n{err}")
        assert process.returncode == 0, f"exit {process.returncode}\n{out}\n{err}"
        return out

    return run


def threads():
    """Names of this process' threads, sorted."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except FileNotFoundError:
            pass
    return sorted(names)


def eventually(holds, seconds=10):
    """Waits until a condition holds that other threads bring about, without being waited for."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.005)
    return holds()
