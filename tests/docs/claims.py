"""What README and the goals of docs/benchmarks.md say of results, in sentences: all numbers are read from files."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from tests.benchmarks.results import percent, read_result, spread, write_table
from tests.benchmarks.serving.images import share_of_alone
from tests.benchmarks.serving.swaps import slower_in_swaps

OURS, BUSY = "Lookalike", "32"


def goals_table() -> str:
    """Return each goal of speed that results can judge, with what is measured beside it, as Markdown."""
    columns = ["", "goal", "now", "beside it, in the same run", ""]
    return write_table(columns, [row() for row in GOALS])


def readme_table() -> str:
    """Return how good and how fast it is, as Markdown."""
    return write_table(["", ""], [row() for row in CLAIMS])


def _figures(name: str) -> Any:
    return read_result(name)["figures"]


def _judge(reached: float, goal: float, *, least: bool = True) -> str:
    """Say whether a goal is reached: a least value, or else a greatest one."""
    off = (goal - reached) / goal if least else (reached - goal) / goal
    return "reached" if off <= 0 else f"missed by {percent(off)}"


def _picture_busy() -> list[str]:
    figures = _figures("serving-images")
    ours, naive = (figures["systems"][name][BUSY]["shares"] for name in (OURS, "naive"))
    return [
        "search by picture, 32 clients",
        "0.88 of the bare encoder",
        f"**{spread(ours, 2)}**",
        f"bare: {statistics.median(figures['bare']):.0f} pictures/s; a naive route: {spread(naive, 2)} of it",
        _judge(statistics.median(ours), 0.88),
    ]


def _picture_alone() -> list[str]:
    figures = _figures("serving-images")
    alone, ours = figures["alone"], share_of_alone(figures, OURS)
    return [
        "search by picture, 1 client, p50",
        "1.2 times decoding and the model",
        f"**{ours:.2f}**: {figures['systems'][OURS]['1']['p50_ms']:.1f} ms",
        (
            f"decoding and fitting {alone['decode_ms']:.1f} ms, the model {alone['model_ms']:.1f}; "
            f"a naive route {share_of_alone(figures, 'naive'):.2f}"
        ),
        _judge(ours, 1.2, least=False),
    ]


def _product() -> list[str]:
    ours, constant = _busy_lookups("product")
    rate = statistics.median(ours["rates"])
    return [
        "by product, one process, 32 clients",
        "1,400 q/s, 0.7 ms of a core",
        f"**{spread(ours['rates'])} q/s, {ours['core_ms']:.2f} ms**",
        f"a constant route: {spread(constant['rates'])} q/s",
        f"{_judge(rate, 1400)}; {_judge(ours['core_ms'], 0.7, least=False)}",
    ]


def _vector() -> list[str]:
    ours, constant = _busy_lookups("vector")
    rates = spread(ours["rates"])
    taken = f"a constant route that takes the vector: {spread(constant['rates'])} q/s"
    judged = _judge(statistics.median(ours["rates"]), 1200)
    return ["by vector, one process, 32 clients", "1,200 q/s", f"**{rates} q/s**", taken, judged]


def _busy_lookups(kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    ours, constant = (_figures("serving-lookups")["servers"][name][kind][BUSY] for name in (OURS, "constant"))
    return ours, constant


def _two_processes() -> list[str]:
    one, two = _figures("serving-processes")["queries"]["product"][BUSY].values()
    return [
        "by product, two processes on two cores, 32 clients",
        "2,500 q/s",
        f"**{two['rate']:,.0f} ({two['least']:,.0f} to {two['most']:,.0f}) q/s**",
        f"one process: {one['rate']:,.0f}",
        _judge(two["rate"], 2500),
    ]


def _whole_flow() -> list[str]:
    figures = _figures("reindex-incremental")
    before, after = figures["encoder_per_second"]
    whole, embedding = (figures[f"{what}_against_encoder"] for what in ("whole_flow", "embed_stage"))
    return [
        f"whole flow, {figures['full']['embedded']:,} drawings",
        "0.85 of the model's rate",
        f"**{whole:.2f}**; embedding alone {embedding:.2f}",
        f"the model: {before:.0f} pictures/s before, {after:.0f} after",
        _judge(whole, 0.85),
    ]


def _photos() -> list[str]:
    figures = _figures("embedding")["JPEG, 12 megapixels"]
    cores = read_result("embedding")["machine"]["cores"]
    shares = []
    for bare, rate in zip(figures["bare"], figures["rates"]["workers"], strict=True):
        milliseconds = sum(figures["before the model, ms"]) + 1000 * cores / bare
        shares.append(rate / (1000 * cores / milliseconds))
    return [
        "photos of 12 megapixels, as a reindex embeds them",
        "0.95 of what the decoder allows",
        f"**{spread(shares, 2)}**",
        "what decoding, fitting and the model take of a core, one after the other",
        _judge(statistics.median(shares), 0.95),
    ]


def _nothing_changed() -> list[str]:
    own, standing = (spread(_figures("clock")[name]["nothing changed"], 1) for name in CLOCKS)
    return [
        "nothing changed, by the clock",
        "4 s",
        f"**{standing} s** with a standing Prefect server, **{own} s** with one of its own",
        f"{_figures('reindex-incremental')['nothing_changed']['seconds']:.1f} s of work",
        _judge(statistics.median(_figures("clock")[CLOCKS[0]]["nothing changed"]), 4, least=False),
    ]


def _text() -> list[str]:
    one = _figures("scale-text")["serve"]["queries"]["text, 1 clients"]
    return [
        "a text query of 100,000 products, p50",
        "15 ms",
        f"**{one['p50_ms']:.1f} ms**",
        f"{one['cpu_ms']:.1f} ms of a core",
        _judge(one["p50_ms"], 15, least=False),
    ]


def _on_disk() -> list[str]:
    figures = _figures("on-disk")
    warm, evicted = figures["warm"], figures["evicted"]
    megabytes = evicted["memory"]["total"] / 1e6
    return [
        "a million products, lists on disk: memory; p50 of a query",
        f"256 MB; 10 ms warm, at recall@10 0.95 (here {figures['recall_at_10']:.3f})",
        f"**{megabytes:.0f} MB; {warm['p50_ms']:.1f} ms**",
        f"{evicted['p50_ms']:.0f} ms without a page of lists and columns in memory",
        f"{_judge(megabytes, 256, least=False)}; {_judge(warm['p50_ms'], 10, least=False)}",
    ]


SOME_DAMAGE = ("crop", "turn", "light", "blur", "noise", "JPEG", "background", "overlay", "screenshot")
CLOCKS = ("a server of its own", "a standing server")
GOALS: tuple[Callable[[], list[str]], ...] = (
    _picture_busy,
    _picture_alone,
    _product,
    _two_processes,
    _vector,
    _whole_flow,
    _photos,
    _nothing_changed,
    _text,
    _on_disk,
)


def _damaged() -> list[str]:
    figures = _figures("quality")
    learnt = next(one for one in figures if one["encoder"] == "efficientnet-lite0" and one["space"] == "learnt")
    found = learnt["figures"]["all"]
    kinds, asked = len(learnt["figures"]) - 1, learnt["queries"]
    first, ten = (percent(found[name], 1) for name in ("hit_at_1", "hit_at_10"))
    return [
        f"A damaged picture finds its original ({kinds} kinds of damage: {', '.join(SOME_DAMAGE)}, …)",
        f"first in {first} of {asked:,} queries, among the first ten in {ten}",
    ]


def _embedding() -> list[str]:
    ((_, figures),) = _figures("embedding-openmoji").items()
    rates = {name: statistics.median(some) for name, some in figures["rates"].items()}
    share = statistics.median(
        rate / bare for rate, bare in zip(figures["rates"]["workers"], figures["bare"], strict=True)
    )
    return [
        "Embedding, with reading and decoding",
        (
            f"{rates['workers']:.0f} pictures/s, which is {share:.2f} of the bare ONNX Runtime rate and "
            f"{rates['workers'] / rates['loop']:.1f} times a loop over torch"
        ),
    ]


def _nightly() -> list[str]:
    figures = _figures("reindex-incremental")
    return [
        f"A nightly run on {figures['pictures']:,} drawings of which 1 % changed",
        (
            f"{percent(figures['share_of_time'])} of the first run's time, "
            f"{percent(figures['share_of_work'], 1)} of its embedding"
        ),
    ]


def _pictures() -> list[str]:
    full, reduced = (_figures(name)["systems"][OURS] for name in ("serving-images", "serving-images-int8"))
    rates = [statistics.median(one[BUSY]["rates"]) for one in (full, reduced)]
    return [
        "Queries by a new picture among 100,000 products, on two cores",
        (
            f"{rates[0]:.0f} a second, {full['1']['p50_ms']:.0f} ms for one alone (p50); {rates[1]:.0f} and "
            f"{reduced['1']['p50_ms']:.0f} with `--precision int8` and OpenVINO"
        ),
    ]


def _queries() -> list[str]:
    ours = _busy_lookups("product")[0]
    return [
        "Queries by a product of 100,000",
        f"{spread(ours['rates'])} a second by one server process, {ours['core_ms']:.2f} ms of a core each",
    ]


def _texts() -> list[str]:
    one = _figures("scale-text")["serve"]["queries"]["text, 1 clients"]
    return ["A query by text among 100,000 products, by words, meaning and looks", f"{one['p50_ms']:.1f} ms (p50)"]


def _unchanged() -> list[str]:
    own, standing = (statistics.median(_figures("clock")[name]["nothing changed"]) for name in CLOCKS)
    work = _figures("reindex-incremental")["nothing_changed"]["seconds"]
    return [
        "A run when nothing changed",
        (
            f"{work:.1f} s of work, and no new snapshot; by the clock {standing:.1f} s with a standing Prefect server, "
            f"{own:.1f} s without"
        ),
    ]


def _refresh() -> list[str]:
    figures = _figures("reindex-refresh")
    found = [run["searchable_after_flow_start"] for run in figures["refreshes"]]
    return [
        f"{figures['added']} products added to {figures['products']:,} by `refresh`",
        f"found by the running server {min(found):.1f} to {max(found):.1f} s after the start of the flow",
    ]


def _index() -> list[str]:
    figures = _figures("index-million")
    ours, other = (figures["systems"][name]["query"] for name in ("lookalike", "hnswlib"))
    count = figures["count"]
    return [
        "The index over a million vectors of 256 dimensions",
        (
            f"{ours['qps_1']:,.0f} queries/s on one core at recall@10 {ours['recall']:.3f}, "
            f"{ours['resident_bytes'] / count:,.0f} bytes for each vector; hnswlib in the same run: "
            f"{other['qps_1']:,.0f} and {other['resident_bytes'] / count:,.0f}"
        ),
    ]


def _swaps() -> list[str]:
    figures = _figures("serving-swaps")
    everything = figures["requests"]["all"]
    return [
        f"{figures['swaps']} swaps of 500,000 products in two minutes under load",
        (
            f"of {everything['count']:,} requests {everything['failed'] or 'none'} failed, and "
            f"{figures['mixed'] or 'none'} was mixed; p99 was {slower_in_swaps(figures):.1f} times that without swaps"
        ),
    ]


CLAIMS: tuple[Callable[[], list[str]], ...] = (
    _damaged,
    _embedding,
    _nightly,
    _unchanged,
    _refresh,
    _pictures,
    _queries,
    _texts,
    _index,
    _swaps,
)
