"""Worker processes that share the sockets of a server."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import uvicorn
from uvicorn.supervisors import Multiprocess

_PATIENCE = 30
"""Seconds that a worker may take to answer its parent.

uvicorn gives 5, and ends who takes longer. On a machine with other work, or with a fraction of a core, Python may take
that long to start: each worker would be ended before it serves.
"""


def run_workers(config: uvicorn.Config, sockets: Sequence[socket.socket]) -> None:
    """Start the processes, and others in place of those that end, until a signal says to stop."""
    config.timeout_worker_healthcheck = _PATIENCE
    _Workers(config, list(sockets)).run()


class _Workers(Multiprocess):
    def keep_subprocess_alive(self) -> None:
        for process in self.processes:
            # the parent waits for an answer through a pipe: while it holds the worker's end, it never learns that the
            # worker is gone, and waits in vain
            process.child_conn.close()
        super().keep_subprocess_alive()
