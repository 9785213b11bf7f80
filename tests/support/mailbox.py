"""A real SMTP server that keeps what it is sent, and knows the few verbs that sending takes."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from lookalike.infra.demo.processes import HOST


@dataclass
class Mailbox:
    """Where it listens, and the mails that came."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Run the server; yield what it receives."""
    found = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.reply("220 ready")
            while verb := self.rfile.readline()[:4].strip().upper():
                if verb == b"DATA":
                    self.reply("354 go on")
                    found.mails.append(message_from_bytes(self.data(), policy=policy.default))
                self.reply("221 bye" if verb == b"QUIT" else "250 fine")
                if verb == b"QUIT":
                    return

        def data(self) -> bytes:
            return b"".join(iter(self.rfile.readline, b".\r\n"))

        def reply(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    with socketserver.ThreadingTCPServer((HOST, 0), Handler) as server:
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()
