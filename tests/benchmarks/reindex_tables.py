"""Tables of what reindexing costs, from the figures of `tests.benchmarks.reindex`."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.results import percent, write_table

STAGES = ("encoder", "embed", "plan", "train", "build", "evaluate", "duplicates")
RUNS = {
    "full": "first, empty store",
    "one_percent_changed": "1 % of the pictures changed",
    "only_titles_changed": "only titles changed",
    "nothing_changed": "nothing changed",
}


def growth_table(figures: dict[str, Any]) -> str:
    """Return a row for each size of catalogue, as Markdown."""
    columns = [
        "products",
        "bare, s",
        "until all is embedded, s",
        "the whole reindex, s",
        "nothing changed, s",
        "peak memory of the flow",
        "peak memory of a worker",
        "task runs",
    ]
    rows = [_growth_row(run) for run in figures["runs"].values()]
    stages = "; ".join(f"{name} {run:.1f}" for name, run in _stages(list(figures["runs"].values())[-1]["reindex"]))
    return f"{write_table(columns, rows)}\n\nSeconds of the largest run's stages: {stages}."


def _growth_row(run: dict[str, Any]) -> list[str]:
    first, whole = run["until_all_is_embedded"], run["reindex"]
    before, after = run["bare"]["seconds"]
    return [
        f"{run['products']:,}",
        f"{before:.1f} / {after:.1f}",
        f"{first['seconds']:.1f} ({first['overhead']:+.0%})",
        f"{whole['seconds']:.1f}",
        f"{run['nothing_changed']['seconds']:.1f}",
        f"{whole['flow_peak_mb']} MB",
        f"{whole['worker_peak_mb']} MB",
        str(whole["task_runs"]),
    ]


def incremental_table(figures: dict[str, Any]) -> str:
    """Return a row for each run, and what the first one reached of the model's own rate, as Markdown."""
    columns = ["run", "seconds", "of the process", "embedded", "of the first run's work", "of its time"]
    full = figures["full"]
    rows = [
        [
            title,
            f"{run['seconds']:.1f}",
            f"{run['process_seconds']:.1f}",
            f"{run['embedded']:,}",
            percent(run["embedded"] / full["embedded"], 1),
            percent(run["seconds"] / full["seconds"], 1),
        ]
        for title, run in ((title, figures[name]) for name, title in RUNS.items())
    ]
    before, after = figures["encoder_per_second"]
    stages = "; ".join(f"{name} {seconds:.1f}" for name, seconds in _stages(full))
    return (
        f"{write_table(columns, rows)}\n\n"
        f"The model alone encoded {before:.1f} pictures/s before the first run, and {after:.1f} after it. Embedding "
        f"reached **{figures['embed_stage_against_encoder']:.2f}** of that, and the whole run "
        f"**{figures['whole_flow_against_encoder']:.2f}**. Seconds of the first run's stages: {stages}."
    )


def refresh_table(figures: dict[str, Any]) -> str:
    """Return what each refresh took until a server found the new products, and the live recall, as Markdown."""
    columns = ["refresh", "found, s after the start of the flow", "after the command", "the flow, s"]
    rows = [
        [
            str(number),
            f"{run['searchable_after_flow_start']:.1f}",
            f"{run['searchable_after_command']:.1f}",
            f"{run['seconds']:.1f}",
        ]
        for number, run in enumerate(figures["refreshes"], 1)
    ]
    recall, products = figures["live_recall"], figures["products"]
    return (
        f"{write_table(columns, rows)}\n\n"
        f"Each adds {figures['added']} products to {products:,}. Recall@10 of {recall['queries']:,} pictures that are "
        f"in no catalogue, asked over HTTP: **{recall['live']:.4f}**, standard error {recall['standard_error']:.4f}, "
        f"and {recall['of_the_first_200']:.4f} of the first 200; the manifest says {recall['manifest']:.4f}."
    )


def _stages(run: dict[str, Any]) -> list[tuple[str, float]]:
    return [(name, run["stages"][name]) for name in STAGES if name in run["stages"]]
