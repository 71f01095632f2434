import builtins
import os
from collections.abc import Iterable
from typing import Literal, overload

from typing_extensions import Buffer

from ._entry import Entry
from ._errors import Error
from ._listing import Listing

_Uri = str | os.PathLike[str]

def get(uri: _Uri, /) -> memoryview: ...
def get_range(uri: _Uri, start: int, length: int) -> memoryview: ...
@overload
def get_many(
    uris: Iterable[_Uri], *, return_exceptions: Literal[False] = False
) -> builtins.list[memoryview]: ...
@overload
def get_many(
    uris: Iterable[_Uri], *, return_exceptions: bool
) -> builtins.list[memoryview | Error]: ...
def put(uri: _Uri, data: Buffer, *, create: bool = False, durable: bool = False) -> Entry: ...
def list(
    uri: _Uri, *, recursive: bool = True, glob: str | None = None, details: bool = False
) -> Listing: ...
def stat(uri: _Uri, /) -> Entry: ...
def exists(uri: _Uri, /) -> bool: ...
def delete(uri: _Uri, /) -> None: ...
