"""`lookalike encoders`: which there are, and where each comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lookalike.cli.output import output_option, print_value, report_errors, say, store_option

if TYPE_CHECKING:
    from lookalike.data.stores import ObjectStore

texts_option = click.option("--texts", is_flag=True, help="Encoders of texts, not those of pictures.")


@click.group()
def encoders() -> None:
    """Look at the encoders that a reindex can use."""


@encoders.command("list")
@click.argument("family", required=False)
@texts_option
@output_option
@report_errors
def list_encoders(*, family: str | None, texts: bool, output: str) -> None:
    """List the encoders that are installed, or all models of FAMILY: torchvision, timm or openclip."""
    from lookalike.data.errors import InputError
    from lookalike.tasks.encoders import registry
    from lookalike.tasks.encoders.texts.registry import list_text_encoders

    if texts and family:
        raise InputError("--texts lists all encoders of texts: leave the family out")
    installed = list_text_encoders if texts else registry.list_encoders
    names = registry.list_models(family) if family else installed()
    if output == "json":
        print_value(names, output)
        return
    for name in names:
        say(name)


@encoders.command("show")
@click.argument("name")
@texts_option
@store_option
@click.option("--output", type=click.Choice(["text", "json"]), default="json", show_default=True)
@report_errors
def show_encoder(*, name: str, texts: bool, store: str, output: str) -> None:
    """Print where encoder NAME comes from, its fingerprint and, where the store has it, how it looks at pictures."""
    from lookalike.data.stores import open_store

    shown, found = (_describe_text_encoder if texts else _describe_encoder)(name, open_store(store))
    if output == "json":
        print_value({**shown, "stored": found}, output)
        return
    print_value({**shown, "stored": "yes" if found else "no"} | {**(found or {}), **shown}, output)


def _describe_encoder(name: str, store: ObjectStore) -> tuple[dict[str, Any], dict[str, Any] | None]:
    from lookalike.tasks.encoders.registry import find_origin, find_source
    from lookalike.tasks.encoders.stored import find_spec

    encoder, code = find_source(name), find_origin(name)
    spec = find_spec(store, encoder.fingerprint())
    shown = {"name": encoder.name, "class": code.value, "package": code.package, "fingerprint": encoder.fingerprint()}
    return shown, spec.model_dump(mode="json") if spec else None


def _describe_text_encoder(name: str, store: ObjectStore) -> tuple[dict[str, Any], dict[str, Any] | None]:
    from lookalike.tasks.encoders.texts.registry import find_text_origin, find_text_source
    from lookalike.tasks.encoders.texts.stored import find_text_spec

    encoder, code = find_text_source(name), find_text_origin(name)
    spec = find_text_spec(store, encoder.fingerprint())
    shown = {"name": encoder.name, "class": code.value, "package": code.package, "fingerprint": encoder.fingerprint()}
    return shown, spec.model_dump(mode="json") if spec else None
