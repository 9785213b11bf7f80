"""Contact sheets: for each run a picture of sample queries and their first hits, kept as long as its snapshot."""

from __future__ import annotations

from contextlib import suppress

from data.errors import AlreadyExistsError
from data.stores import ObjectStore

FOLDER = "contact-sheets/"


def contact_sheet_key(run: str) -> str:
    """Return the name of a run's contact sheet in the store."""
    return f"{FOLDER}{run}.png"


def write_contact_sheet(store: ObjectStore, run: str, png: bytes) -> str:
    """Write the contact sheet of one run, and return the object's name. The first that is written stays."""
    key = contact_sheet_key(run)
    with suppress(AlreadyExistsError):  # a stage that was tried again after it had finished
        store.create(key, png)
    return key
