"""`lookalike keys`: the API keys that servers accept."""

from __future__ import annotations

from pathlib import Path

import click

from lookalike.cli.output import output_option, print_value, report_errors, say

keys_file_option = click.option(
    "--keys-file",
    envvar="LOOKALIKE_ACCESS__KEYS_FILE",
    show_envvar=True,
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where keys are kept, hashed; servers read it again when it changes.",
)


@click.group()
def keys() -> None:
    """Look after the API keys that servers accept."""


@keys.command("create")
@keys_file_option
@click.option("--name", required=True, help="Whose it is, such as 'web shop'; logs show it.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=["search"],
    show_default=True,
    type=click.Choice(["search", "admin"]),
    help="What it is good for; may be repeated.",
)
@click.option("--expires", metavar="DURATION", help="Such as 90d; default: never.")
@output_option
@report_errors
def create_api_key(*, keys_file: Path, name: str, scopes: tuple[str, ...], expires: str | None, output: str) -> None:
    """Make a key and print it, this once: only a hash of it is kept."""
    from lookalike.data.durations import duration
    from lookalike.serving.access.keys import add_key, create_key
    from lookalike.serving.context import AccessScope

    chosen = [AccessScope(scope) for scope in scopes]
    key, text = create_key(name, chosen, lifetime=duration(expires) if expires else None)
    add_key(keys_file.expanduser(), key)
    if output == "json":
        print_value({"key": text, **key.model_dump(mode="json", exclude={"sha256"})}, output)
        return
    say(text)
    say(f"key {key.id} for {key.name!r}: it cannot be shown again", err=True)


@keys.command("list")
@keys_file_option
@output_option
@report_errors
def list_api_keys(*, keys_file: Path, output: str) -> None:
    """List the keys, without what is secret."""
    from datetime import UTC, datetime

    from lookalike.serving.access.keys import read_keys

    found, now = read_keys(keys_file.expanduser()), datetime.now(UTC)
    if output == "json":
        rows = [{**key.model_dump(mode="json", exclude={"sha256"}), "expired": key.expired(now)} for key in found]
        print_value(rows, output)
        return
    for key in found:
        expiry = f"{'expired' if key.expired(now) else 'until'} {key.expires_at:%Y-%m-%d}" if key.expires_at else ""
        say(f"{key.id}  {','.join(key.scopes):<12}  {key.created_at:%Y-%m-%d}  {expiry:<18}  {key.name}")


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@keys_file_option
@report_errors
def revoke_api_key(*, key_id: str, keys_file: Path) -> None:
    """Take the key ID back: servers refuse it within seconds."""
    from lookalike.serving.access.keys import remove_key

    key = remove_key(keys_file.expanduser(), key_id)
    say(f"key {key.id} for {key.name!r} is revoked", err=True)
