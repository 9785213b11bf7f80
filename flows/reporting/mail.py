"""Mail through any SMTP server, as a Prefect block.

`prefect block register -m lookalike.flows.reporting.mail` makes it known to the UI.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Literal

from prefect.blocks.abstract import NotificationBlock
from pydantic import Field, SecretStr

TIMEOUT_SECONDS = 20.0


class SmtpMail(NotificationBlock):
    """Sends mail through an SMTP server."""

    _block_type_name = "SMTP Mail"
    _block_type_slug = "smtp-mail"

    host: str = Field(description="The SMTP server")
    port: int = Field(587, ge=1, le=65535, description="Its port: usually 587 for starttls, 465 for tls, 25 for none")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection is protected; with none, the password goes in the clear"
    )
    username: str | None = Field(None, description="Who sends; default: nobody logs in")
    password: SecretStr | None = Field(None, description="And the password")
    sender: str = Field(description="From whom, such as lookalike@shop.example")
    recipients: list[str] = Field(min_length=1, description="To whom")

    def notify(self, body: str, subject: str | None = None) -> None:  # type: ignore[override] # as Prefect's own do
        """Send a mail. Raises `OSError`; `smtplib`'s errors are such."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, ", ".join(self.recipients), subject or "Lookalike"
        mail.set_content(body)
        with self._connection() as connection:
            if self.username:
                connection.login(self.username, self.password.get_secret_value() if self.password else "")
            connection.send_message(mail)

    @contextmanager
    def _connection(self) -> Iterator[smtplib.SMTP]:
        where = (self.host, self.port)
        if self.security == "tls":
            with smtplib.SMTP_SSL(*where, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()) as connection:
                yield connection
            return
        with smtplib.SMTP(*where, timeout=TIMEOUT_SECONDS) as connection:
            if self.security == "starttls":
                connection.starttls(context=ssl.create_default_context())  # raises where the server has no such thing
            yield connection
