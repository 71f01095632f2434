import builtins
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict, overload

from typing_extensions import Buffer

from ._entry import Entry
from ._errors import Error
from ._listing import Listing

_Uri = str | os.PathLike[str]

class _StoreOptions(TypedDict, total=False):
    threads: int | str
    retries: int | str
    limit_concurrency: int | str
    limit_bytes_per_second: int | str
    endpoint: str
    anonymous: bool
    account_name: str
    account_key: str
    sas_token: str
    connection_string: str
    credentials: Callable[[], str | Mapping[str, Any]] | None

_Options = _StoreOptions | Mapping[str, Any] | None

def get(uri: _Uri, *, options: _Options = None) -> memoryview: ...
def get_range(uri: _Uri, start: int, length: int, *, options: _Options = None) -> memoryview: ...
@overload
def get_many(
    uris: Iterable[_Uri], *, return_exceptions: Literal[False] = False, options: _Options = None
) -> builtins.list[memoryview]: ...
@overload
def get_many(
    uris: Iterable[_Uri], *, return_exceptions: bool, options: _Options = None
) -> builtins.list[memoryview | Error]: ...
def put(
    uri: _Uri,
    data: Buffer,
    *,
    create: bool = False,
    durable: bool = False,
    options: _Options = None,
) -> Entry: ...
def list(
    uri: _Uri,
    *,
    recursive: bool = True,
    glob: str | None = None,
    details: bool = False,
    options: _Options = None,
) -> Listing: ...
def stat(uri: _Uri, *, options: _Options = None) -> Entry: ...
def exists(uri: _Uri, *, options: _Options = None) -> bool: ...
def delete(uri: _Uri, *, options: _Options = None) -> None: ...
@overload
def delete_many(
    uris: Iterable[_Uri], *, return_exceptions: Literal[False] = False, options: _Options = None
) -> builtins.list[None]: ...
@overload
def delete_many(
    uris: Iterable[_Uri], *, return_exceptions: bool, options: _Options = None
) -> builtins.list[Error | None]: ...
