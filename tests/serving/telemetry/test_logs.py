from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from lookalike.serving.context import RequestContext, answering
from lookalike.serving.settings import ServingSettings
from lookalike.serving.telemetry import ACCESS, AUDIT
from lookalike.serving.telemetry.logs import JsonFormatter, TextFormatter, log_config
from tests.serving.conftest import Serve
from tests.support.shop import Shop, picture

FORGED = "/x\r\nINFO: all is well\x1b[2J\u2028\x85"


@pytest.fixture
def stream() -> Iterator[StringIO]:
    yield StringIO()
    logging.getLogger("test").handlers.clear()


def written(stream: StringIO, formatter: logging.Formatter, message: str, *values: Any, **fields: Any) -> str:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log = logging.getLogger("test")
    log.handlers[:] = [handler]
    log.warning(message, *values, extra={"fields": fields})
    return stream.getvalue()


def test_a_json_line_belongs_to_its_request(stream: StringIO) -> None:
    with answering(RequestContext(id="mine", snapshot="20261122T120000Z-0")):
        line = written(stream, JsonFormatter(), "%d fish", 3, key="aaa")
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "warning", "logger": "test", "message": "3 fish", "request_id": "mine",
        "snapshot": "20261122T120000Z-0", "key": "aaa",
    }  # fmt: skip


def test_nobody_makes_up_a_line(stream: StringIO) -> None:
    line = written(stream, JsonFormatter(), "not found: %s", FORGED, path=FORGED)
    assert line.count("\n") == 1
    assert line.isascii()
    assert json.loads(line)["path"] == FORGED


def test_nor_a_line_of_text(stream: StringIO) -> None:
    line = written(stream, TextFormatter("%(levelprefix)s %(message)s"), "not found: %s", FORGED, path=FORGED)
    assert len(line.splitlines()) == 1
    assert "\x1b[2J" not in line
    assert r"/x\r\nINFO" in line


def test_an_exception_stays_on_its_line(stream: StringIO) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    log = logging.getLogger("test")
    log.handlers[:] = [handler]
    try:
        raise ValueError(FORGED)
    except ValueError:
        log.exception("it failed")
    assert len(stream.getvalue().splitlines()) == 1
    assert "ValueError" in json.loads(stream.getvalue())["exception"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_configuration_holds_together(form: str) -> None:
    config = log_config(ServingSettings.model_validate({"log_format": form, "log_level": "error"}))
    assert config["loggers"]["lookalike.serving"]["level"] == "ERROR"
    assert config["loggers"][AUDIT] == {"handlers": ["audit"], "level": "INFO", "propagate": False}
    made = logging.config.DictConfigurator(config)
    assert isinstance(made.configure_formatter(config["formatters"]["default"]), JsonFormatter) is (form == "json")


def test_a_line_for_each_request_by_setting(shop: Shop, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, ACCESS)
    manifest = shop.publish(8)
    client = serve(access_log=True)
    client.wait(lambda state: state["ready"])
    caplog.clear()
    client.post("/v1/search", files={"image": ("secret-name.png", picture(1))}, headers={"X-Request-ID": "mine"})
    client.get("/v1/products/a/similar?k=3")
    client.get("/no/such/place%0A")
    lines = [vars(record)["fields"] for record in caplog.records if record.name == ACCESS]
    assert all(0 < line.pop("ms") < 10_000 for line in lines)
    assert lines[0] == {
        "gateway": "rest",
        "method": "POST",
        "route": "/v1/search",
        "status": 200,
        "request_id": "mine",
        "snapshot": manifest.id,
        "key": "-",
    }
    assert (lines[1]["route"], lines[1]["snapshot"]) == ("/v1/products/{product_id:product}/similar", manifest.id)
    assert (lines[2]["route"], lines[2]["status"], lines[2]["snapshot"]) == ("unmatched", 404, None)
    assert "secret-name" not in str(lines)


def test_no_line_unless_asked_for(shop: Shop, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, ACCESS)
    serve().get("/livez")
    assert not [record for record in caplog.records if record.name == ACCESS]
