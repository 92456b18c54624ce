"""Forked processes that do some work, such as acquiring a lock, and then live until killed."""

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator


class Child:
    """A process that does some work, reports what that returned, and lives until killed."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.write(writing, str(work()).encode())
                signal.pause()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(writing)

    def said(self) -> str:
        """What its work returned, as text; empty where it failed. It waits for that."""
        return os.read(self._reading, 100).decode()

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self._reading)
            self.pid = 0


Fork = Callable[[Callable[[], object]], Child]


@contextlib.contextmanager
def child(work: Callable[[], object]) -> Iterator[int]:
    """A child that has done its work; its pid. It is killed at the end of the `with`.

    Raises AssertionError where the work failed.
    """
    process = Child(work)
    try:
        assert process.said(), "its work has failed"
        yield process.pid
    finally:
        process.kill()
