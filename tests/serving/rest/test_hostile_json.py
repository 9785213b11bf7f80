"""Bodies that are wrong a million times: the first fault is the answer, and the others cost nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from lookalike.serving.errors import MAX_DETAIL, ProblemError
from lookalike.serving.query.query import EncoderVector, Query
from lookalike.serving.query.request import read_batch, read_query
from lookalike.serving.settings import Limits

SIZE = 9_900_000  # bytes: the limit on bodies is 10 MiB
MEMORY = 300  # MiB
SECONDS = 5.0  # they take 0.1

# each body has a process of its own, forked from one that has imported everything and has no thread yet
_MEASURE = """
import json, os, resource, time
from lookalike.serving.errors import ProblemError
from lookalike.serving.settings import Limits
from tests.serving.rest.test_hostile_json import HOSTILE

def refuse(name):
    read, body, _ = HOSTILE[name]()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        read(body, Limits())
    except ProblemError as problem:
        seconds = time.process_time() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        print(json.dumps([name, problem.code, grown, seconds]), flush=True)

for name in HOSTILE:
    if os.fork() == 0:
        refuse(name)
        os._exit(0)
    os.wait()
"""


def _filled(head: str, item: str, tail: str = "]}", size: int = SIZE) -> bytes:
    count = (size - len(head) - len(tail)) // (len(item) + 1)
    return (head + ",".join([item] * count) + tail).encode()


def _names(count: int) -> bytes:
    return ("{" + ",".join(f'"{number}":1' for number in range(count)) + "}").encode()


# longer items stay below the limit on values, and reach the checks behind it
HOSTILE: dict[str, Any] = {
    "filters": lambda: (read_query, _filled('{"product_id":"a","filter":[', "0"), "body_too_large"),
    "fewer filters": lambda: (read_query, _filled('{"product_id":"a","filter":[', "1000000"), "body_too_large"),
    "filters, long": lambda: (read_query, _filled('{"product_id":"a","filter":[', "100000000000"), "bad_filter"),
    "examples": lambda: (read_query, _filled('{"positive":[', "100000000000"), "bad_field"),
    "negatives": lambda: (
        read_query,
        _filled('{"product_id":"a","negative":[', '{"k":"aaaaaaaaaaaaaaaaaa"}'),
        "unknown_field",
    ),
    "facets": lambda: (read_query, _filled('{"product_id":"a","facets":[', "100000000000"), "bad_facets"),
    "fields": lambda: (read_query, _filled('{"product_id":"a","fields":[', "100000000000"), "bad_fields"),
    "values": lambda: (
        read_query,
        _filled(
            '{"product_id":"a","filter":[{"attribute":"a","operator":"in","value":[',
            '{"aaaaaaaaaaaaaaaaaaaaaa":1}',
            "]}]}",
        ),
        "bad_filter",
    ),
    "vector": lambda: (read_query, _filled('{"vector":[', '"aaaaaaaaa"'), "bad_field"),
    "crop": lambda: (read_query, _filled('{"image":"","crop":[', '"aaaaaaaaa"'), "bad_crop"),
    "names": lambda: (read_query, _names(700_000), "unknown_field"),
    "names of a batch": lambda: (read_batch, _names(700_000), "unknown_field"),
    "queries": lambda: (read_batch, _filled('{"queries":[', "100000000000"), "too_many_queries"),
    "nested lists": lambda: (read_query, _filled('{"filter":[', "[[[]]]"), "body_too_large"),
    "objects": lambda: (read_query, _filled('{"filter":[', "{}"), "body_too_large"),
    "no object": lambda: (read_query, _filled("[", "100000000000", "]"), "bad_field"),
    "a long number": lambda: (read_query, b'{"k":' + b"1" * SIZE + b"}", "malformed_json"),
    "a long name": lambda: (read_query, b'{"' + b"a" * SIZE + b'":1}', "unknown_field"),
    "deep": lambda: (read_query, b'{"a":' * 900_000, "malformed_json"),
}


@pytest.fixture(scope="module")
def refusals() -> dict[str, tuple[str, int, float]]:
    done = subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, text=True, check=True)
    return {name: (code, grown, seconds) for name, code, grown, seconds in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_refusal_costs_little_memory_and_time(refusals: dict[str, tuple[str, int, float]], name: str) -> None:
    code, grown, seconds = refusals[name]
    assert code == HOSTILE[name]()[2]
    assert grown < MEMORY
    assert seconds < SECONDS


def test_a_refusal_quotes_no_more_than_a_line() -> None:
    with pytest.raises(ProblemError) as caught:
        read_query(json.dumps({"a" * 100_000: 1}).encode(), Limits())
    assert len(str(caught.value)) < 500
    assert len(str(ProblemError("bad_field", "a" * 1_000_000))) <= MAX_DETAIL + 2


def test_what_is_large_and_right_is_read() -> None:
    vectors = {"queries": [{"vector": [0.123456789] * 2048} for _ in range(32)]}
    batch = read_batch(json.dumps(vectors).encode(), Limits())
    examples = [query.positive[0] for query in batch.queries if isinstance(query, Query)]
    assert [example.vector.size for example in examples if isinstance(example, EncoderVector)] == [2048] * 32
