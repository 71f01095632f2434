"""forebay.metrics, Loader.snapshot, Loader.report, Loader.get_performance_report."""

import csv
import io
import json
import pickle
import subprocess
import types
from pathlib import Path

import forebay
import pytest
from forebay import metrics
from hdrh.histogram import HdrHistogram
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families


def counters():
    return forebay.metrics.snapshot()["backend_counters"]


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
        "bytes": 13_010 + 77,
    }


def test_a_snapshot_is_plain_data():
    snapshot = forebay.metrics.snapshot()
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert "peak_inflight" not in snapshot, "which is known of one loader only"


def test_a_loader_counts_its_own(folder):
    root = folder([1000] * 40)
    loader, other = (forebay.create_async_loader(root, {"batch_size": 4, "max_bytes_in_flight": 10_000}) for _ in "ab")
    for epoch in (1, 2):
        list(loader)
        snapshot = loader.snapshot()
        assert snapshot["backend_counters"]["gets"] == 40 * epoch
        assert snapshot["backend_counters"]["bytes_read"] == 40_000 * epoch
    assert 4 * 1024 <= snapshot["peak_inflight"] <= snapshot["inflight_cap"] == 10_000
    assert snapshot["page_cache"]["applied"] == {"default": 80}
    assert snapshot["operations"]["get"]["latency_us_hist"]["n"] == 80
    assert snapshot["queues"][-1]["items"] == 10, "of the last epoch"
    assert [stage["name"] for stage in snapshot["stages"]] == ["index", "read"]
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert other.snapshot()["backend_counters"]["gets"] == 0


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


def loaded(folder, sizes=range(0, 400_000, 1000)):
    loader = forebay.create_async_loader(folder(list(sizes)), {"batch_size": 4})
    list(loader)
    return loader


def test_snapshots_add_up_to_what_one_process_would_have_counted(folder):
    loader = loaded(folder)
    first = loader.snapshot()
    list(loader)
    both = loader.snapshot()
    second = metrics.diff(both, first)
    assert second["backend_counters"]["gets"] == 400
    again = metrics.merge(first, second)
    assert again["req_bytes_hist"]["recorded"] == both["req_bytes_hist"]["recorded"]
    assert again["backend_counters"] == both["backend_counters"]
    ours, whole = (s["operations"]["get"]["latency_us_hist"] for s in (again, both))
    assert (ours["n"], ours["sum"], ours["recorded"]["buckets"]) == (whole["n"], whole["sum"], whole["recorded"]["buckets"])
    assert metrics.merge(first)["operations"] == first["operations"]
    with pytest.raises(ValueError, match="not an earlier"):
        metrics.diff(first, both)


def test_json_comes_back_and_rubbish_is_refused(folder):
    snapshot = loaded(folder, [100] * 8).snapshot()
    assert metrics.from_json(metrics.to_json(snapshot)) == snapshot
    whole = metrics.snapshot()
    assert metrics.merge(whole)["backend_counters"] == whole["backend_counters"]
    for wrong in ("", "{}", '{"schema_version": 99}'):
        with pytest.raises(forebay.InvalidConfigError):
            metrics.from_json(wrong)
    with pytest.raises(forebay.InvalidConfigError):
        metrics.to_csv({"schema_version": 2})


def test_the_table_has_a_figure_a_row(folder):
    rows = list(csv.DictReader(metrics.to_csv(loaded(folder, [100] * 8).snapshot()).splitlines()))
    (gets,) = [row for row in rows if (row["section"], row["metric"]) == ("counter", "gets")]
    assert (gets["value"], gets["unit"], gets["schema_version"]) == ("8", "operations", "2")
    assert all(None not in row and None not in row.values() for row in rows)


def test_prometheus_reads_what_is_written_for_it(folder):
    snapshot = loaded(folder).snapshot()
    families = {family.name: family for family in text_string_to_metric_families(metrics.to_prometheus(snapshot))}
    assert families["forebay_gets"].type == "counter" and families["forebay_gets"].samples[0].value == 400
    sizes = families["forebay_operation_req_bytes"]
    assert sizes.type == "histogram" and "served get" in sizes.documentation
    buckets = {float(s.labels["le"]): s.value for s in sizes.samples if s.name.endswith("_bucket")}
    for bound, value in buckets.items():
        assert value == sum(size <= bound for size in range(0, 400_000, 1000)), bound
    (total,) = [s.value for s in sizes.samples if s.name.endswith("_sum")]
    assert total == sum(range(0, 400_000, 1000))
    (seconds,) = [s.value for s in families["forebay_operation_latency_seconds"].samples if s.name.endswith("_sum")]
    assert seconds == pytest.approx(snapshot["operations"]["get"]["latency_us_hist"]["sum"] / 1e6)


def test_a_strict_reader_of_openmetrics_finds_the_same(folder):
    snapshot = loaded(folder).snapshot()
    loose = text_string_to_metric_families(metrics.to_prometheus(snapshot))
    strict = list(openmetrics.text_string_to_metric_families(metrics.to_openmetrics(snapshot)))

    def figures(families):
        return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}

    assert figures(strict) == figures(loose) and len(strict) > 50
    assert {f.name: f.type for f in strict}["forebay_backend_breaker_opens"] == "counter"


def test_java_reads_every_bucket(folder, tmp_path):
    snapshot = loaded(folder).snapshot()
    log = tmp_path / "run.hlog"
    log.write_text(metrics.to_hlog(snapshot, 1000.5, 2))
    # Both from Debian's packages, which `cargo xtask test` looks after.
    reader = ["java", "-cp", "/usr/share/java/hdrhistogram.jar", Path(__file__).with_name("ReadLog.java"), log]
    found = {}
    for line in subprocess.run(reader, check=True, capture_output=True, text=True).stdout.splitlines():
        tag, begin, end, low, count = line.split(",")
        assert (begin, end) == ("1000500", "1002500")
        found.setdefault(tag, []).append([int(low), int(count)])
    get = snapshot["operations"]["get"]
    for tag, name in (("latency_ns", "latency_us_hist"), ("req_bytes", "req_bytes_hist")):
        assert found[f"operation.get.{tag}"] == get[name]["recorded"]["buckets"]
    lines = metrics.to_hlog(snapshot).splitlines()
    assert set(found) == {line.split(",")[0].removeprefix("Tag=") for line in lines if line.startswith("Tag=")}


def test_hdrhistogram_reads_every_bucket(folder):
    get = (snapshot := loaded(folder).snapshot())["operations"]["get"]
    lines = [line for line in metrics.to_hlog(snapshot, 1000.5, 2).splitlines() if not line.startswith("#")]
    found = {}
    for line in lines:
        tag, begin, length, _, encoded = line.split(",")
        assert (begin, length) == ("1000.500", "2.000")
        found[tag.removeprefix("Tag=")] = HdrHistogram.decode(encoded)
    for tag, name in (("latency_ns", "latency_us_hist"), ("req_bytes", "req_bytes_hist")):
        histogram = found[f"operation.get.{tag}"]
        buckets = get[name]["recorded"]["buckets"]
        assert histogram.get_total_count() == 400 == sum(n for _, n in buckets)
        assert all(histogram.get_count_at_value(low) == n for low, n in buckets)


def test_the_performance_report_is_what_the_command_reads(folder):
    report = loaded(folder, [100] * 8).get_performance_report()
    assert (report["facts"]["samples"], report["facts"]["bytes"], report["facts"]["batches"]) == (8, 800, 2)
    assert report["facts"]["elapsed_s"] > 0
    assert report["metrics"]["backend_counters"]["gets"] == 8


def test_a_loader_tells_what_its_backend_was_asked(folder):
    root = folder([10_000] * 12)
    loader, other = (forebay.create_async_loader(root, {"batch_size": 4, "target_request_bytes": 4096}) for _ in "ab")
    before = forebay.metrics.snapshot()["backend_counters"]["requests"]
    list(loader)
    snapshot = loader.snapshot()
    attempts = snapshot["operations"]["get"]["attempts"]
    assert (attempts["requests"], attempts["bytes"]) == (36, 120_000)
    assert "36" in loader.report() and "Asked of the backend, get" in loader.report()
    assert forebay.metrics.snapshot()["backend_counters"]["requests"] - before == 36, "and the process counts it, too"
    assert other.snapshot()["backend_counters"]["requests"] == 0
    assert "connections" not in snapshot["backend_counters"], "files have none"


def test_the_page_cache_is_looked_into_before_reads(folder):
    root = folder([8192] * 20)
    dataset = forebay.create_dataset(root, {"page_cache_sampling": 1})
    loader = forebay.create_async_loader(dataset, {"batch_size": 4})
    list(loader)
    list(loader)
    cache = loader.snapshot()["page_cache"]
    assert cache["reads_sampled"] == 40
    assert cache["hit"] + cache["miss"] + cache["unknown"] == 40 * 8192
    assert cache["unknown"] or cache["hit"] >= 20 * 8192, "the second epoch"
    assert "was in it before" in loader.report() or cache["unknown"]


def test_metrics_that_are_off_are_off(folder):
    root = folder([1000] * 12)
    before = forebay.metrics.snapshot()
    loader = forebay.create_async_loader(forebay.create_dataset(root), {"batch_size": 4}, enable_metrics=False)
    assert len(list(loader)) == 3
    for ask in (loader.snapshot, loader.report, loader.get_performance_report):
        with pytest.raises(forebay.UnsupportedError, match="enable_metrics=False"):
            ask()
    after = forebay.metrics.snapshot()
    assert after["backend_counters"]["gets"] == before["backend_counters"]["gets"]
    assert not loader.enable_metrics and forebay.create_async_loader(root).enable_metrics


def test_a_pickled_loader_keeps_its_choice(folder):
    loader = forebay.create_async_loader(folder([10] * 4), enable_metrics=False)
    assert not pickle.loads(pickle.dumps(loader)).enable_metrics


def test_how_finely_a_loader_measures_is_a_choice(folder):
    root = folder([1000] * 40)
    chosen = {"preset": "inference", "sampling_rate": 0.5, "batch_size": 8}
    loader = forebay.create_async_loader(root, {"batch_size": 4}, enable_metrics=chosen)
    chosen["sampling_rate"] = 2.0
    assert loader.enable_metrics is True
    loader = pickle.loads(pickle.dumps(loader))
    for _ in range(5):
        list(loader)
    snapshot = loader.snapshot()
    latency = snapshot["latency_us_hist"]
    assert (latency["recorded"]["digits"], latency["recorded"]["sampling_rate"], latency["of"]) == (4, 0.5, 200)
    assert 50 < latency["n"] < 150
    assert snapshot["backends"]["file"]["counters"]["gets"] == snapshot["backend_counters"]["gets"] == 200
    assert "of 200 operations" in loader.report()
    whole = forebay.create_async_loader(root, enable_metrics={"preset": "inference"})
    list(whole)
    with pytest.raises(ValueError, match="sampling_rate 0.5 and 1"):
        metrics.merge(snapshot, whole.snapshot())
    for wrong, match in [
        ({"preset": "fast"}, "high_frequency"),
        ({"digits": 3}, "significant_digits"),
        ({"significant_digits": 6}, "1 to 5"),
        ({"sampling_rate": 0}, "above 0"),
        ({"batch_size": 5000}, "4096"),
    ]:
        with pytest.raises(ValueError, match=match):
            forebay.create_async_loader(root, enable_metrics=wrong)
    with pytest.raises(TypeError, match="True, False or a mapping"):
        forebay.create_async_loader(root, enable_metrics="yes")


def test_a_program_counts_operations_of_its_own():
    collector = metrics.MetricsCollector("inference", batch_size=16)
    for us in range(1, 201):
        collector.record_operation("augment", us / 1e6, bytes=us)
    summary = collector.latency_summary("augment")
    assert (summary["n"], summary["of"], summary["min"], summary["max"]) == (200, 200, 1, 200)
    assert summary["p50"] == pytest.approx(100, rel=1e-4) and summary["p99"] == pytest.approx(198, rel=1e-4)
    assert summary["recorded"]["digits"] == 4
    assert collector.latency_summary("never") is None
    assert "augment" in collector.report()
    assert metrics.merge(collector.snapshot(), collector.snapshot())["operations"]["augment"]["ops"] == 400


@pytest.mark.parametrize("preset", ["training", "inference", "high_frequency"])
def test_every_preset_takes_a_byte_to_a_tebibyte_and_a_nanosecond_to_an_hour(preset):
    collector = metrics.MetricsCollector(preset)
    for seconds, size in ((1e-9, 1), (3600, 1 << 40)):
        collector.record_operation("get", seconds, size)
    snapshot = collector.snapshot()
    assert snapshot["backend_counters"]["clamped"] == 0
    assert (snapshot["latency_us_hist"]["min"], snapshot["latency_us_hist"]["max"]) == (0.001, 3.6e9)
    assert (snapshot["req_bytes_hist"]["min"], snapshot["req_bytes_hist"]["max"]) == (1, 1 << 40)


def test_what_is_out_of_range_is_clamped_and_told_of_a_programs_own_operations_too():
    collector = metrics.MetricsCollector()
    collector.record_operation("decode", 1e7)
    collector.record_operation("get", 1e7)
    assert collector.snapshot()["backend_counters"]["clamped"] == 2
    assert "clamped" in collector.report()


def test_numbers_and_snapshots_that_cannot_be_are_named():
    collector = metrics.MetricsCollector()
    for wrong in (-1, 1 << 70):
        for name in ("batch_size", "significant_digits"):
            with pytest.raises(forebay.InvalidConfigError, match=f"{name} is {wrong}: a whole number from 1 to"):
                metrics.MetricsCollector(**{name: wrong})
        with pytest.raises(forebay.InvalidConfigError, match=f"bytes is {wrong}: a whole number"):
            collector.record_operation("decode", 1, bytes=wrong)
    with pytest.raises(TypeError):
        collector.record_operation("decode", 1, bytes="many")
    with pytest.raises(TypeError, match="a snapshot must be what snapshot"):
        metrics.merge([collector.snapshot()])


def test_sampling_says_of_how_many_it_speaks():
    collector = metrics.MetricsCollector(sampling_rate=0.1, significant_digits=2)
    for us in range(1, 20_001):
        collector.record_operation("step", us / 1e6)
    operation = collector.snapshot()["operations"]["step"]
    latency = operation["latency_us_hist"]
    assert operation["ops"] == latency["of"] == 20_000 and 1_700 < latency["n"] < 2_300
    low, high = latency["confidence_95"]["p50"]
    assert low < latency["p50"] < high
    assert "95 % confidence" in collector.report()
    for wrong in ({"sampling_rate": 0}, {"batch_size": 0}, {"significant_digits": 6}, {"preset": "fast"}):
        with pytest.raises(forebay.InvalidConfigError, match=next(iter(wrong)).replace("_", ".")):
            metrics.MetricsCollector(**wrong)
    with pytest.raises(ValueError, match="Two Words"):
        collector.record_operation("Two Words", 1)


def test_a_line_shows_how_it_goes_on_a_terminal_only(folder, run):
    where = folder([100_000] * 40)
    program = f"""
import forebay, os, pty, sys
for batch in forebay.create_async_loader({str(where)!r}, {{"batch_size": 4}}, progress=True):
    pass
parent, child = pty.openpty()
terminal = os.fdopen(child, "w")
live = forebay.metrics.Live(interval=0.001, file=terminal)
for batch in forebay.create_async_loader({str(where)!r}, {{"batch_size": 4}}, progress=live):
    pass
text = os.read(parent, 65536).decode()
assert "epoch 1  10/10 batches" in text and "MiB/s  p99 " in text and "  ready " in text, text
assert text.endswith("\\n"), text
"""
    assert run(program) == ""


def test_a_line_elsewhere_is_asked_for(folder):
    file = io.StringIO()
    live = forebay.metrics.Live(interval=3600, file=file, force=True)
    loader = forebay.create_async_loader(folder([10] * 12), {"batch_size": 4}, progress=live)
    for _ in range(2):
        list(loader)
    lines = file.getvalue().splitlines()
    assert [line.split("  ")[:2] for line in lines] == [["epoch 1", "3/3 batches"], ["epoch 2", "3/3 batches"]]
    again = pickle.loads(pickle.dumps(loader))
    assert len(list(again)) == 3


def test_a_line_tells_of_an_epoch_of_unknown_length(folder):
    file = io.StringIO()
    live = forebay.metrics.Live(interval=1e-9, file=file, force=True)
    options = {"batch_size": 4, "loading_mode": "streaming"}
    loader = forebay.create_async_loader(folder([10] * 12), options, progress=live)
    assert len(list(loader)) == 3
    # While the listing goes on; of a dozen files it is mostly over before the first batch.
    live.watch(loader)
    live(types.SimpleNamespace(epoch=0, batches=1234, batches_total=None, elapsed=0.1))
    lines = file.getvalue().splitlines()
    assert len(lines) == 4 and lines[-1].startswith("epoch 1  1,234 batches  "), lines


def test_figures_are_of_what_happened_since_they_were_asked_for(folder):
    loader = forebay.create_async_loader(folder([1 << 16] * 200), {"batch_size": 4})
    live = forebay.metrics.live(loader)
    list(loader)
    figures = live.figures()
    assert float(figures["MiB/s"].replace(",", "")) > 0 and figures["p99"] != "-"
    assert live.figures()["MiB/s"] == "0.0" and live.figures()["p99"] == "-"
    assert forebay.metrics.Live().figures() == {}
    with pytest.raises(ValueError, match="interval"):
        forebay.metrics.Live(interval=0)
