"""Samples inside files that others wrote: NumPy, PyArrow, webdataset, and TFRecord by its definition."""

import gzip
import io
import json
import pickle
import struct
import tarfile

import forebay
import numpy
import pyarrow
import pyarrow.parquet
import pytest
import webdataset


def read(dataset):
    """The bytes of every sample, by its number."""
    found = {}
    for batch in forebay.create_async_loader(dataset, {"batch_size": 3, "shuffle": True}):
        for id, sample in zip(batch.ids, batch):
            found[id] = bytes(sample)
    assert sorted(found) == list(range(len(dataset)))
    return [found[id] for id in range(len(dataset))]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("dtype", ["<f4", ">i8", "|u1", "<M8[ns]", "<U5"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 1, 2)])
def test_rows_of_arrays_that_numpy_saved(root, dtype, shape):
    whole = numpy.arange(numpy.prod(shape)).reshape(shape).astype(dtype)
    numpy.save(root / "a.npy", whole[:4])
    numpy.save(root / "b.npy", whole[4:])
    dataset = forebay.create_dataset(root, format="npy")
    assert (dataset.dtype, dataset.shape) == (dtype, shape[1:])
    rows = [numpy.frombuffer(row, dataset.dtype).reshape(dataset.shape) for row in read(dataset)]
    assert (numpy.stack(rows) == whole).all()


def test_what_numpy_saves_otherwise_is_refused(root):
    numpy.save(root / "a.npy", numpy.asfortranarray(numpy.zeros((3, 4))))
    with pytest.raises(forebay.UnsupportedError, match="Fortran"):
        forebay.create_dataset(root, format="npy")
    numpy.save(root / "a.npy", numpy.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(forebay.UnsupportedError, match="type"):
        forebay.create_dataset(root, format="npy")


def test_an_array_of_an_archive(root):
    x, y = numpy.arange(12.0).reshape(6, 2), numpy.arange(6)
    numpy.savez(root / "a.npz", x=x, y=y)
    dataset = forebay.create_dataset(root, {"member": "x"}, format="npz")
    assert (numpy.stack([numpy.frombuffer(row) for row in read(dataset)]) == x).all()
    with pytest.raises(ValueError, match="x, y"):
        forebay.create_dataset(root, format="npz")
    numpy.savez_compressed(root / "a.npz", x=x)
    with pytest.raises(forebay.UnsupportedError, match="np.savez"):
        forebay.create_dataset(root, format="npz")


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
def test_row_groups_that_pyarrow_wrote(root, compression):
    words = ["ä", "b", None, "c"]
    table = pyarrow.table({"i": range(100), "text": [words[i % 4] for i in range(100)], "list": [[i, i] for i in range(100)]})
    pyarrow.parquet.write_table(table, root / "a.parquet", row_group_size=30, compression=compression)
    dataset = forebay.create_dataset(root, format="parquet")
    assert len(dataset) == 4
    found = []
    for batch in forebay.create_async_loader(dataset, {"batch_size": 2}):
        for i in range(len(batch)):
            found.append(pyarrow.parquet.read_table(pyarrow.BufferReader(batch.row_group_file(i))))
    assert pyarrow.concat_tables(found).equals(table)


def test_tars_that_webdataset_wrote(root):
    expected = []
    with webdataset.ShardWriter(str(root / "%02d.tar"), maxcount=4, verbose=0) as shards:
        for i in range(10):
            sample = {"__key__": f"deep/{'x' * 150}{i:03}", "bin": bytes([i]) * (i * 100), "json": {"i": i}}
            shards.write(sample)
            expected.append(sample)
    dataset = forebay.create_dataset(root, {"verify_samples": True}, format="webdataset")
    assert len(dataset) == 10
    theirs = webdataset.WebDataset([str(path) for path in sorted(root.glob("*.tar"))], shardshuffle=False)
    found = []
    for batch in forebay.create_async_loader(dataset, {"batch_size": 3}):
        found += [batch.members(i) for i in range(len(batch))]
    for ours, sample, theirs in zip(found, expected, theirs, strict=True):
        assert ours["__key__"] == sample["__key__"] == theirs["__key__"]
        assert bytes(ours["bin"]) == sample["bin"] == theirs["bin"]
        assert json.loads(bytes(ours["json"])) == sample["json"]
    alone = forebay.create_dataset(root, {"member": "bin"}, format="webdataset")
    assert read(alone) == [sample["bin"] for sample in expected]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_in_every_form_of_the_standard_library(root, form):
    name = "d/" + "n" * (80 if form == tarfile.USTAR_FORMAT else 300)
    with tarfile.open(root / "a.tar", "w", format=form) as archive:
        for i in range(3):
            info = tarfile.TarInfo(f"{name}{i}.bin")
            info.size, info.mtime = 600 + i, 1.5
            archive.addfile(info, io.BytesIO(bytes([i]) * (600 + i)))
    dataset = forebay.create_dataset(root / "a.tar", {"index": "none"}, format="webdataset")
    (batch,) = forebay.create_async_loader(dataset)
    for i in range(3):
        members = batch.members(i)
        assert members["__key__"] == f"{name}{i}" and bytes(members["bin"]) == bytes([i]) * (600 + i)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def tfrecord(payloads):
    parts = []
    for payload in payloads:
        length = struct.pack("<Q", len(payload))
        parts += [length, masked(length), payload, masked(payload)]
    return b"".join(parts)


def test_tfrecords_and_their_checksums(root):
    payloads = [bytes([i]) * (i * 31) for i in range(9)]
    (root / "a").write_bytes(tfrecord(payloads[:5]))
    (root / "b").write_bytes(tfrecord(payloads[5:]))
    assert read(forebay.create_dataset(root, format="tfrecord")) == payloads
    broken = bytearray((root / "b").read_bytes())
    broken[20] ^= 1
    (root / "b").write_bytes(broken)
    dataset = forebay.create_dataset(root, format="tfrecord")
    with pytest.raises(forebay.CorruptError, match="/b: at offset 12, sample 5: expected crc32c"):
        read(dataset)
    unchecked = forebay.create_dataset(root, {"verify_samples": False}, format="tfrecord")
    assert sum(a != b for a, b in zip(read(unchecked), payloads)) == 1


def test_lines_and_records(root):
    (root / "a.jsonl").write_bytes(b'{"a": 1}\n\n[2]\r\n')
    dataset = forebay.create_dataset(root, {"glob": "*.jsonl"}, format="jsonl")
    assert read(dataset) == [b'{"a": 1}', b"[2]"]
    assert dataset.format == "jsonl" and "was made" in dataset.index
    assert "fits" in forebay.create_dataset(root, {"glob": "*.jsonl"}, format="jsonl").index
    (root / "b.bin").write_bytes(b"head" + b"abcdef")
    records = {"glob": "*.bin", "record_bytes": 3, "header_bytes": 4}
    assert read(forebay.create_dataset(root, records, format="records")) == [b"abc", b"def"]
    with pytest.raises(forebay.CorruptError, match="at offset 8: 2 bytes are left"):
        forebay.create_dataset(root, records | {"record_bytes": 4}, format="records")


def test_manifests_in_every_form(root):
    (root / "x").write_bytes(b"0123456789")
    (root / "y").write_bytes(b"abc")
    forebay.put("mem://formats/z", b"memory")
    uris, offsets, lengths = ["y", "x", "mem://formats/z"], [None, 2, None], [3, 4, None]
    lines = [json.dumps({"uri": u, "offset": o, "length": n}) for u, o, n in zip(uris, offsets, lengths)]
    (root / "list.jsonl").write_text("\n".join(lines))
    (root / "list.csv").write_text("uri,offset,length\ny,,3\nx,2,4\nmem://formats/z,,\n")
    table = pyarrow.table({"uri": uris, "offset": offsets, "length": lengths, "label": [1, 2, 3]})
    pyarrow.parquet.write_table(table, root / "list.parquet", row_group_size=2)
    for kind in ["jsonl", "csv", "parquet"]:
        dataset = forebay.create_dataset(root / f"list.{kind}", {"index": "none"}, manifest=kind)
        assert read(dataset) == [b"abc", b"2345", b"memory"], kind
        assert dataset.uri(2) == "mem://formats/z"
        assert len(pickle.loads(pickle.dumps(dataset))) == 3
    dataset = forebay.create_dataset([root / "y", "mem://formats/z", root / "y"])
    assert read(dataset) == [b"abc", b"memory", b"abc"]
    assert read(pickle.loads(pickle.dumps(dataset))) == [b"abc", b"memory", b"abc"]
    with pytest.raises(forebay.CorruptError, match="did you mean"):
        (root / "list.csv").write_text("uri,lenght\ny,3\n")
        forebay.create_dataset(root / "list.csv", manifest="csv")


def test_damage_is_set_aside_within_a_quota(root):
    (root / "a.bin").write_bytes(bytes([1]) * 16)
    (root / "b.bin").write_bytes(bytes([2]) * 19)
    records = {"format": "records", "record_bytes": 8}
    with pytest.raises(forebay.CorruptError, match="at offset 16: 3 bytes are left"):
        forebay.create_dataset(root, records)
    with pytest.raises(forebay.CorruptError, match="no others can stand in"):
        forebay.create_async_loader(root, {"on_error": "substitute:1"}, storage_options=records)
    with pytest.raises(ValueError, match="on_damage changes nothing with format=raw"):
        forebay.create_dataset(root, {"on_damage": "skip:1"})
    for loader in [
        forebay.create_async_loader(forebay.create_dataset(root, {**records, "on_damage": "skip:1"})),
        # Of a location, what is said of samples goes for damage too.
        forebay.create_async_loader(root, {"on_error": "skip:1"}, storage_options=records),
    ]:
        assert sum(len(batch) for batch in loader) == 4
        (damage,) = loader.dataset.damage
        assert (damage["offset"], damage["location"].endswith("/b.bin")) == (16, True)
        assert loader.quarantine()["damage"] == [damage]
        assert pickle.loads(pickle.dumps(loader.dataset)).damage == [damage]


def test_what_compressed_and_sparse_tars_cannot_give_is_said(root):
    with tarfile.open(root / "a.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("1.bin"), io.BytesIO())
    for options in [{}, {"on_damage": "skip:9"}]:
        with pytest.raises(forebay.UnsupportedError, match="compressed with gzip: no sample of it can be read alone"):
            forebay.create_dataset(root, options, format="webdataset")
    (root / "a.tar.gz").unlink()
    sparse = tarfile.TarInfo("1.bin")
    sparse.type = tarfile.GNUTYPE_SPARSE
    with open(root / "b.tar", "wb") as file:
        file.write(sparse.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(forebay.UnsupportedError, match="at offset 0: sparse files"):
        forebay.create_dataset(root, format="webdataset")
    # As GNU tar writes them with --format=pax.
    pax = tarfile.TarInfo("1.bin")
    pax.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "4096"}
    (root / "b.tar").write_bytes(pax.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    with pytest.raises(forebay.UnsupportedError, match="sparse files"):
        forebay.create_dataset(root, format="webdataset")


def test_compressed_records_and_structured_rows_are_refused(root):
    (root / "a.gz").write_bytes(gzip.compress(tfrecord([b"abc"])))
    with pytest.raises(forebay.UnsupportedError, match="compressed with gzip: no record of it can be read alone"):
        forebay.create_dataset(root, format="tfrecord")
    (root / "a.gz").unlink()
    numpy.save(root / "a.npy", numpy.zeros(3, dtype=[("x", "<f4"), ("y", "<i2")]))
    with pytest.raises(forebay.UnsupportedError, match="elements have fields"):
        forebay.create_dataset(root, format="npy")


def test_nested_columns_come_back_whole(root):
    rows = [{"point": {"x": i, "tags": ["a"] * (i % 3)}, "map": [("k", i)]} for i in range(20)]
    schema = pyarrow.schema([
        ("point", pyarrow.struct([("x", pyarrow.int64()), ("tags", pyarrow.list_(pyarrow.string()))])),
        ("map", pyarrow.map_(pyarrow.string(), pyarrow.int32())),
    ])
    table = pyarrow.Table.from_pylist(rows, schema)
    pyarrow.parquet.write_table(table, root / "a.parquet", row_group_size=8)
    found = []
    for batch in forebay.create_async_loader(forebay.create_dataset(root, format="parquet")):
        found += [pyarrow.parquet.read_table(pyarrow.BufferReader(batch.row_group_file(i))) for i in range(len(batch))]
    assert pyarrow.concat_tables(found).equals(table)


def test_options_that_change_nothing_are_refused(root):
    (root / "x").write_bytes(b"1")
    for options in [{"member": "x"}, {"format": "jsonl", "record_bytes": 3}, {"verify_samples": True}]:
        with pytest.raises(ValueError, match="nothing"):
            forebay.create_dataset(root, options)
    with pytest.raises(ValueError, match="glob changes nothing"):
        forebay.create_dataset([root / "x"], {"glob": "*"})
    with pytest.raises(ValueError, match="given twice"):
        forebay.create_dataset(root, {"format": "npy"}, format="npz")
    # A batch of raw samples has no members.
    (batch,) = forebay.create_async_loader(root)
    with pytest.raises(forebay.UnsupportedError, match="webdataset"):
        batch.members(0)
    with pytest.raises(IndexError):
        batch.row_group_file(1)


def test_a_table_without_rows_is_no_sample(root):
    table = pyarrow.table({"a": pyarrow.array([1, 2], pyarrow.int64())})
    pyarrow.parquet.write_table(table.slice(0, 0), root / "a.parquet")
    pyarrow.parquet.write_table(table, root / "b.parquet")
    assert len(forebay.create_dataset(root, {"index": "none"}, format="parquet")) == 1


@pytest.mark.parametrize("length", [514, 600, 1024, 1537, 1600, 2048])
def test_an_archive_that_is_cut_off_is_damage(root, length):
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("a.x", "b.x", "b.cls"):
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"ab"))
    (root / "a.tar").write_bytes(whole.getvalue()[:length])
    with pytest.raises(forebay.CorruptError, match="a.tar: at offset"):
        forebay.create_dataset(root, {"index": "none"}, format="webdataset")
    (root / "b.tar").write_bytes(whole.getvalue())
    dataset = forebay.create_dataset(root, {"index": "none", "on_damage": "skip:1"}, format="webdataset")
    assert len(dataset.damage) == 1 and dataset.damage[0]["location"].endswith("a.tar")


def test_a_policy_for_damage_is_refused_where_it_can_do_nothing(root):
    (root / "a.jsonl").write_bytes(b"{}\n")
    with pytest.raises(forebay.InvalidConfigError, match="raise, skip:QUOTA"):
        forebay.create_dataset(root, {"on_damage": "substitute:1"}, format="tfrecord")
    with pytest.raises(forebay.InvalidConfigError, match="on_damage changes nothing with format=jsonl"):
        forebay.create_dataset(root, {"on_damage": "skip:1"}, format="jsonl")
    storage = {"format": "records", "record_bytes": 3}
    loader = forebay.create_async_loader(root, {"on_error": "substitute:1"}, storage_options=storage)
    assert len(pickle.loads(pickle.dumps(loader.dataset))) == 1
