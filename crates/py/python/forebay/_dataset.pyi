import os
from collections.abc import Mapping
from typing import Any, TypedDict, final

class _DatasetOptions(TypedDict, total=False):
    recursive: bool
    glob: str | None
    threads: int | str
    retries: int | str
    limit_concurrency: int | str
    limit_bytes_per_second: int | str

@final
class Dataset:
    """The samples beneath one location: one file, one sample."""

    def __len__(self) -> int: ...
    def uri(self, id: int) -> str: ...
    @property
    def root(self) -> str: ...
    @property
    def options(self) -> dict[str, Any]: ...
    @property
    def fingerprint(self) -> str: ...

def create_dataset(
    uri: str | os.PathLike[str], options: _DatasetOptions | Mapping[str, Any] | None = None
) -> Dataset: ...
def restore_dataset(
    uri: str, options: Mapping[str, Any], samples: int, fingerprint: str
) -> Dataset: ...
