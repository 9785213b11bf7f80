"""Every error that Lookalike raises on purpose, by what its receiver does about it.

LookalikeError
├── InputError                mend what was given: the message says how
│   ├── CatalogueError        a catalogue that cannot be read
│   ├── FilterError           a filter that cannot be understood
│   ├── UnknownProductError   no product has this id
│   ├── NotAStoreError        a place has no marker of a store: nothing there may be deleted
│   └── SnapshotRefusedError  the snapshot did not reach its limits: it is published by force only
├── UnavailableError          try again later: what was done is kept
│   ├── StoreUnavailableError the store did not answer, or not whole; for a write the outcome is unknown
│   ├── CacheError            the local cache cannot be written: no space, no permission
│   ├── ChannelUnknownError   the channel may or may not have moved: read it before doing anything else
│   ├── ChannelBusyError      another run is working on the channel
│   ├── ClusterLostError      the Dask cluster has no worker any more
│   └── RunTimeoutError       a run took longer than it may
├── CorruptError              restore or rebuild: stored bytes are not what was promised
│   └── IncompleteSnapshotError  a snapshot whose files are not all there is not published; nothing was changed
├── ConflictError             look again: something else was there first, and nothing was changed
│   ├── AlreadyExistsError    create-if-absent found the object already there
│   ├── ChannelConflictError  somebody else moved the channel first
│   └── CollectionRefusedError   it cannot be said for sure what is needed, so nothing is deleted
├── StoreError                the object store did not do what was asked; two of its kinds stand above, too
│   ├── NotFoundError         no such object
│   ├── StoreRefusedError     the store says no (permissions, no such bucket): trying again will not help
│   ├── AlreadyExistsError, StoreUnavailableError
├── SnapshotNotFoundError     no such snapshot, or the channel is still empty
├── UnsupportedFormatError    stored in a format that this release does not read: upgrade
│   └── OutdatedFormatError   stored before the first release: a reindex replaces it
├── EncoderError              an encoder cannot be found, exported or trusted
├── ImageRejectedError        one image cannot be used; carries a reason code, and ends as a row of the rejects
└── FetchError                a URL was refused or did not give its bytes; carries a reason code
"""

from __future__ import annotations


class LookalikeError(Exception):
    """Base of all errors below: catch it to tell our errors from bugs."""


class InputError(LookalikeError):
    """What the caller gave cannot be used; the message says what to do."""


class CatalogueError(InputError):
    """A catalogue that cannot be read."""


class FilterError(InputError):
    """A filter that cannot be understood, or names an unknown attribute."""


class UnknownProductError(InputError):
    """No product has this id."""


class NotAStoreError(InputError):
    """A place has no marker that says that it is a store, so that nothing there may be deleted."""


class UnavailableError(LookalikeError):
    """Something does not answer or is busy: try again later. What was done is kept."""


class CorruptError(LookalikeError):
    """Stored bytes are not what was promised."""


class ConflictError(LookalikeError):
    """Something else was there first, and nothing was changed: look again."""


class ImageRejectedError(LookalikeError):
    """One picture cannot be used. `reason` is a stable code, the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageRejectedError], tuple[str, str]]:
        return type(self), (self.reason, str(self))  # survives the way back from a worker


class FetchError(LookalikeError):
    """A URL was refused or did not give its bytes. `reason` is a stable code, the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[FetchError], tuple[str, str]]:
        return type(self), (self.reason, str(self))  # survives the way back from a worker


class StoreError(LookalikeError):
    """The object store did not do what was asked."""


class NotFoundError(StoreError):
    """No such object."""


class AlreadyExistsError(StoreError, ConflictError):
    """Create-if-absent found the object already there."""


class StoreRefusedError(StoreError):
    """The store says no (permissions, no such bucket): trying again will not help."""


class StoreUnavailableError(StoreError, UnavailableError):
    """The store did not answer, or not whole; for a write the outcome is unknown."""


class UnsupportedFormatError(LookalikeError):
    """Stored in a format that this release does not read."""


class OutdatedFormatError(UnsupportedFormatError):
    """Stored in a format from before the first release, which a reindex replaces."""


class SnapshotNotFoundError(LookalikeError):
    """No such snapshot, or the channel is still empty."""


class IncompleteSnapshotError(CorruptError):
    """A snapshot whose files are not all there is not published; nothing was changed."""


class CollectionRefusedError(ConflictError):
    """It cannot be said for sure what is needed, so nothing is deleted."""


class ChannelConflictError(ConflictError):
    """Somebody else moved the channel first; nothing was changed."""


class CacheError(UnavailableError):
    """The local cache cannot be written; the message names its folder and says what to do."""


class ChannelUnknownError(UnavailableError):
    """The channel may or may not have moved; read it before doing anything else."""


class EncoderError(LookalikeError):
    """An encoder cannot be found, exported or trusted."""


class ChannelBusyError(UnavailableError):
    """Another run is working on the channel."""


class ClusterLostError(UnavailableError):
    """The Dask cluster has no worker any more; what was done is kept."""


class RunTimeoutError(UnavailableError):
    """A run took longer than it may; what was done is kept."""


class SnapshotRefusedError(InputError):
    """The snapshot did not reach its limits, so only force publishes it."""
