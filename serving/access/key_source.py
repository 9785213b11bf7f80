"""Where keys come from: a file that is read again when it changes, or the environment."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path

from lookalike.data.errors import InputError
from lookalike.serving.access.keys import ApiKey, KeyRing, parse_keys
from lookalike.serving.access.keys_file import read_keys
from lookalike.serving.background import in_thread
from lookalike.serving.settings import Access
from lookalike.serving.telemetry.metrics import Metrics

CHECK_SECONDS = 1.0

_log = logging.getLogger(__name__)


class KeySource:
    """The keys that count now. A file that became unusable changes nothing: the last good keys stay."""

    def __init__(self, access: Access, metrics: Metrics) -> None:
        """Read all keys once. Raises `InputError` where that fails: a server without its keys must not start."""
        self._file = access.keys_file.expanduser() if access.keys_file else None
        self._given = parse_keys(access.keys, "LOOKALIKE_ACCESS__KEYS") if access.keys else ()
        self._metrics = metrics
        self._problem = ""
        self._seen: tuple[ApiKey, ...] = ()
        self.ring = KeyRing()
        self._take(read_keys(self._file) if self._file else ())

    async def run(self) -> None:
        """Look at the file for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self._file is not None:
                await self._look(self._file)
            self._metrics.keys.set(self.ring.valid(datetime.now(UTC)))

    async def _look(self, file: Path) -> None:
        try:
            found = await in_thread(lambda: read_keys(file), name="read keys")
        except InputError as error:
            self._metrics.keys_readable.set(0)
            if str(error) != self._problem:
                _log.error("%s; the %d keys known before stay valid", error, len(self.ring))
            self._problem = str(error)
            return
        if found != self._seen or self._problem:
            self._take(found)
            _log.info("the keys file was read: %d keys", len(self.ring))

    def _take(self, found: tuple[ApiKey, ...]) -> None:
        self._seen, self._problem = found, ""
        self.ring = KeyRing((*self._given, *found))
        self._metrics.keys_readable.set(1)
        self._metrics.keys.set(self.ring.valid(datetime.now(UTC)))
