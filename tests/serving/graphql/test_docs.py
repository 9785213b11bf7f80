"""`docs/graphql.md`: its examples are answered by a real server, which is started as the page says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from lookalike.data.errors import InputError
from lookalike.data.stores.local import LocalStore
from lookalike.serving.graphql.mount import add_graphql
from lookalike.serving.rest.app import create_app
from lookalike.serving.runtime import Runtime
from lookalike.serving.stream.streams import Streams
from tests.serving.conftest import make_settings
from tests.support.processes import server
from tests.support.shop import Shop, picture

PAGE = (Path(__file__).parents[3] / "docs" / "graphql.md").read_text()
EXAMPLES = re.findall(r"```graphql\n(.*?)```", PAGE, re.DOTALL)
IDS = ("shoes/red sneaker.png", "shoes/blue sneaker.png", "shoes/black boot.png", "hats/cap.png")


def write_rows(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for number, product in enumerate(IDS):
        file = folder / f"{number}.png"
        file.write_bytes(picture(number))
        attributes = {"category": product.partition("/")[0], "price": 10.0 + number}
        rows.append({"id": product, "title": product, "image": str(file), "attributes": attributes})
    return rows


@pytest.mark.services
def test_each_example_is_answered(tmp_path: Path) -> None:
    shop = Shop(LocalStore(tmp_path / "store"), tmp_path)
    shop.point_at(shop.build_rows(write_rows(tmp_path)))
    assert len(EXAMPLES) >= 3
    with server(tmp_path, LOOKALIKE_GRAPHQL__ENABLED="true") as running:
        running.wait(lambda state: bool(state["ready"]))
        for example in EXAMPLES:
            reply = httpx.post(f"{running.url}/graphql", json={"query": example}, timeout=20).json()
            assert "errors" not in reply, (example, reply)
            assert all(value is not None for value in reply["data"].values())


def test_where_the_extra_is_missing_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(make_settings(tmp_path))
    app = create_app(runtime)
    monkeypatch.delitem(sys.modules, "lookalike.serving.graphql.gateway", raising=False)
    monkeypatch.setitem(sys.modules, "strawberry", None)
    for name in [name for name in sys.modules if name.startswith("lookalike.serving.graphql.") and "mount" not in name]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=r"pip install 'lookalike\[graphql\]'"):
        add_graphql(app, Streams(runtime))
    runtime.service.close()
