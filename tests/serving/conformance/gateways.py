"""All gateways that are held to the suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.serving.conformance.adapters import Gateway
from tests.serving.conformance.grpc import GrpcGateway
from tests.serving.conformance.rest import RestGateway
from tests.support.listening import Listening

GATEWAYS: Mapping[str, Callable[[Listening], Gateway]] = {
    "rest": RestGateway,
    "grpc": GrpcGateway,
}
"""By their names. A test compares each with REST, over all cases."""

SETTINGS: Mapping[str, object] = {}
"""What the server must be told so that each of them answers, beside a port for gRPC."""
