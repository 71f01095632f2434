"""Ctrl-C: answered within 100 ms wherever something is waited for, and nothing is lost by it."""

import errno
import fcntl
import os
import signal
import time

import forebay
import pytest

from conftest import eventually

PROGRAM = """
    import signal, sys, time, forebay
    signal.signal(signal.SIGINT, signal.default_int_handler)
    slow = {"limit_bytes_per_second": 1}
    root = sys.argv[1]

    def loader():
        next(iter(forebay.create_async_loader(forebay.create_dataset(root, slow))))

    def get():
        forebay.get(root + "/00000.bin", options=slow)

    def get_many():
        forebay.get_many([root + "/00000.bin"] * 3, options=slow)

    def put():
        forebay.put(root + "/new.bin", bytes(1000), options=slow)

    wait = locals()[sys.argv[2]]
    print("waiting")
    try:
        wait()
    except KeyboardInterrupt:
        print(time.monotonic())
"""


@pytest.mark.parametrize("what", ["loader", "get", "get_many", "put"])
def test_a_wait_is_answered_within_100_ms(script, folder, what):
    root = folder([1000] * 3)
    delays = []
    # The promise is ours, the load of the machine is not: the best of a few must keep it.
    while len(delays) < 5 and min(delays, default=1) > 0.1:
        process = script(PROGRAM, root, what)
        assert process.stdout.readline() == "waiting\n"
        # Anywhere within the wait, or just before it.
        time.sleep(0.03 * len(delays))
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        delays.append(float(out) - sent)
    assert min(delays) <= 0.1, delays


class Interrupted(Exception):
    """Raised by the handler of the timer below, as KeyboardInterrupt is by that of Ctrl-C."""


@pytest.fixture
def alarm():
    """Makes a signal whose handler raises come in so many seconds; in 0, never."""

    def interrupt(*_):
        raise Interrupted

    old = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)


def test_an_interrupted_epoch_goes_on_where_it_was(folder, alarm):
    # One second's worth comes at once, the others every half second.
    dataset = forebay.create_dataset(folder([1000] * 5), {"limit_bytes_per_second": 2000})
    batches = iter(forebay.create_async_loader(dataset, {"batch_size": 1, "num_workers": 1}))
    seen, interrupted = [], 0
    while True:
        try:
            alarm(0.08)
            # Takes one after another without running Python in between, where a signal would be heard
            # with a batch in its hands.
            seen.extend(batches)
            alarm(0)
            break
        except Interrupted:
            interrupted += 1
    assert interrupted >= 3
    assert [id for batch in seen for id in batch.ids] == list(range(5))


def test_an_interrupted_put_leaves_nothing(folder, alarm):
    root = folder([10])
    before = os.listdir(root)
    with pytest.raises(Interrupted):
        alarm(0.1)
        forebay.put(root / "new", bytes(5000), options={"limit_bytes_per_second": 1})
    # Whoever writes notices that nobody waits any more, but not in the same moment.
    assert eventually(lambda: os.listdir(root) == before)


def test_a_handler_that_does_not_raise_does_not_end_the_wait(folder):
    dataset = forebay.create_dataset(folder([1000] * 2), {"limit_bytes_per_second": 1000})
    heard = []
    old = signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        assert len(list(forebay.create_async_loader(dataset, {"batch_size": 1}))) == 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert heard


def breaking():
    """The leases that somebody waits for, as the kernel lists them."""
    with open("/proc/locks") as locks:
        return "".join(line for line in locks if "BREAKING" in line)


def test_a_call_that_the_kernel_keeps_does_not_keep_the_caller(script, folder):
    root = folder([1000])
    with open(root / "00000.bin", "rb+") as file:
        try:
            # Whoever else opens the file waits until the lease is given up, 45 s as a rule.
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            # Some filesystems have no leases; a read that is slow in itself is tested above.
            assert error.errno in (errno.EINVAL, errno.EACCES), error
            return
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        process = script(PROGRAM.replace("options=slow", "options={}"), root, "get")
        assert process.stdout.readline() == "waiting\n"
        # In /proc/locks the lease is shown as breaking once somebody waits for it.
        while f"{os.stat(file.fileno()).st_ino} " not in breaking():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert process.returncode == 0 and float(out) > 0, err
