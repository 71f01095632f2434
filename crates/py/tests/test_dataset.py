"""create_dataset and what it makes."""

import pickle

import forebay
import pytest


def test_one_file_is_one_sample_in_the_order_of_names(folder):
    root = folder([1] * 10)
    dataset = forebay.create_dataset(root)
    assert len(dataset) == 10
    assert [dataset.uri(id) for id in range(10)] == [f"file://{root}/{id:05}.bin" for id in range(10)]
    assert dataset.root == f"file://{root}"
    assert "samples=10" in repr(dataset)
    for beyond in (10, 2**63):
        with pytest.raises(IndexError, match=f"sample {beyond} of a dataset of 10"):
            dataset.uri(beyond)


def test_options_say_what_is_listed(folder):
    root = folder([1] * 3)
    (root / "deep").mkdir()
    (root / "deep" / "x.jpg").write_bytes(b"1")
    assert len(forebay.create_dataset(root)) == 4
    assert len(forebay.create_dataset(root, {"recursive": False})) == 3
    dataset = forebay.create_dataset(root, {"glob": "**/*.jpg", "threads": 2})
    assert dataset.uri(0).endswith("/deep/x.jpg")
    assert dataset.options == {"recursive": True, "glob": "**/*.jpg", "threads": "2"}


@pytest.mark.parametrize(
    "options, text",
    [
        ({"globs": "*"}, 'did you mean "glob"'),
        ({"xyzzy": 1}, "glob, recursive, threads"),
        ({"recursive": 1}, "recursive must be true or false, is 1"),
        ({"glob": 5}, "glob must be a text"),
        ({"glob": "a["}, "glob"),
        ({"threads": 0}, "threads"),
        ({"limit_bytes_per_second": "fast"}, "limit_bytes_per_second"),
    ],
)
def test_bad_options_are_refused_by_name(folder, options, text):
    with pytest.raises(ValueError) as caught:
        forebay.create_dataset(folder([1]), options)
    assert isinstance(caught.value, forebay.InvalidConfigError) and text in str(caught.value)


def test_nothing_to_load_is_an_error(folder, tmp_path):
    root = folder([])
    with pytest.raises(forebay.NotFoundError, match="nothing to load"):
        forebay.create_dataset(root)
    with pytest.raises(forebay.NotFoundError, match="none"):
        forebay.create_dataset(tmp_path / "none")


def test_pickles_as_configuration(folder):
    root = folder([1] * 5)
    dataset = forebay.create_dataset(root, {"glob": "*.bin"})
    again = pickle.loads(pickle.dumps(dataset))
    assert (again.root, len(again), again.options) == (dataset.root, 5, dataset.options)
    assert again.fingerprint == dataset.fingerprint


def test_a_pickle_is_refused_where_other_files_are_found(folder):
    root = folder([1] * 5)
    kept = pickle.dumps(forebay.create_dataset(root))
    (root / "00002.bin").rename(root / "other.bin")
    with pytest.raises(forebay.PreconditionError, match="pickle it again") as caught:
        pickle.loads(kept)
    assert caught.value.location == f"file://{root}"


def test_the_fingerprint_is_of_the_names(folder):
    one = forebay.create_dataset(folder([1, 2], "one"))
    two = forebay.create_dataset(folder([3, 4], "two"))
    three = forebay.create_dataset(folder([1, 2, 3], "three"))
    assert one.fingerprint == two.fingerprint != three.fingerprint
