"""The parser of NATS's protocol, with a bound on what a server may have this host buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.client import Client

LARGEST_MESSAGE = 16 << 20
"""Bytes. What we store is smaller by far; a server's answer about a stream is, too."""


class BoundedParser(Parser):
    """Refuses a message, or a line, that is larger than LARGEST_MESSAGE.

    `complain` is called with the reason before the connection ends.
    """

    def __init__(self, client: Client, complain: Callable[[str], None]) -> None:
        super().__init__(client)
        self._complain = complain

    async def parse(self, data: bytes = b"") -> None:
        """Parse what was received. Raises ProtocolError."""
        await super().parse(data)
        if max(self.needed, len(self.buf)) > LARGEST_MESSAGE:
            self.reset()
            self._complain(f"it announces a message of more than {LARGEST_MESSAGE >> 20} MB")
            raise ProtocolError
