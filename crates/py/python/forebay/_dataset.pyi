import os
from collections.abc import Mapping
from typing import Any, TypedDict, final

class _DatasetOptions(TypedDict, total=False):
    format: str
    record_bytes: int | str
    header_bytes: int | str
    member: str | None
    manifest: str | None
    index: str
    index_resident_bytes: int | str
    on_damage: str
    verify_samples: bool
    recursive: bool
    glob: str | None
    threads: int | str
    retries: int | str
    limit_concurrency: int | str
    limit_bytes_per_second: int | str

@final
class Dataset:
    """The samples beneath one location, in a manifest, or in a list of locations."""

    def __len__(self) -> int: ...
    def uri(self, id: int) -> str: ...
    @property
    def root(self) -> str: ...
    @property
    def options(self) -> dict[str, Any]: ...
    @property
    def format(self) -> str: ...
    @property
    def index(self) -> str: ...
    @property
    def damage(self) -> list[dict[str, Any]]: ...
    @property
    def dtype(self) -> str | None: ...
    @property
    def shape(self) -> tuple[int, ...] | None: ...
    @property
    def fingerprint(self) -> str: ...

def create_dataset(
    uri: str | os.PathLike[str] | list[str | os.PathLike[str]],
    options: _DatasetOptions | Mapping[str, Any] | None = None,
    *,
    format: str | None = None,
    manifest: str | None = None,
) -> Dataset: ...
def restore_dataset(
    uri: str | list[str], options: Mapping[str, Any], samples: int, fingerprint: str
) -> Dataset: ...
