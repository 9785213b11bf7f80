"""Write the pages of docs/ that the code says: `make docs`. A test holds pages and code together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from lookalike.cli import cli
from lookalike.serving.codes import ERROR_CODES
from lookalike.serving.rest.openapi import describe_query
from tests.benchmarks import (
    clock,
    coarse,
    colours,
    decoders,
    duplicates,
    embedding,
    filters,
    index,
    meaning,
    memory,
    precision,
    quality,
    reindex_tables,
    spinning,
    start,
    stream,
    text_models,
    texts,
    views,
)
from tests.benchmarks.gateways import tables as gateways_tables
from tests.benchmarks.results import describe_result, read_result
from tests.benchmarks.scale import on_disk
from tests.benchmarks.scale import tables as scale_tables
from tests.benchmarks.serving import flood, images, lookups, processes, swaps, variants
from tests.docs.claims import goals_table, readme_table

DOCS = Path(__file__).parents[2] / "docs"

CLI_HEAD = """\
# The command line

`lookalike VERB --help` prints these texts. Data goes to standard output, progress and errors go to standard error. The
exit code is 0 when the work is done, 1 when it failed, and 2 when the request itself was wrong.

This page is generated: change the code in `lookalike/cli/`, then run `make docs`.
"""

PROBLEMS_HEAD = """\
# Problems

Every error is `application/problem+json` (RFC 9457). A program looks at `code`, whose meaning never changes. A person
reads `detail`, whose words may change. `type` is the address of the code's section in this list; a server also shows
the list at `/problems`. Numbers are those of the default settings.

```json
{"type": "/problems#bad_k", "title": "`k` is out of range", "status": 422,
 "detail": "`k` is 0: ask for 1 to 1,000 hits.", "code": "bad_k", "request_id": "5f0c6e0c5d8d4f0a9f0d6a2f1f3b7c11"}
```

This page is generated: change the code in `serving/codes.py`, then run `make docs`.
"""

TABLE, END = "<!-- the fields of a query, by `make docs` -->", "<!-- end -->"
GOALS = "<!-- goals, by `make docs` -->"
CLAIMS = "<!-- results, by `make docs` -->"
MEASURED: dict[str, Callable[[Any], str]] = {
    "clock": clock.table,
    "coarse": coarse.table,
    "colours-cost": colours.cost_table,
    "colours-names": colours.names_table,
    "colours-photographs": colours.photographs_table,
    "colours-recoloured": colours.recoloured_table,
    "decoders": decoders.table,
    "duplicates-rate": duplicates.rate_table,
    "duplicates-threshold": duplicates.threshold_table,
    "embedding": embedding.table,
    "embedding-openmoji": embedding.table,
    "filters": filters.table,
    "gateways": gateways_tables.table,
    "index": index.table,
    "index-million": index.table,
    "meaning-cost": meaning.cost_table,
    "meaning-quality": meaning.quality_table,
    "memory": memory.table,
    "on-disk": on_disk.table,
    "precision": precision.table,
    "quality": quality.table,
    "quality-precision": quality.summary_table,
    "reindex-growth": reindex_tables.growth_table,
    "reindex-incremental": reindex_tables.incremental_table,
    "reindex-refresh": reindex_tables.refresh_table,
    "scale-million": scale_tables.table,
    "scale-text": scale_tables.table,
    "serving-flood": flood.table,
    "serving-images": images.table,
    "serving-images-int8": images.table,
    "serving-lookups": lookups.table,
    "serving-processes": processes.table,
    "serving-swaps": swaps.table,
    "serving-variants": variants.table,
    "serving-variants-int8": variants.table,
    "spinning": spinning.table,
    "start": start.table,
    "stream": stream.table,
    "text-models": text_models.table,
    "text-models-two-threads": text_models.table,
    "texts": texts.table,
    "views": views.table,
}
"""Results in docs/figures/, and what makes a table of each."""


def pages() -> dict[Path, str]:
    """Return each generated page with its text."""
    return {
        DOCS / "cli.md": cli_page(),
        DOCS / "problems.md": problems_page(),
        DOCS / "api.md": replace_block(_read("api.md"), TABLE, describe_query()),
        DOCS / "benchmarks.md": replace_block(show_results(_read("benchmarks.md")), GOALS, goals_table()),
        DOCS / "gateways.md": show_results(_read("gateways.md")),
        DOCS.parent / "README.md": replace_block(_read("../README.md"), CLAIMS, readme_table()),
    }


def cli_page() -> str:
    """Return the help of every verb."""
    sections = [f"## {name}\n\n```\n{text}\n```\n" for name, text in _helps(cli, "lookalike", None)]
    return "\n".join([CLI_HEAD, *sections])


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    own = command.context_settings
    context = click.Context(command, parent=parent, info_name=name.rpartition(" ")[2], terminal_width=100, **own)
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            found = command.get_command(context, verb)
            assert found is not None, f"{name} lists {verb}, and does not have it"
            yield from _helps(found, f"{name} {verb}", context)


def problems_page() -> str:
    """Return every problem code: its status, what it means, and what helps."""
    sections = [f"## {code}\n\n{known.status} · {known.title}. {known.help}\n" for code, known in ERROR_CODES.items()]
    return "\n".join([PROBLEMS_HEAD, *sections])


def show_results(text: str) -> str:
    """Return a page's text with the tables of the results that it shows."""
    for name, table in MEASURED.items():
        begin = f"<!-- docs/figures/{name}.json, by `make docs` -->"
        if begin in text:
            result = read_result(name)
            text = replace_block(text, begin, f"{describe_result(result)}\n\n{table(result['figures'])}")
    return text


def _read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def replace_block(text: str, begin: str, block: str) -> str:
    """Return a page's text with what stands between a line and the next end replaced."""
    before, found, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    assert found, f"no page has the line {begin}"
    assert end, f"there is no line {END} after {begin}"
    return f"{before}{begin}\n{block}\n{end}{after}"


def main() -> None:
    """Write the pages."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
