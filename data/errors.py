"""Every error that Lookalike raises on purpose.

LookalikeError
├── InputError                what the caller gave cannot be used; the message says what to do
│   ├── CatalogueError        a catalogue that cannot be read
│   ├── FilterError           a filter that cannot be understood
│   ├── UnknownProductError   no product has this id
│   ├── NotAStoreError        a place has no marker of a store: nothing there may be deleted
│   └── SnapshotRefusedError  the snapshot did not reach its limits: it is published by force only
├── ImageRejectedError        one picture cannot be used; carries a reason code, ends as a row in the rejects
├── FetchError                a URL was refused or did not give its bytes; carries a reason code
├── StoreError                the object store did not do what was asked
│   ├── NotFoundError         no such object
│   ├── AlreadyExistsError    create-if-absent found the object already there
│   ├── StoreRefusedError     the store says no (permissions, no such bucket): trying again will not help
│   └── StoreUnavailableError the store did not answer, or not whole; for a write the outcome is unknown
├── CorruptError              stored bytes are not what the manifest promises
├── UnsupportedFormatError    written in a format that this release does not read: a newer release does
│   └── OutdatedFormatError   written before the first release: `lookalike reindex` replaces it
├── SnapshotNotFoundError     no such snapshot, or the channel is still empty
├── IncompleteSnapshotError   refused: a snapshot whose files are not all there is not published; nothing was changed
├── CollectionRefusedError    refused: what is needed cannot be told for sure, so nothing is deleted
├── ChannelConflictError      somebody else moved the channel first: the race is lost, nothing was changed
├── ChannelUnknownError       the channel may or may not have moved: read it before doing anything else
├── EncoderError              an encoder cannot be found, exported or trusted
├── ChannelBusyError          another run is working on the channel
├── ClusterLostError          the Dask cluster has no worker any more: what was done is kept, run again
└── RunTimeoutError           a run took longer than it may: what was done is kept, run again
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


class AlreadyExistsError(StoreError):
    """Create-if-absent found the object already there."""


class StoreRefusedError(StoreError):
    """The store says no (permissions, no such bucket): trying again will not help."""


class StoreUnavailableError(StoreError):
    """The store did not answer, or not whole; for a write the outcome is unknown."""


class CorruptError(LookalikeError):
    """Stored bytes are not what the manifest promises."""


class UnsupportedFormatError(LookalikeError):
    """Written by a newer release of Lookalike."""


class OutdatedFormatError(UnsupportedFormatError):
    """Stored in a format from before the first release, which a reindex replaces."""


class SnapshotNotFoundError(LookalikeError):
    """No such snapshot, or the channel is still empty."""


class IncompleteSnapshotError(LookalikeError):
    """A snapshot whose files are not all there is not published; nothing was changed."""


class CollectionRefusedError(LookalikeError):
    """What is needed cannot be told for sure, so nothing is deleted."""


class ChannelConflictError(LookalikeError):
    """Somebody else moved the channel first; nothing was changed."""


class ChannelUnknownError(LookalikeError):
    """The channel may or may not have moved; read it before doing anything else."""


class EncoderError(LookalikeError):
    """An encoder cannot be found, exported or trusted."""


class ChannelBusyError(LookalikeError):
    """Another run is working on the channel."""


class ClusterLostError(LookalikeError):
    """The Dask cluster has no worker any more; what was done is kept."""


class RunTimeoutError(LookalikeError):
    """A run took longer than it may; what was done is kept."""


class SnapshotRefusedError(InputError):
    """The snapshot did not reach its limits, so only force publishes it."""
