"""Search by picture in a shop's own catalogue.

No process of ours sends anything to a host that it is not configured for. Some packages that we use would, unless
these variables are set before they are imported. A variable that is set already keeps its value.
"""

from __future__ import annotations

import os

_PRIVATE = {
    "DO_NOT_TRACK": "1",  # Prefect's client and huggingface_hub
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: an id of this machine, and names and hashes of models
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # the server that a run starts for itself
}
for _name, _value in _PRIVATE.items():
    os.environ.setdefault(_name, _value)

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
for _name in ("no_proxy", "NO_PROXY"):  # a proxy of the company is not asked for servers of this machine
    _known = os.environ.get(_name, os.environ.get(_name.swapcase(), "")).split(",")
    os.environ[_name] = ",".join([*filter(None, _known), *(one for one in _THIS_MACHINE if one not in _known)])
