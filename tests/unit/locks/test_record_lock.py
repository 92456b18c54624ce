"""The lock: who has it, who waits for it, and what becomes of both."""

import errno
import fcntl
import os
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.base.session_key import SessionKey
from shim.call.call import Call
from shim.call.effects import Effects
from shim.claude import invocation, registry
from shim.locks import contention, record_lock
from shim.locks.record_lock import ACQUIRED, Holder, open_lock_file
from tests.support.children import Child, Fork
from tests.support.locks import Always, lock_of_key, wait_for_key
from tests.support.real_claude import wait_until

KEY = SessionKey(b"room", b"agent")
U = "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92"


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path)


def taken(
    directory: str, is_long_running: bool = False, key: SessionKey = KEY
) -> Callable[[], bool]:
    return lambda: lock_of_key(directory, key).try_acquire(is_long_running)


@pytest.mark.parametrize("is_long_running", [True, False])
def test_the_holder_is_known_with_whether_it_is_long_running(
    directory: str, fork: Fork, is_long_running: bool
) -> None:
    holder = fork(taken(directory, is_long_running))
    assert holder.said() == "True"
    mine = lock_of_key(directory, KEY)
    assert not mine.try_acquire(is_long_running=True)
    assert not mine.try_acquire(is_long_running=False)
    found = mine.holder()
    assert found is not None
    assert (found.pid, found.is_long_running) == (holder.pid, is_long_running)


def test_it_is_free_the_moment_its_holder_dies(directory: str, fork: Fork) -> None:
    holder = fork(taken(directory))
    holder.said()
    mine = lock_of_key(directory, KEY)
    holder.kill()
    assert mine.holder() is None
    assert mine.try_acquire(is_long_running=False)


@pytest.mark.parametrize("other", [(b"room", b"other"), (b"other", b"agent"), (b"", b"agent")])
def test_other_keys_have_locks_of_their_own(
    directory: str, fork: Fork, other: tuple[bytes, bytes]
) -> None:
    assert fork(taken(directory)).said() == "True"
    assert fork(taken(directory, key=SessionKey(*other))).said() == "True"


def test_it_passes_through_an_exec_on_a_descriptor_that_is_out_of_the_way(directory: str) -> None:
    before = set(os.listdir("/dev/fd"))
    number = open_lock_file(directory)
    assert set(os.listdir("/dev/fd")) - before == {str(number)}
    assert number >= 100
    assert os.get_inheritable(number)
    os.close(number)


def test_few_descriptors_are_enough(directory: str, fork: Fork) -> None:
    def work() -> bool:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        return lock_of_key(directory, KEY).try_acquire(is_long_running=False)

    assert fork(work).said() == "True"


def test_a_child_of_the_holder_does_not_have_it(directory: str, fork: Fork) -> None:
    def holder_that_leaves_a_child() -> int:
        assert lock_of_key(directory, KEY).try_acquire(is_long_running=False)
        child = os.fork()
        if not child:
            signal.pause()
        return child

    holder = fork(holder_that_leaves_a_child)
    orphan = int(holder.said())
    try:
        holder.kill()
        assert lock_of_key(directory, KEY).try_acquire(is_long_running=False)
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_nothing_is_written_and_nobody_else_can_read(directory: str, fork: Fork) -> None:
    fork(taken(directory)).said()
    status = os.stat(f"{directory}/leases")
    assert (status.st_size, stat.S_IMODE(status.st_mode)) == (0, 0o600)


def waiting(directory: str) -> Callable[[], bool]:
    return lambda: wait_for_key(directory, KEY)


def have_locks(children: list[Child]) -> bool:
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    holders = {int(row[4]) for row in rows if row[1] == "POSIX"}
    return holders.issuperset(child.pid for child in children)


def test_those_who_wait_are_served_in_their_order(directory: str, fork: Fork) -> None:
    holder = fork(taken(directory))
    holder.said()
    line: list[Child] = []
    for _ in range(4):
        line.append(fork(waiting(directory)))
        wait_until(lambda: have_locks(line), "another stands in line")
    line.pop(1).kill()  # one who dies leaves the line
    newcomer = lock_of_key(directory, KEY)

    holder.kill()
    for child in line:
        assert child.said() == "True"
        assert not newcomer.try_acquire(is_long_running=False)
        child.kill()

    assert newcomer.try_acquire(is_long_running=False)


def test_who_is_suspended_in_the_line_keeps_nobody_waiting(directory: str, fork: Fork) -> None:
    holder = fork(taken(directory))
    holder.said()
    suspended = fork(waiting(directory))
    wait_until(lambda: have_locks([suspended]), "one stands in line")
    next_one = fork(waiting(directory))
    wait_until(lambda: have_locks([next_one]), "another stands in line")
    os.kill(suspended.pid, signal.SIGSTOP)
    os.waitpid(suspended.pid, os.WUNTRACED)

    holder.kill()
    assert next_one.said() == "True"
    next_one.kill()
    mine = lock_of_key(directory, KEY)
    assert mine.try_acquire(is_long_running=False)
    os.kill(suspended.pid, signal.SIGCONT)
    mine.release()
    assert suspended.said() == "True"


def test_who_has_just_come_out_of_the_line_does_not_confuse_it(directory: str, fork: Fork) -> None:
    def out_of_the_line() -> bool:
        mine = lock_of_key(directory, KEY)
        # The bytes of the lock and of the first place are one lock to the kernel.
        mine.enter_queue()
        return mine.try_acquire(is_long_running=True)

    assert fork(out_of_the_line).said() == "True"
    mine = lock_of_key(directory, KEY)
    mine.enter_queue()
    assert mine._place == 3


class Thrice(Always):
    """It is worth waiting twice."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bool]] = []

    def allows(self, holder: Holder | None, waited: float) -> bool:
        assert holder is not None
        assert waited >= 0
        self.asked.append((holder.pid, holder.is_long_running))
        return len(self.asked) < 3


def test_a_wait_that_is_not_worth_it_any_more_ends(directory: str, fork: Fork) -> None:
    holder = fork(taken(directory, is_long_running=True))
    holder.said()
    policy = Thrice()
    assert not wait_for_key(directory, KEY, policy)
    assert policy.asked == [(holder.pid, True)] * 3
    holder.kill()
    assert lock_of_key(directory, KEY).try_acquire(is_long_running=False)


def test_those_far_behind_in_the_queue_look_seldom(directory: str, fork: Fork) -> None:
    queue: list[Child] = [fork(taken(directory))]
    queue[0].said()
    for _ in range(3):
        queue.append(fork(waiting(directory)))
        wait_until(lambda: have_locks(queue), "another stands in line")
    mine = contention.LocalLock(lock_of_key(directory, KEY), False, lambda: U)
    assert not mine.try_acquire()
    assert mine.pause == pytest.approx(8 * contention._PAUSE)  # twice as long for each ahead
    assert mine._lock.ahead(2) == 2
    mine.leave_queue()
    assert mine.pause <= contention._LONGEST_PAUSE


def test_the_macos_layout_of_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    # sys/fcntl.h: off_t l_start, off_t l_len, pid_t l_pid, short l_type, short l_whence.
    monkeypatch.setattr(record_lock, "_IS_MACOS", True)
    packed = record_lock._pack(0x1122, 2)
    assert packed == (
        b"\x22\x11" + bytes(6) + b"\x02" + bytes(7) + bytes(4) + b"%c\0" % fcntl.F_WRLCK + bytes(2)
    )
    answer = packed[:16] + (4242).to_bytes(4, "little") + b"\x03\0\0\0"
    assert record_lock._unpack(answer) == (3, 0x1122, 2, 4242)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_filesystem_without_locks_is_one_warning_and_no_lock(
    directory: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", fail)
    monkeypatch.setenv("NSED_SESSION_DIR", directory)
    effects, call = Effects("no plugin"), Call(KEY, invocation.read(["-p"]))
    effects.locks.acquire_key(call)
    assert call.outcome == ACQUIRED
    call.session_id = U
    effects.locks.acquire_conversation(call)
    assert call.outcome == ACQUIRED
    assert capsys.readouterr().err.count("\n") == 1
    effects.locks.release_all()


def policy_beside(contended: contention.Unmanaged) -> contention.WaitPolicy:
    return contention.WaitPolicy(Call(KEY, invocation.read(["-p"])), contended, None)


def test_a_worker_that_is_about_to_start_is_waited_for() -> None:
    worker = Holder(registry.ABOUT_TO_START, is_long_running=True)
    policy = policy_beside(contention.Unmanaged(U))
    assert all(policy.allows(worker, seconds) for seconds in (0.0, 2.0, 10.0))


def test_the_turn_of_one_in_another_container_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    transcript = tmp_path / "projects" / "-work" / f"{U}.jsonl"
    transcript.parent.mkdir(parents=True)
    prompt = '{"type":"user","uuid":"p","message":{"role":"user","content":"hi"}}\n'
    transcript.write_text(prompt)
    there = Holder(0, is_long_running=True)  # a pid that the system cannot say
    policy = policy_beside(contention.Unmanaged(U))
    assert all(policy.allows(there, seconds) for seconds in (0.0, 2.0, 100.0))
    answer = '{"type":"assistant","message":{"role":"assistant","stop_reason":"end_turn"}}\n'
    transcript.write_text(prompt + answer)
    assert policy.allows(there, 101.0)
    assert not policy.allows(there, 103.0)


@pytest.mark.parametrize(
    ("text", "seconds", "warns"),
    [
        ("", 600, False),
        ("0", 0, False),
        ("1.5", 1.5, False),
        ("soon", 600, True),
        ("-1", 600, True),
        ("nan", 600, True),
    ],
)
def test_the_time_to_wait(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    seconds: float,
    warns: bool,
) -> None:
    monkeypatch.setenv("NSED_BUSY_TIMEOUT", text)
    assert contention._timeout() == seconds
    assert capsys.readouterr().err.count("NSED_BUSY_TIMEOUT") == warns


@pytest.mark.parametrize(
    ("text", "policy", "warns"),
    [("", None, False), ("wait", "wait", False), ("fork", "fork", False), ("later", None, True)],
)
def test_the_policy(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    policy: str | None,
    warns: bool,
) -> None:
    monkeypatch.setenv("NSED_ON_BUSY", text)
    assert contention._on_busy() == policy
    assert capsys.readouterr().err.count("NSED_ON_BUSY") == warns
