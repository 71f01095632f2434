"""The exceptions: classes, attributes, pickling."""

import builtins
import errno
import pickle

import forebay
import pytest

CLASSES = {
    "not_found": (forebay.NotFoundError, FileNotFoundError),
    "already_exists": (forebay.AlreadyExistsError, FileExistsError),
    "denied": (forebay.DeniedError, PermissionError),
    "precondition": (forebay.PreconditionError, forebay.Error),
    "invalid_range": (forebay.InvalidRangeError, ValueError),
    "invalid_config": (forebay.InvalidConfigError, ValueError),
    "unsupported": (forebay.UnsupportedError, ValueError),
    "throttled": (forebay.ThrottledError, OSError),
    "unavailable": (forebay.UnavailableError, OSError),
    "timed_out": (forebay.TimedOutError, TimeoutError),
    "corrupt": (forebay.CorruptError, OSError),
    "cancelled": (forebay.CancelledError, forebay.Error),
    "forked": (forebay.ForkedError, RuntimeError),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_each_kind_has_a_class_that_is_also_what_people_catch(kind):
    cls, also = CLASSES[kind]
    assert issubclass(cls, forebay.Error) and issubclass(cls, also)
    assert cls.__module__ == "forebay" and getattr(forebay, cls.__name__) is cls
    assert cls.__doc__ and cls.kind == kind
    for base in cls.__bases__[1:]:
        assert getattr(builtins, base.__name__) is base


def test_there_is_a_class_for_each_kind_and_no_other():
    made = {value for value in vars(forebay).values() if isinstance(value, type) and issubclass(value, forebay.Error)}
    assert made == {cls for cls, _ in CLASSES.values()} | {forebay.Error}


def test_an_error_says_what_where_and_whether_to_retry(tmp_path):
    with pytest.raises(forebay.Error) as caught:
        forebay.get(tmp_path / "a b")
    error = caught.value
    assert type(error) is forebay.NotFoundError
    assert (error.kind, error.operation, error.retryable) == ("not_found", "get", False)
    assert error.location == f"file://{tmp_path}/a%20b"
    assert error.errno == errno.ENOENT
    assert str(error) == f"get {error.location}: No such file or directory (os error 2)"


def test_errors_pickle_whole(tmp_path):
    caught = []
    for call in (
        lambda: forebay.get(tmp_path / "none"),
        lambda: forebay.LoaderOptions(batch_size=0),
        lambda: forebay.get("s3://bucket/key"),
        lambda: forebay.put(tmp_path / "none" / "x", b"", create=True)
        and forebay.put(tmp_path / "none" / "x", b"", create=True),
        lambda: forebay.get_range(__file__, 0, 1 << 30),
    ):
        with pytest.raises(forebay.Error) as info:
            call()
        caught.append(info.value)
    for error in caught:
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error)
        for name in ("kind", "location", "operation", "retryable"):
            assert getattr(again, name) == getattr(error, name), name
    assert len({type(error) for error in caught}) == 5


def test_errors_can_be_made_by_hand():
    error = forebay.TimedOutError("too late")
    assert (error.kind, error.location, error.operation, error.retryable) == ("timed_out", None, None, True)
    assert forebay.Error("x").kind is None
    with pytest.raises(TimeoutError, match="too late"):
        raise error


def test_a_scheme_that_is_not_there_says_what_is():
    with pytest.raises(forebay.InvalidConfigError, match="file://"):
        forebay.create_dataset("gs://bucket/train")
    with pytest.raises(forebay.InvalidConfigError, match="file:///data/x"):
        forebay.get("file://data/x")
    with pytest.raises(forebay.InvalidConfigError, match="empty"):
        forebay.get("")
