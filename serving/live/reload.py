"""Reloads: one server process is asked to look at its channel, and all of them on this machine do."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from pathlib import Path

from lookalike.serving.background import in_thread

CHECK_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Reloads:
    """A small file beside the local cache, which all processes of one store and channel share."""

    def __init__(self, folder: Path, wake: Callable[[], None]) -> None:
        self._file = folder / "reload"
        self._wake = wake

    async def ask(self) -> None:
        """Wake this process at once, the others within a second."""
        self._wake()
        try:
            await in_thread(self._write, name="ask for a reload")
        except OSError as error:
            _log.warning("other server processes do not receive the order to reload: %s", error)

    async def run(self) -> None:
        """Wake this process for ever, whenever any was asked."""
        seen = self._read()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            found = self._read()
            if found != seen:
                seen = found
                self._wake()

    def _read(self) -> bytes:
        try:
            return self._file.read_bytes()
        except OSError:
            return b""

    def _write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_name(f"{self._file.name}.{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_text(uuid.uuid4().hex)
            temporary.replace(self._file)
        finally:
            temporary.unlink(missing_ok=True)
