"""Worker processes leave what they counted, and the parent reads what one process would have counted."""

import collections
import multiprocessing
import os

import forebay
import pytest
from forebay import metrics

SIZES = [7 * i for i in range(1, 81)]


def read_shard(dataset, rank, spool):
    loader = forebay.create_async_loader(dataset, {"batch_size": 4, "shard_rank": rank, "shard_world_size": 4})
    spool.follow(loader)
    list(loader)


def read_and_tell(dataset, rank, spool):
    loader = forebay.create_async_loader(dataset, {"batch_size": 4, "shard_rank": rank, "shard_world_size": 4})
    list(loader)
    spool.leave(loader.snapshot())
    list(loader)
    spool.leave(loader.snapshot())


def buckets(snapshots, name):
    """Counts by bucket, added up by hand."""
    sums = collections.Counter()
    for snapshot in snapshots:
        sums.update(dict(snapshot["operations"]["get"][name]["recorded"]["buckets"]))
    return sorted(sums.items())


def run(how, target, dataset, spool):
    context = multiprocessing.get_context(how)
    workers = [context.Process(target=target, args=(dataset, rank, spool)) for rank in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_what_workers_left_adds_up_to_one_process(folder, how):
    dataset = forebay.create_dataset(folder(SIZES))
    one = forebay.create_async_loader(dataset, {"batch_size": 4})
    list(one)
    one = one.snapshot()
    spool = metrics.Spool()
    run(how, read_shard, dataset, spool)
    assert len(spool.snapshots()) == 4
    merged = spool.merged()
    assert merged["req_bytes_hist"] == one["req_bytes_hist"], "bucket by bucket"
    for name in ("gets", "bytes_read", "requests", "bytes", "errors"):
        assert merged["backend_counters"][name] == one["backend_counters"][name], name
    latency = merged["operations"]["get"]["latency_us_hist"]["recorded"]["buckets"]
    assert [tuple(bucket) for bucket in latency] == buckets(spool.snapshots(), "latency_us_hist")


def test_what_is_left_later_replaces_what_was_left_before(folder):
    dataset = forebay.create_dataset(folder(SIZES))
    spool = metrics.Spool()
    run("fork", read_and_tell, dataset, spool)
    assert spool.merged()["backend_counters"]["gets"] == 2 * len(SIZES)


def test_the_files_go_with_the_spool_and_not_with_a_child_of_its_maker(folder):
    spool = metrics.Spool()
    child = os.fork()
    if child == 0:
        del spool
        os._exit(0)
    os.waitpid(child, 0)
    spool.leave(metrics.MetricsCollector().snapshot())
    place = spool._folder
    assert len(spool.snapshots()) == 1 and place.exists()
    del spool
    assert not place.exists()
