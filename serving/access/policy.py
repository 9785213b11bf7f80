"""The policy: which operation takes which scope. What is not named here takes `search`, so nothing new is open."""

from __future__ import annotations

from enum import StrEnum

from lookalike.serving.context import AccessScope


class Operation(StrEnum):
    """What a caller may ask of a server. A gateway calls everything `SEARCH` that it has no other name for."""

    PROBE = "probe"
    """Is the server alive, is it ready? Answered to everybody, and never counted."""
    PAGE = "page"
    """Pages and documentation: the same for everybody."""
    METRICS = "metrics"
    ADMIN = "admin"
    SEARCH = "search"


_OPEN = frozenset({Operation.PROBE, Operation.PAGE})
_OPERATORS = frozenset({Operation.METRICS, Operation.ADMIN})


class Policy:
    """Which operation takes which scope, and which port answers it."""

    def __init__(self, *, required: bool, admin_port: int | None = None, open_metrics: bool = False) -> None:
        """`required` says whether callers must prove who they are at all."""
        self._required = required
        self._admin_port = admin_port
        self._open_metrics = open_metrics or not required or admin_port is not None

    def needed_scope(self, operation: Operation) -> AccessScope | None:
        """Return the scope that an operation takes; None where it is open to all."""
        if operation in _OPEN or (operation is Operation.METRICS and self._open_metrics):
            return None
        return AccessScope.ADMIN if operation in _OPERATORS else AccessScope.SEARCH

    def is_answered_at(self, port: int | None, operation: Operation) -> bool:
        """Tell whether a port answers an operation; without a port for administration, every one answers all."""
        if self._admin_port is None or operation is Operation.PROBE:
            return True
        return (operation in _OPERATORS) == self._is_admin_port(port)

    def tells_all(self, port: int | None) -> bool:
        """Tell whether a probe may say what only operators should know, such as where the store is."""
        return not self._required or self._is_admin_port(port)

    def _is_admin_port(self, port: int | None) -> bool:
        return self._admin_port is not None and port == self._admin_port
