from __future__ import annotations

from tests.support.client import Client
from tests.support.shop import Shop


def test_current(served: tuple[Shop, Client]) -> None:
    shop, client = served
    found = client.get("/v1/snapshots/current").json()
    entry = shop.channel.current()
    assert found["id"] == entry.snapshot
    assert found["products"] == 24
    assert found["attribution"] == "Pictures by <i>Pillow</i>"
    assert found["encoder"]["name"] == "fake"
    assert found["index"]["reason"]
    assert found["index"]["shards"] == 2
    assert found["quality"] == {"recall_at_10": 1.0}
    assert found["channel"]["number"] == entry.number
    assert found["attributes"]["category"] == {"type": "string", "values": {"bags": 8, "hats": 8, "shoes": 8}}
    assert found["attributes"]["new"] == {"type": "boolean", "values": {"false": 12, "true": 12}}
    assert found["attributes"]["price"] == {"type": "number", "values": None}
    assert found["attributes"]["tags"]["type"] == "list of string"
    assert entry.moved_by not in str(found)


def test_held(client: Client) -> None:
    held = client.get("/v1/snapshots").json()["snapshots"]
    assert [one["state"] for one in held] == ["serving"]
    assert held[0]["queries"] == 0
