"""get, get_range, get_many, put, list, stat, exists, delete, delete_many."""

import os
import pathlib
from datetime import datetime, timedelta, timezone

import forebay
import pytest

from conftest import content


def test_what_was_put_is_what_is_got(tmp_path):
    for data in [b"", b"x", bytes(1000), content(1, 3 << 20)]:
        entry = forebay.put(tmp_path / "object", data)
        assert entry.size == len(data) and not entry.is_dir
        got = forebay.get(tmp_path / "object")
        assert got == data
        assert isinstance(got, memoryview) and got.readonly and got.contiguous


def test_anything_with_a_buffer_can_be_put(tmp_path):
    import array

    import numpy

    numbers = numpy.arange(100, dtype="<u2").reshape(10, 10)
    for data in [bytearray(b"abc"), memoryview(b"abc")[1:], array.array("i", [1, 2, 3]), numbers]:
        forebay.put(tmp_path / "object", data)
        assert forebay.get(tmp_path / "object") == memoryview(data).cast("B")
    with pytest.raises(TypeError, match="bytes-like"):
        forebay.put(tmp_path / "object", "text")
    with pytest.raises(TypeError):
        forebay.put(tmp_path / "object", numbers[:, ::2])
    assert forebay.get(tmp_path / "object") == numbers.tobytes(), "what failed has written nothing"


def test_views_stay_when_file_and_other_names_are_gone(tmp_path):
    data = content(3, 1 << 20)
    (tmp_path / "x").write_bytes(data)
    view = forebay.get(tmp_path / "x")[100:200]
    os.remove(tmp_path / "x")
    assert view == data[100:200]


def test_put_replaces_unless_told_to_create(tmp_path):
    forebay.put(tmp_path / "x", b"old")
    forebay.put(tmp_path / "x", b"new", durable=True)
    with pytest.raises(forebay.AlreadyExistsError) as caught:
        forebay.put(tmp_path / "x", b"newer", create=True)
    assert isinstance(caught.value, FileExistsError)
    assert forebay.get(tmp_path / "x") == b"new"


def test_locations_are_uris_paths_and_path_objects(tmp_path, monkeypatch):
    place = tmp_path / "a b" / "ä.bin"
    place.parent.mkdir()
    place.write_bytes(b"here")
    monkeypatch.chdir(tmp_path)
    uri = forebay.stat(place).uri
    assert uri.startswith("file:///") and "a%20b" in uri
    for way in [place, str(place), pathlib.PurePath("a b/ä.bin"), "a b/ä.bin", uri]:
        assert forebay.get(way) == b"here", way


def test_file_names_are_bytes(tmp_path):
    strange = os.path.join(os.fsencode(tmp_path), b"\xff\xfe")
    with open(strange, "wb") as file:
        file.write(b"here")
    (entry,) = forebay.list(tmp_path)
    assert os.fsencode(entry.key) == b"\xff\xfe"
    assert forebay.get(entry.uri) == b"here", "the URI is text and names the same file"
    assert forebay.get(os.fsdecode(strange)) == b"here"


def test_ranges(tmp_path):
    data = content(5, 1000)
    (tmp_path / "x").write_bytes(data)
    for start, length in [(0, 1000), (1, 10), (999, 1), (1000, 0), (0, 0)]:
        assert forebay.get_range(tmp_path / "x", start, length) == data[start : start + length]
    for start, length in [(0, 1001), (1000, 1), (5000, 1), (2**63, 2**63), (0, 2**62)]:
        with pytest.raises(ValueError) as caught:
            forebay.get_range(tmp_path / "x", start, length)
        assert isinstance(caught.value, forebay.Error), (start, length)
    with pytest.raises(OverflowError):
        forebay.get_range(tmp_path / "x", -1, 1)


def test_many_come_in_the_order_asked_for(folder):
    root = folder([0, 1, 5000, 300_000, 64, 1 << 20])
    names = [root / f"{i:05}.bin" for i in (5, 0, 3, 3, 1, 4, 2)]
    assert [bytes(view) for view in forebay.get_many(names)] == [name.read_bytes() for name in names]
    assert forebay.get_many([]) == []
    assert forebay.get_many(iter([names[0]]))[0] == names[0].read_bytes()


def test_many_raise_the_first_failure_or_return_each(folder):
    root = folder([10, 20])
    names = [root / "00000.bin", root / "none", root / "00001.bin"]
    with pytest.raises(forebay.NotFoundError, match="none"):
        forebay.get_many(names)
    first, error, last = forebay.get_many(names, return_exceptions=True)
    assert (len(first), len(last)) == (10, 20)
    assert isinstance(error, FileNotFoundError) and error.location.endswith("none")


def test_listing(folder):
    root = folder([1, 2, 3])
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "x.jpg").write_bytes(b"12345")
    assert sorted(entry.key for entry in forebay.list(root)) == [
        "00000.bin",
        "00001.bin",
        "00002.bin",
        "deep/er/x.jpg",
    ]
    level = {entry.key: entry for entry in forebay.list(root, recursive=False)}
    assert level.keys() == {"00000.bin", "00001.bin", "00002.bin", "deep"}
    assert level["deep"].is_dir and not level["00000.bin"].is_dir
    assert [entry.key for entry in forebay.list(root, glob="**/*.jpg")] == ["deep/er/x.jpg"]
    (entry,) = forebay.list(root, glob="*1.bin", details=True)
    assert entry.size == 2 and entry.modified is not None
    assert forebay.get(entry.uri) == (root / "00001.bin").read_bytes()
    (alone,) = forebay.list(root / "00002.bin")
    assert alone.key == ""


def test_a_listing_goes_through_many_pages_and_can_be_left(folder):
    root = folder([0] * 5000)
    assert len(list(forebay.list(root))) == 5000
    listing = forebay.list(root)
    assert next(listing) != next(listing)
    del listing
    with pytest.raises(forebay.NotFoundError):
        list(forebay.list(root / "none"))
    with pytest.raises(ValueError, match=r"a\["):
        forebay.list(root, glob="a[")


def test_stat(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    entry = forebay.stat(tmp_path / "x")
    assert (entry.size, entry.is_dir) == (5, False)
    assert abs(entry.modified - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert entry == forebay.stat(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"123456")
    assert entry != forebay.stat(tmp_path / "x") and entry.version != forebay.stat(tmp_path / "x").version
    assert forebay.stat(tmp_path).is_dir
    assert "size=5" in repr(entry)


def test_exists_and_delete(tmp_path):
    (tmp_path / "x").write_bytes(b"1")
    assert forebay.exists(tmp_path / "x") and forebay.exists(tmp_path)
    forebay.delete(tmp_path / "x")
    assert not forebay.exists(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        forebay.delete(tmp_path / "x")
    with pytest.raises(ValueError, match="flie"):
        forebay.exists("flie:///x")


def test_many_are_deleted_and_each_is_answered(tmp_path):
    paths = [tmp_path / str(number) for number in range(5)]
    for path in paths:
        path.write_bytes(b"1")
    assert forebay.delete_many(paths[:2]) == [None, None]
    assert [path.exists() for path in paths] == [False, False, True, True, True]
    answers = forebay.delete_many([paths[0], paths[2], "mem://delete_many/x"], return_exceptions=True)
    assert isinstance(answers[0], FileNotFoundError) and isinstance(answers[2], FileNotFoundError)
    assert answers[1] is None and not paths[2].exists()
    with pytest.raises(FileNotFoundError, match="/0"):
        forebay.delete_many([paths[0], paths[3], paths[4]])
    assert not paths[3].exists() and not paths[4].exists()
    assert forebay.delete_many([]) == []


def test_options_of_the_store_are_honoured_or_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"1")
    assert forebay.get(tmp_path / "x", options={"threads": 1, "retries": "2"}) == b"1"
    with pytest.raises(ValueError, match="did you mean threads"):
        forebay.get(tmp_path / "x", options={"thread": 1})
    with pytest.raises(ValueError, match="1 or more"):
        forebay.exists(tmp_path / "x", options={"threads": 0})
    with pytest.raises(TypeError, match="options must be a dict"):
        forebay.stat(tmp_path / "x", options=3)


def test_memory_holds_objects_for_this_process():
    forebay.put("mem://test_store/a/b", b"kept")
    assert forebay.get("mem://test_store/a/b") == b"kept"
    assert [entry.key for entry in forebay.list("mem://test_store/a")] == ["b"]
    forebay.delete("mem://test_store/a/b")
    assert not forebay.exists("mem://test_store/a/b")


@pytest.fixture
def small_object():
    """A service that has one object of 3 bytes at every key, and thinks ill of ranges it cannot count to."""
    import http.server
    import threading

    class Service(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(200, 3)

        def do_GET(self):
            self.answer(400, 0)

        def answer(self, status, length):
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.send_header("ETag", '"e"')
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_range_beyond_all_counting_is_an_invalid_range_on_services_too(small_object):
    options = {"endpoint": small_object, "anonymous": True, "retries": 0}
    for start in [1 << 62, 1 << 63, (1 << 64) - 3]:
        with pytest.raises(forebay.InvalidRangeError, match="3 bytes there are"):
            forebay.get_range("s3://bucket/key", start, 2, options=options)


def test_endpoints_are_a_list_or_text(small_object):
    for endpoints in [[small_object], (small_object, small_object + "/"), f"{small_object},{small_object}/"]:
        options = {"endpoints": endpoints, "anonymous": True, "retries": 0}
        assert forebay.stat("s3://bucket/key", options=options).size == 3
    with pytest.raises(forebay.InvalidConfigError, match="endpoint"):
        forebay.stat("s3://bucket/key", options={"endpoints": ["gopher://x"], "anonymous": True})


def test_credentials_of_the_environment_are_not_sent_to_any_host_that_a_url_names(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "acme")
    monkeypatch.setenv("AZURE_STORAGE_TOKEN", "hush")
    for uri in ["https://localhost:1/box/k", "https://acme.blob.evil.example/box/k"]:
        with pytest.raises(forebay.InvalidConfigError, match="is not sent to https://") as caught:
            forebay.stat(uri, options={"retries": 0})
        assert "hush" not in str(caught.value)
