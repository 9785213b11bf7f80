"""Tables of what gateways cost, from the figures of `tests.benchmarks.gateways`."""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.results import write_table

UNDER_WAY_SAID = "over one connection where the protocol lets them"
Cells = dict[str, dict[str, float]]
Figures = dict[str, dict[str, Cells]]
"""By number of connections, way and kind of query."""


def table(figures: Figures) -> str:
    """Return what a second of a core answers, and below what the client saw, as Markdown."""
    blocks = [_core_rates({what: ways for what, ways in figures.items() if UNDER_WAY_SAID not in what})]
    blocks += [f"{what}:\n\n{_seen(ways, with_core=UNDER_WAY_SAID in what)}" for what, ways in figures.items()]
    return "\n\n".join(blocks)


def _core_rates(figures: Figures) -> str:
    first = next(iter(figures.values()))
    places = [(kind, what) for kind in _kinds(first) for what in figures]
    columns = ["answers for a second of a core (of REST's)", *(f"{kind}, {what}" for kind, what in places)]
    rows = [[name, *(_core_rate(figures[what], name, kind) for kind, what in places)] for name in first]
    return write_table(columns, rows)


def _core_rate(ways: Mapping[str, Cells], name: str, kind: str) -> str:
    own, rest = (ways[one][kind]["core_rate"] for one in (name, "REST"))
    return f"{own:,.0f}" if name == "REST" else f"{own:,.0f} ({own / rest:.2f})"


def _seen(ways: Mapping[str, Cells], *, with_core: bool) -> str:
    rows = []
    for name, cells in ways.items():
        texts = [f"{one['rate']:,.0f} · {one['p50_ms']:,.1f} · {one['p99_ms']:,.1f}" for one in cells.values()]
        if with_core:
            cores = [f"**{one['core_rate']:,.0f}**" for one in cells.values()]
            texts = [f"{core}; {text}" for core, text in zip(cores, texts, strict=True)]
        rows.append([name, *texts])
    return write_table(["", *_kinds(ways)], rows)


def _kinds(ways: Mapping[str, Cells]) -> list[str]:
    return list(next(iter(ways.values())))
