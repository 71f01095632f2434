"""The same loader, with the same options, on every scheme: only the location and who is asked differ."""

import asyncio
import base64
import hmac
import json
import os
import subprocess
import urllib.parse

import forebay
import pytest
from forebay import aio

from conftest import content

OPTIONS = {"batch_size": 4, "shuffle": True, "seed": 7, "max_bytes_in_flight": "8MiB"}
SIZES = [3000 + 977 * i for i in range(10)]
SCHEMES = ["file", "direct", "s3", "az"]


@pytest.fixture(scope="module")
def servers():
    """s3s-fs and Azurite on free ports of this machine, by scheme; they end when their standard input does."""
    process = subprocess.Popen(
        [os.environ["FOREBAY_TEST_SERVERS"], "s3", "azurite"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    ready = json.loads(process.stdout.readline())
    yield {server["uri"].partition(":")[0]: server for server in ready["servers"]}
    process.stdin.close()
    process.wait(timeout=30)


NAMES = {
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_REGION": "region",
    "AWS_ENDPOINT_URL": "endpoint",
    "AZURE_STORAGE_ACCOUNT_NAME": "account_name",
    "AZURE_STORAGE_ACCOUNT_KEY": "account_key",
    "AZURE_STORAGE_ENDPOINT": "endpoint",
}


@pytest.fixture(params=SCHEMES)
def place(request, tmp_path):
    """Where a test may put its objects, and the options that lead there."""
    scheme = request.param
    if scheme in ("file", "direct"):
        return f"{scheme}://{tmp_path}", {}
    server = request.getfixturevalue("servers")[scheme]
    options = {NAMES[variable]: value for variable, value in server["env"].items()}
    return f"{server['uri']}/{tmp_path.name}", options


def fill(root, options):
    for index, size in enumerate(SIZES):
        forebay.put(f"{root}/data/{index:05}.bin", content(index, size), options=options)
    return f"{root}/data"


def test_two_batches_of_every_scheme_are_the_same(place):
    root, options = place
    data = fill(root, options)
    loader = forebay.create_async_loader(data, OPTIONS, storage_options=options)
    batches = iter(loader)
    seen = []
    for batch in (next(batches), next(batches)):
        for id, sample in zip(batch.ids, batch):
            assert sample == content(id, SIZES[id])
            seen.append(id)
    # The order depends on names, seed and epoch, not on where the bytes are.
    expected = forebay.create_async_loader(reference(), OPTIONS)
    first = iter(expected)
    assert seen == [id for batch in (next(first), next(first)) for id in batch.ids]


def reference():
    root = "mem://reference/data"
    for index in range(len(SIZES)):
        forebay.put(f"{root}/{index:05}.bin", b"x")
    return root


def test_event_loops_iterate_and_call_every_scheme(place):
    root, options = place
    data = fill(root, options)

    async def main():
        uri = f"{root}/one"
        entry = await aio.put(uri, b"abc", options=options)
        assert entry.size == 3
        assert await aio.get(uri, options=options) == b"abc"
        assert await aio.get_range(uri, 1, 1, options=options) == b"b"
        found = await aio.get_many([uri, f"{root}/none"], return_exceptions=True, options=options)
        assert found[0] == b"abc" and isinstance(found[1], forebay.NotFoundError)
        assert (await aio.stat(uri, options=options)).size == 3
        gets = [aio.get(f"{data}/{i:05}.bin", options=options) for i in range(len(SIZES))]
        assert [bytes(view) for view in await asyncio.gather(*gets)] == [
            content(i, size) for i, size in enumerate(SIZES)
        ]
        await aio.delete(uri, options=options)
        several = [f"{root}/several/{i}" for i in range(3)]
        await asyncio.gather(*[aio.put(each, b"x", options=options) for each in several])
        assert await aio.delete_many(several, options=options) == [None, None, None]
        assert not await aio.exists(several[1], options=options)
        assert not await aio.exists(uri, options=options)
        with pytest.raises(forebay.NotFoundError):
            await aio.get(uri, options=options)
        seen = []
        async for batch in forebay.create_async_loader(data, OPTIONS, storage_options=options):
            seen += batch.ids
        return seen

    assert sorted(asyncio.run(main())) == list(range(len(SIZES)))


def azure(servers):
    """A place on Azurite, the options that lead there without credentials, and the account's key."""
    server = servers["az"]
    options = {NAMES[variable]: value for variable, value in server["env"].items()}
    key = options.pop("account_key")
    return f"{server['uri']}/credentials", options, key


def signature(account, key):
    """A shared access signature for all of an account (Azure Storage, *Create an account SAS*)."""
    said = {"sp": "rwdlac", "ss": "b", "srt": "sco", "se": "2099-01-01T00:00:00Z", "sv": "2018-11-09"}
    order = [account, said["sp"], "b", "sco", "", said["se"], "", "", said["sv"], ""]
    signed = hmac.new(base64.b64decode(key), "\n".join(order).encode(), "sha256").digest()
    return urllib.parse.urlencode({**said, "sig": base64.b64encode(signed).decode()})


def test_credentials_may_be_a_callable(servers):
    root, where, key = azure(servers)
    asked = []

    def credentials():
        asked.append(1)
        return {"sas_token": signature(where["account_name"], key), "expires_in": 3600}

    options = {**where, "credentials": credentials}
    for index in range(3):
        forebay.put(f"{root}/{index}", bytes([index]), options=options)
    assert len(asked) == 1
    loader = forebay.create_async_loader(root, {"batch_size": 3}, storage_options=options)
    for _ in range(2):
        assert [bytes(sample) for batch in loader for sample in batch] == [b"\0", b"\1", b"\2"]
    assert len(asked) == 2, "once for single objects and listings, once for the loader's own store"


def test_a_callable_that_fails_denies_without_telling_secrets(servers):
    root, where, _ = azure(servers)

    def credentials():
        raise RuntimeError("hush")

    with pytest.raises(forebay.DeniedError, match="raised .*RuntimeError") as raised:
        forebay.get(f"{root}/0", options={**where, "credentials": credentials, "retries": 0})
    assert "hush" not in str(raised.value)
    with pytest.raises(TypeError, match="callable"):
        forebay.get(f"{root}/0", options={**where, "credentials": "hush"})


@pytest.mark.parametrize(
    ("scheme", "answer", "said"),
    [
        ("s3", None, "type NoneType, where a dict is wanted"),
        ("s3", {}, "a dict without access_key_id"),
        ("s3", {"access_key_id": "a", "secret_access_key": 7}, "secret_access_key of type int"),
        ("s3", {"access_key_id": "a", "secret_access_key": ""}, "an empty secret_access_key"),
        ("s3", {"access_key_id": "a", "secret_access_key": "hush", "sesion_token": "hush"}, "'sesion_token'"),
        ("az", 7, "type int, where a token as str or a dict is wanted"),
        ("az", {"expires_in": 60}, "neither token nor sas_token"),
        ("az", {"token": "hush", "sas_token": "hush"}, "both token and sas_token"),
        ("az", {"token": "hush", "expires_in": "3600"}, "expires_in of type str"),
        ("az", {"token": "hush", "expires_in": True}, "expires_in of type bool"),
        ("az", {"token": "hush", "expires_in": -5}, "expires_in of -5"),
        ("az", {"token": "hush", "expires_in": float("nan")}, "expires_in of NaN"),
        ("az", {"token": "hush", "expires_in": float("inf")}, "expires_in of inf"),
    ],
)
def test_an_answer_of_another_form_is_described_without_its_values(scheme, answer, said):
    # Nobody is asked over the network before there are credentials.
    options = {"credentials": lambda: answer, "endpoint": "https://127.0.0.1:1", "retries": 0}
    if scheme == "az":
        options["account_name"] = "acme"
    with pytest.raises(forebay.DeniedError) as raised:
        forebay.get(f"{scheme}://box/k", options=options)
    assert said in str(raised.value) and "hush" not in str(raised.value)


def test_credentials_that_nothing_would_ask_for_are_refused(tmp_path):
    for place in (tmp_path.as_uri(), f"direct://{tmp_path}", "mem://box/k"):
        with pytest.raises(forebay.InvalidConfigError, match="credentials have no meaning for"):
            forebay.exists(place, options={"credentials": lambda: {}})

    async def later():
        return {}

    with pytest.raises(TypeError, match="coroutine function"):
        forebay.exists("s3://box/k", options={"credentials": later})


def test_the_environment_is_looked_at_and_may_change(servers, monkeypatch):
    root, where, key = azure(servers)
    string = f"AccountName={where['account_name']};AccountKey={key};BlobEndpoint={where['endpoint']}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", string)
    forebay.put(f"{root}/env", b"there")
    assert forebay.get(f"{root}/env") == b"there"
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    with pytest.raises(forebay.InvalidConfigError, match="no credentials"):
        forebay.get(f"{root}/env")


def test_secrets_are_in_no_text(servers):
    root, where, key = azure(servers)
    options = {**where, "account_key": key}
    forebay.put(f"{root}/0", b"x", options=options)
    dataset = forebay.create_dataset(root, options)
    texts = [repr(dataset), str(dataset.root)]
    with pytest.raises(forebay.Error) as raised:
        forebay.get(f"{root}/0", options={**where, "account_key": "aHVzaGh1c2g=", "retries": 0})
    texts += [str(raised.value), repr(raised.value)]
    assert all("aHVzaG" not in text and key not in text for text in texts)


def test_credentials_of_s3_may_be_a_callable_too(servers):
    server = servers["s3"]
    options = {NAMES[variable]: value for variable, value in server["env"].items()}
    keys = {name: options.pop(name) for name in ("access_key_id", "secret_access_key")}
    asked = []

    def credentials():
        asked.append(1)
        return keys

    uri = f"{server['uri']}/credentials/0"
    forebay.put(uri, b"x", options={**options, "credentials": credentials})
    assert forebay.get(uri, options={**options, "credentials": credentials}) == b"x"
    assert len(asked) == 1
    with pytest.raises(forebay.DeniedError):
        wrong = {**keys, "secret_access_key": "wrong"}
        forebay.get(uri, options={**options, "credentials": lambda: wrong, "retries": 0})


def test_a_signature_may_stand_in_the_url(servers):
    root, where, key = azure(servers)
    forebay.put(f"{root}/0", b"x", options={**where, "account_key": key})
    # Azurite has the account in the path, so the URL of a public account cannot lead to it.
    url = "https://acme.blob.core.windows.net/box/0?sv=1&sig=hush"
    with pytest.raises(forebay.Error) as raised:
        forebay.get(url, options={"sas_token": "sig=other"})
    assert "hush" not in str(raised.value) and "leave one of them out" in str(raised.value)


@pytest.mark.parametrize("mode", ["ordered", "streaming", "records"])
def test_a_resume_on_objects_that_were_written_anew_is_refused_where_a_listing_has_etags(place, mode):
    root, options = place
    data = fill(root, options)
    storage = {**options, "format": "records", "record_bytes": 977} if mode == "records" else options
    loading = {"batch_size": 4, "loading_mode": "streaming" if mode == "streaming" else "ordered", "on_error": "skip:100"}

    def loader():
        return forebay.create_async_loader(data, loading, storage_options=storage)

    first = loader()
    next(iter(first))
    state = first.state_dict()
    for index, size in enumerate(SIZES):
        forebay.put(f"{data}/{index:05}.bin", bytes(size), options=options)

    def resume():
        again = loader()
        again.load_state_dict(state)
        return sum(len(batch) for batch in again)

    # A shard whose listing names no version is asked for it.
    if root.startswith("az:") or (root.startswith("s3:") and mode == "records"):
        with pytest.raises(forebay.PreconditionError):
            resume()
    else:
        # Files have no version that their copies elsewhere would share (formats.md says so), and s3s-fs lists no ETags.
        assert resume() > 0
