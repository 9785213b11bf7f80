"""Messages of each gateway, and what a seeded random hand does to them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from lookalike.serving.grpc.methods import METHODS, SERVICE
from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from tests.support.shop import picture

_PICTURE = picture(11)
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, -(2**63), 2**64, 1e308, -0.0, 1e-320, "", "a", "\x00", "\ud800", "é" * 300),
    *("a" * 5000, [], {}, [[]], [{}], {"frame": 0}, {"frame": -1}, {"frame": 99}, {"frame": "0"}, "NaN", "null"),
)
_MESSAGES: tuple[dict[str, Any], ...] = (
    {"type": "start", "order": "query"},
    {"type": "query", "id": 1, "product_id": "a", "k": 3, "filter": ["new=true", {"attribute": "stock", "value": 3}]},
    {"type": "query", "id": "p", "frames": 1, "image": {"frame": 0}, "crop": [0.1, 0.1, 0.9, 0.9], "timeout": 2.5},
    {"type": "query", "id": "e", "frames": 2, "positive": [{"image": {"frame": 0}}, {"vector": {"frame": 1}}]},
    {"type": "query", "id": "v", "vector": [0.5] * 192, "negative": [{"product_id": "a"}], "negative_weight": 0.3},
    {"type": "cancel", "id": 1},
    {"type": "pin", "snapshot": None},
)  # fmt: skip
_QUERIES: tuple[dict[str, Any], ...] = tuple(
    {name: value for name, value in message.items() if name not in {"type", "id", "frames", "timeout"}}
    for message in _MESSAGES
    if message["type"] == "query"
)
_DOCUMENTS = (
    "query ($q: SearchInput!) { a: search(query: $q) { hits { id score similar(options: {k: 2}) { hits { id } } } } }",
    '{ suggest(text: "pro", limit: 3, filter: ["price<=50"]) { text word products } }',
    '{ product(id: "a") { title attributes } products(limit: 2, filter: ["price<=50"]) { total products { id } } }',
    'query Two { facets(names: ["price"]) { name values { count } } snapshot { ...S } } fragment S on Snapshot { id }',
    "subscription { snapshotChanged { id products } }",
    '{ __schema { types { name } } similar(id: "a") { ... on SearchResult { hits { id @include(if: true) } } } }',
)
_TOKENS = (
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "!",
    "$",
    "...",
    "@",
    "|",
    "=",
    "&",
    '"',
    '"""',
    "#",
    "on",
    "null",
    "fragment F on Query",
)


def mutate_bytes(data: bytes, hand: random.Random) -> bytes:
    """Return bytes with some of them changed, cut out, doubled or put in."""
    changed = bytearray(data)
    for _ in range(hand.randint(1, 8)):
        place = hand.randrange(len(changed) + 1)
        kind = hand.randrange(5)
        if kind == 0 and changed:
            changed[place % len(changed)] = hand.randrange(256)
        elif kind == 1:
            changed[place:place] = hand.randbytes(hand.choice((1, 2, 5, 300)))
        elif kind == 2:
            del changed[place : place + hand.choice((1, 3, 40))]
        elif kind == 3:
            changed[place:place] = changed[place : place + hand.randint(1, 60)] * hand.choice((1, 2, 50))
        else:
            del changed[place:]
    return bytes(changed)


def mutate_object(given: Any, hand: random.Random) -> Any:
    """Return an object with some of its parts replaced, renamed, left out, doubled or nested."""
    changed = copy.deepcopy(given)
    for _ in range(hand.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            return copy.deepcopy(hand.choice(_ODD))
        within, name = hand.choice(places)
        kind = hand.randrange(6)
        if kind == 0:
            within.pop(name)
        elif kind == 1 and isinstance(within, dict):
            within[
                hand.choice(("id", "type", "frames", "k", "colour", "filter", "vector", "image", str(name) + "x"))
            ] = within.pop(name)
        elif kind == 2:
            within[name] = [within[name]] * hand.choice((0, 1, 2, 40))
        elif kind == 3:
            for _ in range(hand.choice((1, 5, 120))):
                within[name] = hand.choice(([within[name]], {"frame": within[name]}))
        else:
            within[name] = copy.deepcopy(hand.choice(_ODD))
    return changed


def _places(given: Any) -> list[tuple[Any, Any]]:
    if isinstance(given, dict):
        return [*((given, name) for name in given), *(place for value in given.values() for place in _places(value))]
    if isinstance(given, list):
        return [
            *((given, place) for place in range(len(given))),
            *(place for value in given[:20] for place in _places(value)),
        ]
    return []


def socket_messages(seed: int) -> list[str | bytes]:
    """Return what is sent over a WebSocket: texts and binary frames."""
    hand, sent = random.Random(seed), list[str | bytes]()
    for _ in range(hand.randint(1, 3)):
        message = copy.deepcopy(hand.choice(_MESSAGES))
        text = json.dumps(mutate_object(message, hand) if hand.random() < 0.7 else message)
        if hand.random() < 0.4:
            text = mutate_bytes(text.encode(), hand).decode("utf-8", "replace")
        sent.append(text)
        for _ in range(message.get("frames", 0) if hand.random() < 0.8 else hand.randrange(3)):
            sent.append(hand.choice((_PICTURE, mutate_bytes(_PICTURE, hand), b"", bytes(768), hand.randbytes(100))))
    return sent


def _requests() -> Sequence[tuple[str, bytes]]:
    vector = pb.Vector(packed=bytes(768))
    condition = pb.Condition(attribute="stock", value=pb.Value(int_value=3))
    search = pb.SearchRequest(
        image=_PICTURE, crop=pb.Crop(right=0.5, bottom=1.0), k=3, facets=["price"], fields=["title"],
        filter=[pb.Filter(text="category=shoes"), pb.Filter(condition=condition)],
        positive=[pb.Example(vector=vector), pb.Example(product_id="a")],
        negative=[pb.Example(vector=pb.Vector(values=[1.0] * 192))],
    )  # fmt: skip
    product = pb.SearchRequest(product_id="a", k=2, group_by="category", collapse="exact")
    found = {
        "Search": (search, product),
        "SearchBatch": (pb.SearchBatchRequest(queries=[search, product]),),
        "Embed": (pb.EmbedRequest(images=[pb.EmbedImage(image=_PICTURE), pb.EmbedImage(url="a")], projected=True),),
        "GetProduct": (pb.GetProductRequest(id="a"),),
        "ListProducts": (pb.ListProductsRequest(limit=3, filter=[pb.Filter(text="price<50")], facets=["category"]),),
        "Suggest": (pb.SuggestRequest(text="pro", limit=3, filter=[pb.Filter(text="price<50")]),),
        "CurrentSnapshot": (pb.CurrentSnapshotRequest(),),
    }  # fmt: skip
    return [(f"/{SERVICE}/{name}", one.SerializeToString()) for name, all_ in found.items() for one in all_]


_REQUESTS = _requests()
_STREAMED = tuple(
    message.SerializeToString()
    for message in (
        pb.StreamRequest(start=pb.StreamStart(order="query")),
        pb.StreamRequest(query=pb.StreamQuery(id="p", query=pb.SearchRequest.FromString(_REQUESTS[0][1]), timeout=2.5)),
        pb.StreamRequest(query=pb.StreamQuery(id="q", query=pb.SearchRequest.FromString(_REQUESTS[1][1]))),
        pb.StreamRequest(cancel=pb.StreamCancel(id="q")),
        pb.StreamRequest(pin=pb.StreamPin()),
    )
)


def _mutate_message(data: bytes, hand: random.Random) -> bytes:
    """Return a message with parts of its wire format in odd places: tags, lengths, groups, deep nesting."""
    kind = hand.randrange(4)
    if kind == 0:
        return mutate_bytes(data, hand)
    tag = (hand.choice((1, 4, 5, 6, 7, 11, 100, 2**29 - 1)) << 3) | hand.randrange(8)
    number = bytearray()
    while tag >= 0x80:
        number.append(tag & 0x7F | 0x80)
        tag >>= 7
    number.append(tag)
    if kind == 1:
        return data + bytes(number) + hand.choice((b"", b"\x00", b"\xff" * 12, b"\x05abcde", b"\xff\xff\xff\xff\x0f"))
    if kind == 2:
        inner = b""
        for _ in range(hand.choice((3, 90, 150))):
            inner = b"\x5a" + _length(inner) + inner  # a list of lists, as values of conditions may be
        return data + b"\x5a" + _length(inner) + inner
    return data * hand.choice((2, 3, 30))


def _length(data: bytes) -> bytes:
    size, found = len(data), bytearray()
    while size >= 0x80:
        found.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((*found, size))


def call_message(seed: int) -> tuple[str, bytes]:
    """Return a method of gRPC and the bytes of its message."""
    hand = random.Random(seed)
    name, data = hand.choice(_REQUESTS)
    if hand.random() < 0.1:
        name = hand.choice(sorted(METHODS))
    return name, _mutate_message(data, hand)


def stream_messages(seed: int) -> list[bytes]:
    """Return the bytes of messages of a stream of gRPC."""
    hand = random.Random(seed)
    chosen = [hand.choice(_STREAMED) for _ in range(hand.randint(1, 3))]
    return [_mutate_message(data, hand) if hand.random() < 0.7 else data for data in chosen]


def operation(seed: int) -> bytes:
    """Return the body of a request for GraphQL."""
    hand = random.Random(seed)
    text = hand.choice(_DOCUMENTS)
    changes: tuple[Callable[[], str], ...] = (
        lambda: text,
        lambda: mutate_bytes(text.encode(), hand).decode("utf-8", "replace"),
        lambda: _shuffle(text, hand),
        lambda: _repeat(text, hand),
    )
    body: dict[str, Any] = {"query": hand.choice(changes)(), "variables": {"q": copy.deepcopy(hand.choice(_QUERIES))}}
    if hand.random() < 0.6:
        body["variables"] = mutate_object(body["variables"], hand)
    if hand.random() < 0.2:
        body = mutate_object(body, hand)
    data = json.dumps(body).encode()
    return mutate_bytes(data, hand) if hand.random() < 0.2 else data


def _shuffle(text: str, hand: random.Random) -> str:
    parts = text.split(" ")
    for _ in range(hand.randint(1, 5)):
        parts[hand.randrange(len(parts))] = hand.choice((*parts, *_TOKENS))
    return " ".join(parts)


def _repeat(text: str, hand: random.Random) -> str:
    """Nest, or ask for much: what limits are for."""
    many = hand.choice((3, 70, 700))
    return hand.choice(
        (
            "{" + " ".join(f'a{number}: product(id: "a") {{ id }}' for number in range(many)) + "}",
            "{ similar(id: \"a\") " + "{ hits { similar " * many + "{ hits { id } }" + " } }" * many + " }",
            "{ ...F } fragment F on Query { ...F }",
            " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(many)) + " { ...F0 }",
            text + " @skip(if: true)" * many,
            "[" * many + text,
        )
    )  # fmt: skip
