"""Forked processes that do some work, such as taking a lease, and live on."""

import os
import signal
from collections.abc import Callable


class Child:
    """A process that does some work with the lease, says what it got, and lives until killed."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.write(writing, str(work()).encode())
            signal.pause()
        os.close(writing)

    def said(self) -> str:
        return os.read(self._reading, 100).decode()

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self._reading)
            self.pid = 0


Fork = Callable[[Callable[[], object]], Child]
