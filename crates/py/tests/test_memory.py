"""One cap for the memory of all loaders of a process. Each test in an interpreter of its own: the cap is a process's."""

BEGIN = """
    import os, sys
    import forebay

    root = sys.argv[1]

    def loader(**options):
        return forebay.create_async_loader(root, {"batch_size": 4, "max_bytes_in_flight": "64KiB", **options})
"""


def test_loaders_share_a_cap_and_what_is_held_counts(run, folder):
    run(
        BEGIN
        + """
    assert forebay.memory_cap() is None
    forebay.set_memory_cap("128KiB")
    a, b = loader(), loader(shuffle=True)
    got = forebay.memory_cap()
    # The listing of a folder says no sizes.
    assert got == {"cap": 131072, "guaranteed": 131072, "in_flight": 0, "held": 0, "peak": 0, "loaders": 2}
    kept = []
    for one, two in zip(a, b):
        kept.append(one)
        now = forebay.memory_cap()
        assert now["held"] >= len(kept) * 4096 and now["in_flight"] <= now["cap"]
    assert len(kept) == 10
    del kept, one, two
    now = forebay.memory_cap()
    assert now["held"] == 0 and 10 * 4096 < now["peak"] <= now["cap"]
    memory = a.snapshot()["memory"]
    assert memory["cap"] == now["cap"] and memory["peak"] == now["peak"]
    assert "all loaders" in a.report()
    """,
        folder([1000] * 40),
    )


def test_a_loader_without_room_is_refused_with_the_numbers(run, folder):
    run(
        BEGIN
        + """
    forebay.set_memory_cap(100_000)
    a = loader()
    try:
        loader()
    except forebay.InvalidConfigError as error:
        assert "100000" in str(error) and "65536" in str(error), error
    else:
        raise AssertionError("two times 65536 bytes")
    del a
    loader()
    """,
        folder([1000] * 40),
    )


def test_the_cap_is_set_before_loaders_are_made(run, folder):
    run(
        BEGIN
        + """
    a = loader()
    try:
        forebay.set_memory_cap("1GiB")
    except forebay.PreconditionError as error:
        assert "1 loaders" in str(error), error
    else:
        raise AssertionError("a loader was there")
    del a
    forebay.set_memory_cap("1GiB")
    forebay.set_memory_cap(None)
    assert forebay.memory_cap() is None
    for bad in (0, -1, "8 elephants", 1.5, [], True):
        try:
            forebay.set_memory_cap(bad)
        except ValueError:
            pass
        else:
            raise AssertionError(bad)
    """,
        folder([1000] * 40),
    )


def test_a_forked_child_has_a_cap_of_its_own(run, folder):
    run(
        BEGIN
        + """
    forebay.set_memory_cap("128KiB")
    a = loader()
    kept = next(iter(a))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            assert forebay.memory_cap() == {"cap": 131072, "guaranteed": 0, "in_flight": 0, "held": 0, "peak": 0, "loaders": 0}
            assert len(list(a)) == 10
            assert forebay.memory_cap()["loaders"] == 1
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert forebay.memory_cap()["held"] > 0
    """,
        folder([1000] * 40),
    )
