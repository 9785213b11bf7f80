"""What running an exported encoder costs by ONNX Runtime and by OpenVINO, on one thread each.

    python -m venv build/providers && build/providers/bin/pip install onnxruntime openvino numpy
    python -m tests.benchmarks.providers [--encoder NAME] [--python build/providers/bin/python] [--output FILE]

Times are of a core in one process, the median of ten rounds, in which both take turns (`providers_apart.py`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from lookalike.tasks.encoders.base import MODEL_FILE
from lookalike.tasks.encoders.registry import find_source
from tests.benchmarks.apart import measure_apart
from tests.benchmarks.results import add_output, write_result, write_table


def table(figures: dict[str, Any]) -> str:
    """Return the milliseconds of both, as Markdown."""
    columns = ["pictures in a batch", "ONNX Runtime, ms a picture", "OpenVINO", "rate of OpenVINO", "least cosine"]
    rows = []
    for batch in figures["batches"]:
        ours, other = batch["ms"]["ONNX Runtime"], batch["ms"]["OpenVINO"]
        rows.append(
            [str(batch["pictures"]), f"{ours:.2f}", f"{other:.2f}", f"{ours / other:.2f}", f"{batch['cosine']:.5f}"]
        )
    return write_table(columns, rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--python", type=Path, default=Path("build/providers/bin/python"), help="that has OpenVINO")
    add_output(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-providers-") as name:
        find_source(options.encoder).export(Path(name))
        figures = measure_apart(options.python, "providers_apart.py", str(Path(name) / MODEL_FILE))
    sys.stdout.write(f"{table(figures)}\n")
    if options.output:
        write_result(options.output, figures)


if __name__ == "__main__":
    main()
