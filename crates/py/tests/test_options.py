"""LoaderOptions."""

import copy
import pickle

import forebay
import pytest
from forebay import LoaderOptions

# A value for each option that is not its default.
OTHER = {
    "batch_size": 7,
    "num_workers": 9,
    "prefetch": 3,
    "shuffle": True,
    "shuffle_window": 1000,
    "random_index_mode": "none",
    "seed": 2**64 - 1,
    "drop_last": True,
    "shard_rank": 2,
    "shard_world_size": 4,
    "shard_remainder": "drop",
    "loading_mode": "completion",
    "reader_mode": "range",
    "target_request_bytes": 65536,
    "max_bytes_in_flight": 123456,
    "page_cache_mode": "dont_need",
    "on_error": "skip:3",
    "retries": 2,
    "deadline": 30.5,
    "timeout": 60.0,
    "persistent_workers": False,
    "collate": "list",
    "pin_memory": "auto",
    "non_blocking": True,
    "multiprocessing_context": "spawn",
}
# It contradicts `shuffle`.
APART = {"random_index_mode": "zipfian:1.25"}
# What any loader can honour.
PLAIN = {name: OTHER[name] for name in ("batch_size", "num_workers", "prefetch", "shuffle", "seed", "drop_last")}


def test_every_option_is_a_keyword_an_attribute_and_in_the_dict():
    defaults = LoaderOptions()
    assert defaults.to_dict().keys() == OTHER.keys()
    options = LoaderOptions(**OTHER)
    assert options.to_dict() == OTHER
    for name, value in OTHER.items():
        assert getattr(options, name) == value, name
        assert value != getattr(defaults, name) or name in APART, name
        assert getattr(LoaderOptions, name).__doc__, name
    assert LoaderOptions(**APART).to_dict() == defaults.to_dict() | APART


def test_another_spelling_means_the_same_and_may_not_contradict():
    options = LoaderOptions(cache_policy="random")
    assert options == LoaderOptions(page_cache_mode="fadvise_random")
    assert (options.cache_policy, LoaderOptions(page_cache_mode="dont_need").cache_policy) == ("random", None)
    assert options.replace(page_cache_mode="dont_need").page_cache_mode == "dont_need"
    with pytest.raises(ValueError, match="contradict"):
        LoaderOptions(cache_policy="random", page_cache_mode="default")


def test_presets_are_where_other_options_begin():
    options = LoaderOptions.preset("gpu_optimized")
    assert (options.num_workers, options.pin_memory, options.shuffle) == (16, "auto", True)
    assert LoaderOptions(preset="gpu_optimized", shuffle=False) == options.replace(shuffle=False)
    with pytest.raises(ValueError, match="preset must be one of training, "):
        LoaderOptions.preset("fast")


@pytest.mark.parametrize(
    "name, text",
    [
        ("options.toml", 'preset = "training"\nbatch_size = 5\nmax_bytes_in_flight = "1MiB"\n'),
        ("options.yaml", "preset: training\nbatch_size: 5\nmax_bytes_in_flight: 1MiB\n"),
        ("options.json", '{"preset": "training", "batch_size": 5, "max_bytes_in_flight": 1048576}'),
    ],
)
def test_options_may_be_in_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    wanted = LoaderOptions(preset="training", batch_size=5, max_bytes_in_flight=1 << 20)
    assert LoaderOptions.from_file(tmp_path / name) == wanted
    (tmp_path / name).write_text(text.replace("batch_size", "batchsize"))
    with pytest.raises(ValueError, match=f"{name}.*batch_size"):
        LoaderOptions.from_file(str(tmp_path / name))


def test_a_file_of_options_must_be_there_and_say_its_format(tmp_path):
    with pytest.raises(FileNotFoundError):
        LoaderOptions.from_file(tmp_path / "missing.toml")
    with pytest.raises(ValueError, match=".toml"):
        LoaderOptions.from_file(tmp_path / "options.txt")


def test_options_cannot_be_changed_but_replaced():
    options = LoaderOptions(batch_size=8)
    with pytest.raises(AttributeError):
        options.batch_size = 9
    changed = options.replace(batch_size=9, shuffle=True)
    assert (changed.batch_size, changed.shuffle, options.batch_size) == (9, True, 8)
    with pytest.raises(ValueError):
        options.replace(batch_size=0)


def test_equal_options_are_equal_and_hash_alike():
    assert LoaderOptions() == LoaderOptions(batch_size=32)
    assert LoaderOptions(seed=1) != LoaderOptions(seed=2)
    assert LoaderOptions(seed=1) != {"seed": 1}
    assert len({LoaderOptions(**OTHER), LoaderOptions(**OTHER), LoaderOptions()}) == 2


def test_the_representation_makes_the_same_options():
    for options in (LoaderOptions(), LoaderOptions(**OTHER)):
        assert eval(repr(options)) == options
    assert repr(LoaderOptions(shuffle=True)) == "LoaderOptions(shuffle=True)"


def test_pickles_and_copies():
    options = LoaderOptions(**OTHER)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(options, protocol)) == options
    assert copy.copy(options) == copy.deepcopy(options) == options


@pytest.mark.parametrize(
    "options, text",
    [
        ({"batchsize": 1}, 'did you mean "batch_size"?'),
        ({"xyzzy": 1}, "the options are: batch_size, num_workers"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 to"),
        ({"batch_size": -1}, "is -1"),
        ({"batch_size": 10**30}, "batch_size"),
        ({"batch_size": 2.5}, "is 2.5"),
        ({"batch_size": "32"}, "batch_size"),
        ({"batch_size": None}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"batch_size": object()}, "batch_size"),
        ({"shuffle": 1}, "shuffle must be true or false, is 1"),
        ({"seed": 2**64}, "seed"),
        ({"max_bytes_in_flight": 0}, "max_bytes_in_flight"),
        ({"max_bytes_in_flight": "64 elephants"}, "elephants"),
        ({"page_cache_mode": "none"}, "fadvise_random"),
        ({"loading_mode": "random"}, "one of ordered, completion, streaming"),
        ({"shard_rank": 4, "shard_world_size": 4}, "shard_rank must be from 0 to 3"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(folder, options, text):
    for make in (lambda: LoaderOptions(**options), lambda: forebay.create_async_loader(folder([1]), options)):
        with pytest.raises(ValueError) as caught:
            make()
        assert isinstance(caught.value, forebay.InvalidConfigError)
        assert text in str(caught.value)


def test_sizes_may_be_text_and_numbers_may_be_of_numpy():
    import numpy

    assert LoaderOptions(max_bytes_in_flight="64MiB").max_bytes_in_flight == 64 << 20
    assert LoaderOptions(batch_size=numpy.int64(5)).batch_size == 5


def test_only_options_are_options(folder):
    with pytest.raises(TypeError):
        LoaderOptions(5)
    with pytest.raises(TypeError, match="options must be LoaderOptions or a dict"):
        forebay.create_async_loader(folder([1]), 5)
    with pytest.raises(TypeError, match="keys must be str"):
        forebay.create_async_loader("/", {5: 5})


def test_dict_and_object_mean_the_same(folder):
    root = folder([1])
    given = forebay.create_async_loader(root, PLAIN).options
    assert given == forebay.create_async_loader(root, given).options == LoaderOptions(**PLAIN)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_does_not_pass_for_nothing_said(folder, tmp_path, number):
    for name in ("deadline", "timeout"):
        with pytest.raises(forebay.InvalidConfigError, match=f"{name} must be a finite number"):
            LoaderOptions(**{name: number})
    with pytest.raises(forebay.InvalidConfigError, match="sampling_rate must be a finite number"):
        forebay.create_async_loader(folder([1]), enable_metrics={"sampling_rate": number})
    with pytest.raises(forebay.InvalidConfigError, match="deadline must be a finite number"):
        LoaderOptions().replace(deadline=number)
    dotted = str(number).replace("inf", ".inf").replace("nan", ".nan")
    for name, text in [("o.toml", f"timeout = {number}\n"), ("o.yaml", f"timeout: {dotted}\n")]:
        (tmp_path / name).write_text(text)
        with pytest.raises(forebay.InvalidConfigError, match="no number|non-finite"):
            LoaderOptions.from_file(tmp_path / name)


def test_a_name_that_is_given_twice_is_refused(tmp_path):
    (tmp_path / "o.json").write_text('{"seed": 1, "seed": 2}')
    with pytest.raises(forebay.InvalidConfigError, match="seed is given twice"):
        LoaderOptions.from_file(tmp_path / "o.json")


def test_scalars_of_numpy_are_what_they_say():
    import numpy

    options = LoaderOptions(shuffle=numpy.bool_(True), timeout=numpy.float32(2.5), seed=numpy.uint64(7))
    assert (options.shuffle, options.timeout, options.seed) == (True, 2.5, 7)
    with pytest.raises(forebay.InvalidConfigError, match="timeout must be a finite number"):
        LoaderOptions(timeout=numpy.float64("nan"))


def test_nothing_is_written_as_python_writes_it():
    with pytest.raises(forebay.InvalidConfigError, match="None in Python"):
        LoaderOptions(timeout="none")


@pytest.mark.parametrize("uri", [None, b"bytes", 5])
def test_a_location_is_text_or_a_path(uri):
    with pytest.raises(TypeError, match="a location must be str or os.PathLike, is .*" + type(uri).__name__):
        forebay.create_dataset(uri)
