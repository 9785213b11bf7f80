"""Notifications: what is told, what is not, and real blocks of a real Prefect server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.blocks.webhook import Webhook

from lookalike.data.reports import State
from lookalike.flows.reporting.mail import SmtpMail
from lookalike.flows.reporting.notifications import Message, link, message_about, notify, tell
from lookalike.infra.demo.processes import HOST
from tests.support.mailbox import mailbox
from tests.support.receiver import Receiver, receiver
from tests.support.reports import run_report
from tests.support.servers import as_prefect_client

pytestmark = pytest.mark.slow  # Prefect takes seconds to import

REASONS = ["recall@10 is 0.700, the limit is 0.95", "30% of the catalogue cannot be used, the limit is 20%"]


@pytest.mark.parametrize(
    ("state", "before", "told"),
    [
        ("failed", None, "failed"),
        ("failed", "failed", "failed"),
        ("refused", "published", "was refused"),
        ("published", "failed", "is well again"),
        ("unchanged", "refused", "is well again"),
        ("published", "cancelled", "is well again"),
        ("published", None, None),
        ("published", "published", None),
        ("unpublished", "failed", None),
        ("cancelled", "published", None),
        ("skipped", "failed", None),
    ],
)
def test_what_is_worth_telling(state: State, before: State | None, told: str | None) -> None:
    message = notify(run_report(state=state), before, [])
    assert (message and message.subject) == (told and f"Lookalike: reindex of channel 'current' {told}")


def test_a_refresh_says_once_that_it_is_broken() -> None:
    broken = run_report(kind="refresh", state="failed")
    assert notify(broken, "published", []) is not None
    assert notify(broken, "failed", []) is None
    assert notify(broken, "refused", []) is not None


def test_a_refusal_says_why_and_what_to_do() -> None:
    report = run_report(state="refused", refused=REASONS, channel="canary")
    lines = message_about(report, None, "http://ui/run").body.splitlines()
    assert [f"- {reason}" for reason in REASONS] == lines[1:3]
    assert f"lookalike snapshots promote {report.snapshot} --channel canary --force --reason '…'" in lines
    assert lines[-1] == "The run: http://ui/run"


def test_a_hundred_reasons_are_cut_short() -> None:
    body = message_about(run_report(state="refused", refused=["x"] * 100), None, None).body
    assert body.count("- x") == 10
    assert "- … and 90 more reasons" in body


def test_a_failure_and_a_recovery_say_what_is_served() -> None:
    failed = message_about(run_report(state="failed", message="no route to the store", snapshot=None), None, None).body
    assert failed.startswith("no route to the store\nThe catalogue: s3://shop/products.csv. The channel was not moved")
    moved = message_about(run_report(state="failed", message="no disk"), None, None).body
    assert "The channel was moved before that: servers follow to 2026" in moved
    assert "The reindex before was failed. Published 2026" in message_about(run_report(), "failed", None).body
    unchanged = message_about(run_report(state="unchanged"), "refused", None).body
    assert "Nothing has changed in s3://shop/products.csv" in unchanged


@pytest.mark.services
class TestBlocks:
    @pytest.fixture
    def inbox(self, prefect_api: str) -> Iterator[Receiver]:
        with as_prefect_client(prefect_api), receiver() as inbox:
            yield inbox

    def save(self, block: Any, name: str) -> None:
        block.save(name, overwrite=True)

    def test_a_block_that_notifies_and_a_plain_webhook(self, inbox: Receiver) -> None:
        data = {"text": "{{subject}}\n{{body}}", "token": "{{token}}"}
        custom = CustomWebhookNotificationBlock(name="x", url=f"{inbox.url}/c", json_data=data, secrets={"token": "t"})
        self.save(custom, "notify-test")
        self.save(Webhook(url=f"{inbox.url}/w"), "notify-test")
        for number in range(2):  # a block is as good the second time
            report = run_report(number, state="refused", refused=REASONS)
            message = notify(report, None, ["custom-webhook/notify-test", "webhook/notify-test"])
            assert message is not None
        assert [request.path for request in inbox.requests] == ["/c", "/w"] * 2
        first, second = (json.loads(request.body) for request in inbox.requests[:2])
        assert first["token"] == "t"
        assert first["text"].startswith("Lookalike: reindex of channel 'current' was refused\nSnapshot 2026")
        assert second == {"subject": "Lookalike: reindex of channel 'current' was refused", "text": first["text"]}

    def test_mail(self, inbox: Receiver, caplog: pytest.LogCaptureFixture) -> None:
        with mailbox() as post:
            there: dict[str, Any] = {"host": HOST, "port": post.port, "sender": "l@shop.example"}
            block = SmtpMail(**there, security="none", recipients=["a@shop.example", "b@shop.example"])
            self.save(block, "notify-mail")
            self.save(SmtpMail(**there, recipients=["a@shop.example"]), "notify-starttls")
            tell(Message("Größe", "line 1\nline … 2"), ["smtp-mail/notify-mail"])
            tell(Message("secret", "body"), ["smtp-mail/notify-starttls"])
        (mail,) = post.mails  # what was to be protected was not sent without
        assert "STARTTLS extension not supported" in caplog.text
        assert (mail["Subject"], mail["From"], mail["To"]) == (
            *("Größe", "l@shop.example"),
            "a@shop.example, b@shop.example",
        )
        assert mail.get_content().splitlines() == ["line 1", "line … 2"]

    def test_from_a_flow_with_a_link_to_its_run(self, inbox: Receiver) -> None:
        self.save(Webhook(url=inbox.url), "notify-link")

        @flow
        def telling() -> str | None:
            notify(run_report(state="failed", message="x"), None, ["webhook/notify-link"])
            return link()

        address = telling()
        assert address is not None
        assert "/runs/flow-run/" in address
        assert json.loads(inbox.requests[0].body)["text"].endswith(f"The run: {address}")

    def test_from_a_hook_while_an_event_loop_runs(self, inbox: Receiver) -> None:
        self.save(Webhook(url=inbox.url), "notify-loop")

        async def hook() -> None:
            tell(Message("subject", "body"), ["webhook/notify-loop"])

        asyncio.run(hook())
        assert json.loads(inbox.requests[0].body)["subject"] == "subject"

    def test_what_does_not_deliver_is_logged_and_the_others_are_told(
        self, inbox: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.save(Secret(value="x"), "notify-broken")
        self.save(Webhook(url="http://127.0.0.1:9/"), "notify-broken")
        self.save(Webhook(url=inbox.url), "notify-good")
        names = [
            "webhook/nobody-made-this",
            "no-such-type/x",
            "nonsense",
            "secret/notify-broken",
            "webhook/notify-broken",
        ]
        tell(Message("the subject", "body"), [*names, "webhook/notify-good"])
        assert len(inbox.requests) == 1
        errors = [record.getMessage() for record in caplog.records if "did not deliver" in record.getMessage()]
        assert [error.split()[1] for error in errors] == names
        assert "this block cannot notify" in errors[3]

    def test_a_receiver_that_refuses_is_an_error(self, inbox: Receiver, caplog: pytest.LogCaptureFixture) -> None:
        inbox.status = 503
        self.save(Webhook(url=inbox.url), "notify-refusing")
        tell(Message("the subject", "body"), ["webhook/notify-refusing"])
        assert "503" in caplog.text
