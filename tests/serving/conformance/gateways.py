"""All gateways that are held to the suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from tests.serving.conformance.adapters import Gateway
from tests.serving.conformance.graphql import GraphqlGateway
from tests.serving.conformance.grpc import GrpcGateway
from tests.serving.conformance.python import PythonClient
from tests.serving.conformance.rest import RestGateway
from tests.serving.conformance.streams import GrpcStreamGateway, WebSocketGateway
from tests.support.listening import Listening

GATEWAYS: Mapping[str, Callable[[Listening], Gateway]] = {
    "rest": RestGateway,
    "grpc": GrpcGateway,
    "graphql": GraphqlGateway,
    "websocket": WebSocketGateway,
    "grpc stream": GrpcStreamGateway,
    "python": partial(PythonClient, over_stream=False),
    "python stream": partial(PythonClient, over_stream=True),
}
"""By their names. A test compares each with REST, over all cases."""

LISTERS = ("rest", "grpc", "graphql", "python")
"""Those that list products and complete texts: a stream answers queries only."""

SETTINGS: Mapping[str, object] = {"graphql": {"enabled": True}, "stream": {"enabled": True}}
"""What the server must be told so that each of them answers, beside a port for gRPC."""

_REFUSED_BY_THE_CLIENT = frozenset(
    {
        "nothing", "only options", "picture and product", "vector and positive", "empty example", "two in an example",
        "crop of a product", "crop beside positive", "text beside positive",
    }
)  # fmt: skip
CANNOT_ASK: Mapping[str, frozenset[str]] = {
    "python": _REFUSED_BY_THE_CLIENT,
    "python stream": _REFUSED_BY_THE_CLIENT,
}
"""The single queries that a client refuses itself, or has no words for."""
CANNOT_ASK_TOGETHER: Mapping[str, frozenset[str]] = {
    "graphql": frozenset({"none", "too many", "snapshot inside"}),
    "websocket": frozenset({"none", "too many", "too many pictures", "snapshot inside"}),
    "grpc stream": frozenset({"none", "too many", "too many pictures", "snapshot inside"}),
}
"""The batches that a gateway cannot say, or bounds in another way: an operation by its cost, a stream by its window."""
ONE_BY_ONE = frozenset({"python", "python stream"})
"""The clients that know no batch: what refuses the whole of one, they cannot ask."""
