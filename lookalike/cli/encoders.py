"""`lookalike encoders`: which there are, and where each comes from."""

from __future__ import annotations

import click

from lookalike.cli.output import output_option, print_value, report_errors, say, store_option


@click.group()
def encoders() -> None:
    """Look at the encoders that a reindex can use."""


@encoders.command("list")
@click.argument("family", required=False)
@output_option
@report_errors
def list_encoders(*, family: str | None, output: str) -> None:
    """List the encoders that are installed, or all models of FAMILY: torchvision, timm or openclip."""
    from lookalike.tasks.encoders.registry import list_encoders, list_models

    names = list_models(family) if family else list_encoders()
    if output == "json":
        print_value(names, output)
        return
    for name in names:
        say(name)


@encoders.command("show")
@click.argument("name")
@store_option
@click.option("--output", type=click.Choice(["text", "json"]), default="json", show_default=True)
@report_errors
def show_encoder(*, name: str, store: str, output: str) -> None:
    """Print where encoder NAME comes from, its fingerprint and, where the store has it, how it looks at pictures."""
    from lookalike.data.stores import open_store
    from lookalike.tasks.encoders.registry import find_origin, find_source
    from lookalike.tasks.encoders.stored import find_spec

    encoder, code = find_source(name), find_origin(name)
    spec = find_spec(open_store(store), encoder.fingerprint())
    found = spec.model_dump(mode="json") if spec else None
    shown = {"name": encoder.name, "class": code.value, "package": code.package, "fingerprint": encoder.fingerprint()}
    if output == "json":
        print_value({**shown, "stored": found}, output)
        return
    print_value({**shown, "stored": "yes" if found else "no"} | {**(found or {}), **shown}, output)
