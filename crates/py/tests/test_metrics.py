"""forebay.metrics.snapshot, Loader.snapshot, Loader.report."""

import json

import forebay


def counters():
    return forebay.metrics.snapshot()["counters"]


def test_the_process_counts_what_all_calls_do(folder):
    root = folder([1000] * 10)
    before = counters()
    forebay.get(root / "00000.bin")
    forebay.get_range(root / "00000.bin", 0, 10)
    forebay.get_many([root / "00000.bin", root / "00001.bin"])
    forebay.put(root / "x", bytes(77))
    forebay.stat(root / "x")
    forebay.delete(root / "x")
    assert not forebay.exists(root / "x")
    assert len(list(forebay.create_async_loader(root, {"batch_size": 5}))) == 2
    after = counters()
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert grown == {
        "gets": 14,
        "range_gets": 1,
        "bytes_read": 1000 + 10 + 2000 + 10_000,
        "puts": 1,
        "bytes_written": 77,
        "stats": 1,
        "deletes": 1,
        "lists": grown["lists"],
        "errors": 1,
        "requests": 14 + 4 + grown["lists"],
        "failed_requests": 1,
        "bytes_transferred": 13_010 + 77,
    }


def test_a_snapshot_is_plain_data():
    snapshot = forebay.metrics.snapshot()
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert "inflight_bytes" not in snapshot, "which is known of one loader only"


def test_a_loader_counts_its_own(folder):
    root = folder([1000] * 40)
    loader, other = (forebay.create_async_loader(root, {"batch_size": 4, "max_bytes_in_flight": 10_000}) for _ in "ab")
    for epoch in (1, 2):
        list(loader)
        snapshot = loader.snapshot()
        assert snapshot["counters"]["gets"] == 40 * epoch
        assert snapshot["counters"]["bytes_read"] == 40_000 * epoch
    assert 4 * 1024 <= snapshot["inflight_bytes"]["peak"] <= snapshot["inflight_bytes"]["cap"] == 10_000
    assert snapshot["page_cache"]["applied"] == {"default": 80}
    assert snapshot["operations"]["get"]["latency_ns"]["count" if "count" in snapshot["operations"]["get"]["latency_ns"] else "n"] == 80
    assert snapshot["queues"][-1]["items"] == 10, "of the last epoch"
    assert [stage["name"] for stage in snapshot["stages"]] == ["index", "read"]
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert other.snapshot()["counters"]["gets"] == 0


def test_a_running_epoch_is_seen(folder):
    loader = forebay.create_async_loader(folder([1000] * 40), {"batch_size": 4})
    batches = iter(loader)
    next(batches)
    assert loader.snapshot()["queues"][-1]["items"] == 1
    next(batches)
    assert loader.snapshot()["queues"][-1]["items"] == 2
    del batches
    assert loader.snapshot()["queues"][-1]["items"] == 2


def test_the_report_is_for_people(folder):
    loader = forebay.create_async_loader(folder([1000] * 40), {"batch_size": 4, "page_cache_mode": "dont_need"})
    assert "0 samples" in loader.report()
    for _ in range(2):
        list(loader)
    report = loader.report()
    assert "80 samples in 20 batches, 2 epochs" in report
    assert "asked for dont_need, used dont_need" in report
    assert "Sink" in report and max(map(len, report.splitlines())) <= 80
