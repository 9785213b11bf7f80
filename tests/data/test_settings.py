"""Settings: variables that look like one and are none are named, with the nearest that is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lookalike.data.settings import describe_unknown
from lookalike.flows.runtime.settings import BatchSettings
from lookalike.serving.settings import ServingSettings

ALL = (BatchSettings, ServingSettings)
EXAMPLE = Path(__file__).parents[2] / ".env.example"


@pytest.mark.parametrize(
    ("variable", "advice"),
    [
        ("LOOKALIKE_INDEX_BYTE", ": did you mean LOOKALIKE_INDEX_BYTES?"),
        ("LOOKALIKE_LIMITS_MAX_K", ": did you mean LOOKALIKE_LIMITS__MAX_K?"),
        ("lookalike_stroe", ": did you mean LOOKALIKE_STORE?"),
        ("LOOKALIKE_XYZZY", ""),
    ],
)
def test_a_slip(variable: str, advice: str) -> None:
    assert list(describe_unknown([variable, "PATH"], ALL)) == [f"no setting is called {variable}{advice}"]


def test_every_variable_that_is_written_down_is_known() -> None:
    documented = re.findall(r"^#(LOOKALIKE_\w+)=", EXAMPLE.read_text(), re.MULTILINE)
    assert len(documented) > 50
    assert list(describe_unknown([*documented, "lookalike_store", "LOOKALIKE_LIMITS"], ALL)) == []


def test_what_kubernetes_sets_beside_our_services_is_no_slip() -> None:
    links = ["PORT", "SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT_8000_TCP", "PORT_8000_TCP_ADDR", "ADMIN_SERVICE_HOST"]
    assert list(describe_unknown([f"LOOKALIKE_{link}" for link in links], ALL)) == []
    assert list(describe_unknown(["LOOKALIKE_SUPPORT"], ALL)) != []
