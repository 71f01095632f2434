from typing import final

from ._entry import Entry

@final
class Listing:
    """Iterator over what `forebay.list` found."""

    def __iter__(self) -> Listing: ...
    def __next__(self) -> Entry: ...
