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
    "seed": 2**64 - 1,
    "drop_last": True,
    "shard_rank": 2,
    "shard_world_size": 4,
    "max_bytes_in_flight": 123456,
    "page_cache_mode": "dont_need",
    "order": "completion",
}


def test_every_option_is_a_keyword_an_attribute_and_in_the_dict():
    defaults = LoaderOptions()
    assert defaults.to_dict().keys() == OTHER.keys()
    options = LoaderOptions(**OTHER)
    assert options.to_dict() == OTHER
    for name, value in OTHER.items():
        assert getattr(options, name) == value != getattr(defaults, name), name
        assert getattr(LoaderOptions, name).__doc__, name


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
        ({"order": "random"}, "one of ordered, completion"),
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
    given = forebay.create_async_loader(root, OTHER | {"shard_rank": 0}).options
    assert given == forebay.create_async_loader(root, given).options == LoaderOptions(**OTHER).replace(shard_rank=0)
