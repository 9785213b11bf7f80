"""The gRPC server over real sockets: what it refuses, when, and with which details."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from lookalike.data.errors import InputError
from lookalike.data.stores.local import LocalStore
from lookalike.infra.demo.processes import free_port
from lookalike.serving.access.keys import add_key, create_key
from lookalike.serving.context import AccessScope
from lookalike.serving.grpc.callers import parse_peer
from lookalike.serving.grpc.methods import SERVICE
from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.grpc.pb import lookalike_pb2_grpc as services
from lookalike.serving.grpc.server import GrpcGateway
from lookalike.serving.runtime import Runtime
from tests.serving.conformance.grpc import code_of
from tests.serving.conftest import make_settings
from tests.support.client import wait_for
from tests.support.half_sent import RawCalls
from tests.support.listening import Listening, listening
from tests.support.otlp import receiving
from tests.support.shop import Shop, picture

pytestmark = pytest.mark.slow

LIMIT = 256 * 2**10


class Asking:
    """A client of a server."""

    def __init__(self, server: Listening) -> None:
        self.server = server
        self.channel = grpc.insecure_channel(server.target)
        self.stub = services.LookalikeServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def fail(self, request: pb.SearchRequest, **more: Any) -> Any:
        """Return the error that a query ends with."""
        with pytest.raises(grpc.RpcError) as caught:
            self.stub.Search(request, timeout=60, **more)
        return caught.value

    def send_raw(self, data: bytes) -> Any:
        """Return the error of a call with bytes that may be no message."""
        call: Any = self.channel.unary_unary(f"/{SERVICE}/Search")
        with pytest.raises(grpc.RpcError) as caught:
            call(data, timeout=60)
        return caught.value

    def check(self) -> int:
        return int(self.health.Check(health_pb2.HealthCheckRequest(), timeout=60).status)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    Shop(LocalStore(folder / "store"), folder).publish(24)
    return folder


def settings(folder: Path, **changes: Any) -> Any:
    given = {"port": free_port(), **changes}
    given["grpc"] = {"port": free_port(), **changes.get("grpc", {})}
    return make_settings(folder, **given)


@pytest.fixture(scope="module")
def asking(folder: Path) -> Iterator[Asking]:
    with listening(settings(folder, limits={"max_body_bytes": LIMIT}, grpc={"reflection": True})) as server:
        found = Asking(server)
        yield found
        found.channel.close()


def test_a_call_is_a_part_of_its_caller_s_trace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.server_address[1]}")
        with listening(settings(folder, traces=True)) as server:
            asking = Asking(server)
            asked = pb.SearchRequest(image=picture(3))
            asking.stub.Search(asked, metadata=(("traceparent", f"00-{parent[0]}-{parent[1]}-01"),))
            asking.channel.close()
        spans = {span.name: span for _, span in receiver.spans()}
    call = spans[f"{SERVICE}/Search"]
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == parent
    stages = [spans[name] for name in ("decode", "queue", "encode", "search", "write")]
    assert {span.parent_span_id for span in stages} == {call.span_id}


def test_products_and_snapshots(asking: Asking) -> None:
    product = asking.stub.GetProduct(pb.GetProductRequest(id="a"))
    listed = asking.stub.ListProducts(pb.ListProductsRequest(limit=5, filter=[pb.Filter(text="stock<10")]))
    current = asking.stub.CurrentSnapshot(pb.CurrentSnapshotRequest()).snapshot
    held = asking.stub.ListSnapshots(pb.ListSnapshotsRequest()).snapshots
    assert (product.product.id, product.product.attributes["stock"].int_value) == ("a", 1)
    assert (listed.total, len(listed.products)) == (10, 5)
    assert product.snapshot == listed.snapshot == current.id == held[0].id
    assert current.attributes["category"].values[0].count == 8
    assert [one.state for one in held] == ["serving"]


@pytest.mark.parametrize("limit", [0, 101])
def test_a_listing_has_limits(asking: Asking, limit: int) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        asking.stub.ListProducts(pb.ListProductsRequest(limit=limit))
    assert code_of(caught.value) == "bad_limit"


def test_a_request_id_comes_back(asking: Asking) -> None:
    for given, is_kept in (("mine-1", True), ("no good", False)):
        _, call = asking.stub.Search.with_call(pb.SearchRequest(product_id="a"), metadata=(("x-request-id", given),))
        found = dict(call.trailing_metadata() or ())["x-request-id"]
        assert (found == given) == is_kept


def test_what_is_no_message_has_a_code(asking: Asking) -> None:
    error = asking.send_raw(b"\xff\xff\xff")
    assert (error.code(), code_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "bad_field")


def test_a_field_that_is_not_known_is_refused(asking: Asking) -> None:
    data = pb.SearchRequest(product_id="a").SerializeToString() + b"\xa0\x06\x01"
    assert code_of(asking.send_raw(data)) == "unknown_field"
    hidden = pb.SearchRequest(positive=[pb.Example.FromString(b"\x1a\x01a\xa0\x06\x01")]).SerializeToString()
    assert code_of(asking.send_raw(hidden)) == "unknown_field"


def test_a_message_has_a_limit(asking: Asking) -> None:
    little, much = (asking.fail(pb.SearchRequest(image=b"x" * (LIMIT + more))) for more in (100, 10 * LIMIT))
    assert code_of(little) == "body_too_large"
    assert {little.code(), much.code()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_compressed_messages_are_refused(asking: Asking) -> None:
    """A megabyte of zeros is a kilobyte on the way."""
    error = asking.fail(pb.SearchRequest(product_id="a"), compression=grpc.Compression.Gzip)
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_vector_in_both_forms_is_refused(asking: Asking) -> None:
    vector = pb.Vector(values=[1.0], packed=b"\x00" * 4)
    assert code_of(asking.fail(pb.SearchRequest(vector=vector))) == "bad_field"
    found = asking.stub.SearchBatch(
        pb.SearchBatchRequest(queries=[pb.SearchRequest(vector=vector), pb.SearchRequest(product_id="a")])
    )
    assert [result.problem.code for result in found.results] == ["bad_field", ""]


def test_calls_are_measured(asking: Asking) -> None:
    asking.stub.Search(pb.SearchRequest(product_id="a"))
    asking.fail(pb.SearchRequest(product_id="nobody"))
    text = httpx.get(f"{asking.server.url}/metrics").text
    for status in ("200", "404"):
        labels = f'gateway="grpc",method="call",route="/{SERVICE}/Search",status="{status}"'
        assert f"lookalike_request_seconds_count{{{labels}}}" in text


def test_health(asking: Asking) -> None:
    assert asking.check() == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        asking.health.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    watch = asking.health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=60)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


def test_reflection(asking: Asking) -> None:
    assert SERVICE in ProtoReflectionDescriptorDatabase(asking.channel).get_services()


def test_a_server_that_is_not_ready_says_so(tmp_path: Path) -> None:
    shop = Shop(LocalStore(tmp_path / "store"), tmp_path)
    with listening(settings(tmp_path), until_ready=False) as server:
        asking = Asking(server)
        with asking.channel:
            assert asking.check() == health_pb2.HealthCheckResponse.NOT_SERVING
            assert code_of(asking.fail(pb.SearchRequest(product_id="a"))) == "not_ready"
            with pytest.raises(grpc.RpcError):
                ProtoReflectionDescriptorDatabase(asking.channel).get_services()
            shop.publish(8)
            wait_for(asking.check, lambda found: found == health_pb2.HealthCheckResponse.SERVING)


def test_a_message_is_not_read_before_its_caller_is_known(folder: Path, tmp_path: Path) -> None:
    """The client sends without end: without a key it is refused while nearly nothing was taken of it."""
    key, text = create_key("a", [AccessScope.SEARCH])
    add_key(tmp_path / "keys.json", key)
    with listening(settings(folder, access={"keys_file": tmp_path / "keys.json"})) as server:
        asking = Asking(server)
        with asking.channel:
            large = pb.SearchRequest(image=bytes(9 * 2**20))
            error = asking.fail(large)
            assert (error.code(), code_of(error)) == (grpc.StatusCode.UNAUTHENTICATED, "unauthorized")
            assert code_of(asking.fail(large, metadata=(("x-api-key", text),))) == "image_not_an_image"
            assert asking.check() == health_pb2.HealthCheckResponse.SERVING


def test_vectors_of_pictures(asking: Asking) -> None:
    crop = pb.Crop(right=0.5, bottom=1.0)
    images = [pb.EmbedImage(image=picture(3)), pb.EmbedImage(image=b"no"), pb.EmbedImage(image=picture(3), crop=crop)]
    found = asking.stub.Embed(pb.EmbedRequest(images=images))
    reply = httpx.post(
        f"{asking.server.url}/v1/embed", json={"images": [{"image": base64.b64encode(picture(3)).decode()}]}
    ).json()
    assert np.frombuffer(found.results[0].vector.packed, "<f4").tolist() == reply["results"][0]["vector"]
    assert (found.dimension, found.encoder.fingerprint) == (reply["dimension"], reply["encoder"]["fingerprint"])
    assert found.results[1].problem.code == "image_not_an_image"
    assert found.results[2].vector.packed != found.results[0].vector.packed
    hits = asking.stub.Search(pb.SearchRequest(vector=found.results[0].vector, k=3)).hits
    assert hits == asking.stub.Search(pb.SearchRequest(image=picture(3), k=3)).hits
    projected = asking.stub.Embed(pb.EmbedRequest(images=images[:1], projected=True))
    assert projected.projected
    assert len(projected.results[0].vector.packed) == 4 * projected.dimension


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.EmbedRequest(), "no_query"),
        (pb.EmbedRequest(images=[pb.EmbedImage(url="https://a/b")] * 65), "too_many_pictures"),
        (pb.EmbedRequest(images=[pb.EmbedImage(image=b"")], snapshot="none such"), "snapshot_not_held"),
    ],
)
def test_what_has_no_vectors(asking: Asking, request_: pb.EmbedRequest, code: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        asking.stub.Embed(request_)
    assert code_of(caught.value) == code


def test_there_are_streams_only_where_they_are_turned_on(asking: Asking) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        next(asking.stub.Stream(iter(())))
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_stream_is_no_older_than_a_connection_may_be(folder: Path) -> None:
    with listening(settings(folder, stream={"enabled": True}, grpc={"connection_age_seconds": 0.5})) as server:
        asking = Asking(server)
        with asking.channel:
            stream = asking.stub.Stream(_wait_for_ever())
            assert [next(stream).WhichOneof("message") for _ in range(2)] == ["hello", "goaway"]
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            assert code_of(caught.value) == "stopping"


def _wait_for_ever() -> Iterator[pb.StreamRequest]:
    threading.Event().wait(60)
    yield pb.StreamRequest()


def test_a_rate_says_when_to_come_again(folder: Path) -> None:
    with listening(settings(folder, rates={"per_address": 1, "burst": 1})) as server:
        asking = Asking(server)
        with asking.channel:
            asking.stub.Search(pb.SearchRequest(product_id="a"))
            error = asking.fail(pb.SearchRequest(product_id="a"))
            assert code_of(error) == "rate_limited"
            status = rpc_status.from_call(error)
            retry = RetryInfo()
            assert status is not None
            assert status.details[1].Unpack(retry)
            assert 0 < retry.retry_delay.ToSeconds() <= 60


def test_a_cancelled_call_ends_its_query(folder: Path) -> None:
    slow = {"wait_ms": 1000, "max_batch": 8}
    with listening(settings(folder, batching=slow, probe_seconds=3600)) as server:
        asking = Asking(server)
        with asking.channel:

            def in_progress(count: int) -> None:
                text = f"lookalike_queries_in_progress {count:.1f}\n"
                wait_for(lambda: httpx.get(f"{server.url}/metrics").text, lambda found: text in found)

            call: Any = asking.stub.Search.future(pb.SearchRequest(image=picture(300)))
            in_progress(1)
            call.cancel()
            in_progress(0)
            assert 'status="499"' in httpx.get(f"{server.url}/metrics").text


def test_a_call_has_the_deadline_of_its_client(folder: Path) -> None:
    with listening(settings(folder, batching={"wait_ms": 1000, "max_batch": 8}, probe_seconds=3600)) as server:
        asking = Asking(server)
        with asking.channel, pytest.raises(grpc.RpcError) as caught:
            asking.stub.Search(pb.SearchRequest(image=picture(301)), timeout=0.3)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_there_are_only_so_many_calls(folder: Path) -> None:
    crowded = settings(folder, batching={"wait_ms": 1000, "max_batch": 8}, grpc={"calls": 1}, probe_seconds=3600)
    with listening(crowded) as server:
        asking = Asking(server)
        with asking.channel:
            # each takes the second that the batch waits, so they meet; either may come first
            calls: list[Any] = [asking.stub.Search.future(pb.SearchRequest(image=picture(seed))) for seed in (302, 303)]
            errors = [error for call in calls if (error := call.exception())]
            assert [code_of(error) for error in errors] == ["overloaded"]
            assert [len(call.result().hits) > 0 for call in calls if not call.exception()] == [True]


def test_a_reply_counts_until_it_is_taken(folder: Path) -> None:
    """A client reads nothing of replies that are larger than its window; another large one finds no room."""
    batch = pb.SearchBatchRequest(queries=[pb.SearchRequest(product_id="a", k=24)] * 32)
    with listening(settings(folder, limits={"replies_bytes": 2**20})) as server:
        asking, raw = Asking(server), RawCalls(server.settings.grpc.port or 0)
        with asking.channel:

            def outcome() -> str:
                found = asking.stub.SearchBatch(batch, timeout=60)
                return next((one.problem.code for one in found.results if one.problem.code), "answered")

            assert outcome() == "answered"
            for _ in range(4):
                raw.ask(f"/{SERVICE}/SearchBatch", batch.SerializeToString())
            wait_for(outcome, lambda found: found == "overloaded")
            asking.stub.Search(pb.SearchRequest(product_id="a"))
            raw.close()
            wait_for(outcome, lambda found: found == "answered")


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:5000", "192.0.2.1"), ("ipv6:%5B2001:db8::1%5D:5000", "2001:db8::1"),
        ("ipv6:[::ffff:192.0.2.1]:5000", "192.0.2.1"), ("unix:", "unix"), ("", "unknown"),
    ],
)  # fmt: skip
def test_an_address_is_read(peer: str, address: str) -> None:
    assert parse_peer(peer) == address


def test_a_port_that_is_taken_is_a_sentence(folder: Path) -> None:
    with listening(settings(folder)) as server:
        taken = Runtime(settings(folder, grpc={"port": server.settings.grpc.port}))

        async def enter() -> None:
            async with GrpcGateway(taken):
                pass

        with pytest.raises(InputError, match="gRPC cannot listen on"):
            asyncio.run(enter())
