import typing

from ._batch import Batch as Batch
from ._dataset import Dataset as Dataset
from ._dataset import create_dataset as create_dataset
from ._dataset import restore_dataset as restore_dataset
from ._entry import Entry as Entry
from ._epoch import Batches as Batches
from ._errors import AlreadyExistsError as AlreadyExistsError
from ._errors import CancelledError as CancelledError
from ._errors import CorruptError as CorruptError
from ._errors import DeniedError as DeniedError
from ._errors import Error as Error
from ._errors import ForkedError as ForkedError
from ._errors import InvalidConfigError as InvalidConfigError
from ._errors import InvalidRangeError as InvalidRangeError
from ._errors import NotFoundError as NotFoundError
from ._errors import PreconditionError as PreconditionError
from ._errors import ThrottledError as ThrottledError
from ._errors import TimedOutError as TimedOutError
from ._errors import UnavailableError as UnavailableError
from ._errors import UnsupportedError as UnsupportedError
from ._listing import Listing as Listing
from ._loader import Loader as Loader
from ._loader import create_async_loader as create_async_loader
from ._memory import memory_cap as memory_cap
from ._memory import set_memory_cap as set_memory_cap
from ._metrics import MetricsCollector as MetricsCollector
from ._metrics import snapshot as snapshot
from ._options import LoaderOptions as LoaderOptions
from ._progress import Progress as Progress
from ._store import delete as delete
from ._store import delete_many as delete_many
from ._store import exists as exists
from ._store import get as get
from ._store import get_many as get_many
from ._store import get_range as get_range
from ._store import list as list
from ._store import put as put
from ._store import stat as stat

__version__: str

# What `forebay.aio` waits for.
def _begin_delete(uri: typing.Any, options: typing.Any) -> typing.Any: ...
def _begin_delete_many(uris: typing.Any, return_exceptions: bool, options: typing.Any) -> typing.Any: ...
def _begin_exists(uri: typing.Any, options: typing.Any) -> typing.Any: ...
def _begin_get(uri: typing.Any, options: typing.Any) -> typing.Any: ...
def _begin_get_many(uris: typing.Any, return_exceptions: bool, options: typing.Any) -> typing.Any: ...
def _begin_get_range(uri: typing.Any, start: int, length: int, options: typing.Any) -> typing.Any: ...
def _begin_put(uri: typing.Any, data: typing.Any, create: bool, durable: bool, options: typing.Any) -> typing.Any: ...
def _begin_stat(uri: typing.Any, options: typing.Any) -> typing.Any: ...

# What a pickled loader becomes.
def _restore_loader(
    uri_or_dataset: typing.Any,
    options: typing.Any,
    progress: typing.Any,
    enable_metrics: typing.Any,
    storage_options: typing.Any,
) -> typing.Any: ...

# What `forebay.metrics` is made of.
def _metrics_diff(later: typing.Any, earlier: typing.Any) -> typing.Any: ...
def _metrics_merge(snapshots: typing.Any) -> typing.Any: ...
def _metrics_read(text: str) -> typing.Any: ...
def _metrics_write(snapshot: typing.Any, form: str, begin: float, length: float) -> str: ...
