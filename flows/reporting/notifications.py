"""Notifications: a message through Prefect blocks when a run failed or was refused, and when it is well again.

A block is named `<type>/<name>`, as the Prefect UI shows it: `slack-webhook/ops`, `smtp-mail/shop`
(`lookalike.flows.reporting.mail`), `custom-webhook/pager`, any other with a `notify` method, or the plain
`webhook/<name>`, which is sent `{"subject": …, "text": …}` as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import prefect.runtime
from httpx import Response
from prefect.blocks.abstract import NotificationBlock, NotificationError
from prefect.blocks.core import Block
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.webhook import Webhook
from prefect.utilities.asyncutils import run_coro_as_sync
from prefect.utilities.urls import url_for

from lookalike.data.reports import RunReport, State
from lookalike.flows.reporting.mail import SmtpMail
from lookalike.flows.runtime.progress import run_log

KNOWN = (SlackWebhook, SmtpMail, Webhook)  # importing their modules makes block types known to `Block.load`
BAD = frozenset({"failed", "refused", "cancelled"})
GOOD = frozenset({"published", "unchanged"})
SHOWN_REASONS = 10


@dataclass(frozen=True, slots=True)
class Message:
    """What a person reads. `subject` is one line; `body` says why, what to do, and where to look."""

    subject: str
    body: str


def notify(
    report: RunReport, previous_state: State | None, blocks: Sequence[str], *, flow_run: str | None = None
) -> Message | None:
    """Send a message about a run through each of `blocks`, if it is worth one; return the message.

    Failures and refusals are worth a message, and so is the first good run after one of them or after a
    cancellation. A refresh that ends as badly as the one before it is not: it runs every few minutes. A block that
    cannot be loaded or does not deliver is an error in the log, and no more.

    Args:
        previous_state: how the channel's run of this kind before this one ended, see
            `lookalike.data.reports.last_state`.
        flow_run: the id to link to; default: the flow run that calls.
    """
    if not _worth_telling(report, previous_state):
        return None
    message = message_about(report, previous_state, link(flow_run))
    tell(message, blocks)
    return message


def tell(message: Message, blocks: Sequence[str]) -> None:
    """Send a message through each of `blocks`; one that fails is logged."""
    for name in blocks:
        try:
            _send(name, message)
        except Exception as error:  # noqa: BLE001 - blocks are other people's code, and a message is no reason to fail
            reason = error.log if isinstance(error, NotificationError) else str(error)
            run_log(__name__).error("notify: %s did not deliver %r: %s", name, message.subject, reason)


def message_about(report: RunReport, previous_state: State | None, url: str | None) -> Message:
    """Return what to tell about a run."""
    what = f"Lookalike: {report.kind} of channel {report.channel!r}"
    if report.state in GOOD:
        return _message(
            f"{what} is well again", [f"The {report.kind} before was {previous_state}. {_outcome(report)}"], url
        )
    if report.state == "refused":
        return _message(f"{what} was refused", _refusal(report), url)
    return _message(f"{what} failed", _failure(report), url)


def link(flow_run: str | None = None) -> str | None:
    """Return the address of a flow run in the Prefect UI, by default of the one that calls; None where unknown."""
    run = flow_run or prefect.runtime.flow_run.id
    return url_for("flow-run", run) if run else None


def _worth_telling(report: RunReport, previous_state: State | None) -> bool:
    if report.state in GOOD:
        return previous_state in BAD
    repeated = report.kind == "refresh" and report.state == previous_state
    return report.state in {"failed", "refused"} and not repeated


def _message(subject: str, lines: list[str], url: str | None) -> Message:
    return Message(subject, "\n".join([*lines, *([f"The run: {url}"] if url else [])]))


def _outcome(report: RunReport) -> str:
    if report.state == "unchanged":
        return f"Nothing has changed in {report.catalogue}: {report.snapshot} stays published."
    return f"Published {report.snapshot} with {report.products:,} products from {report.catalogue}."


def _refusal(report: RunReport) -> list[str]:
    more = len(report.refused) - SHOWN_REASONS
    return [
        f"Snapshot {report.snapshot} of {report.catalogue} was made, but not published:",
        *(f"- {reason}" for reason in report.refused[:SHOWN_REASONS]),
        *([f"- … and {more} more reasons"] if more > 0 else []),
        "Servers go on with the snapshot before it.",
        "If the catalogue is wrong, mend it: the next run starts from it. If the snapshot is right all the same:",
        f"lookalike snapshots promote {report.snapshot} --channel {report.channel} --force --reason '…'",
    ]


def _failure(report: RunReport) -> list[str]:
    return [
        f"{report.message or 'No reason is known.'}",
        f"The catalogue: {report.catalogue}. {_where_the_channel_is(report)}",
        "Remove the cause and run it again: it continues where it stopped. docs/operations.md lists causes by symptom.",
    ]


def _where_the_channel_is(report: RunReport) -> str:
    if report.snapshot:
        return f"The channel was moved before that: servers follow to {report.snapshot}."
    return "The channel was not moved: servers go on with what was published."


def _send(name: str, message: Message) -> None:
    block = Block.load(name, _sync=True)  # type: ignore[call-arg] # what `async_dispatch` adds to it
    if isinstance(block, Webhook):
        payload = {"subject": message.subject, "text": f"{message.subject}\n{message.body}"}
        cast("Response", run_coro_as_sync(block.call(payload))).raise_for_status()
    elif isinstance(block, NotificationBlock):
        with block.raise_on_failure():
            cast("Any", block).notify(message.body, message.subject)
    elif hasattr(block, "notify"):
        block.notify(message.body, message.subject)
    else:
        raise TypeError("this block cannot notify: it has no method `notify`")
