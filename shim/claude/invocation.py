"""The caller's command line for claude, parsed as claude's own parser (commander) does."""

import posix

from shim.base.session_key import is_session_id
from shim.claude import transcripts
from shim.claude.cli_spec import FLAG, OPTIONAL, VARIADIC, built_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from shim.claude.cli_spec import CliSpec

# Options by which the caller chooses the conversation, keeps none, or detaches.
_CHOOSES = (
    *("--continue", "--resume", "--from-pr", "--fork-session", "--resume-session-at"),
    *("--rewind-files", "--teleport", "--cloud", "--remote", "--environment", "--pool"),
    *("--attach-serve", "--sdk-url", "--desktop"),
)
_KEEPS_NOTHING = ("--no-session-persistence", "--init-only")
_DETACHES = ("--background", "--tmux", "--agents-view-if-allowed")
_STDOUT = 1
_ANSWERS_AND_EXITS = ("--help", "--version")


class Invocation:
    """The caller's arguments, parsed.

    `options` holds each option in order: canonical name, value or None, and the positions of its
    arguments (start, stop).
    """

    __slots__ = ("args", "operands", "options", "spec", "subcommand")

    def __init__(self, args: "Sequence[str]", spec: "CliSpec") -> None:
        self.args = args
        self.spec = spec
        self.options: list[tuple[str, str | None, int, int]] = []
        self.operands: list[str] = []
        self._read(spec)
        self.subcommand: str | None = None
        if args and spec.is_first_word(args[0]):
            self.subcommand = args[0]
        elif self.operands and not self._prints() and spec.is_subcommand(self.operands[0]):
            self.subcommand = self.operands[0]

    def _prints(self) -> bool:
        """Whether `-p` is an argument of its own: claude then has no subcommands."""
        return any(self.args[start] in ("-p", "--print") for _, _, start, _ in self.options)

    def has(self, name: str) -> bool:
        """Whether the option is given, by its canonical name."""
        return any(option[0] == name for option in self.options)

    def value(self, name: str) -> str | None:
        """The value of the option's last occurrence: with claude, the last one wins."""
        return next((value for found, value, *_ in reversed(self.options) if found == name), None)

    def with_flags(self, flags: list[str]) -> list[str]:
        """The caller's arguments after flags of ours, which replace a `--session-id`.

        They replace every occurrence in its position: a variadic option before it would otherwise
        swallow what follows it.
        """
        return self._replaced("--session-id", flags)

    def with_conversation(self, flags: list[str]) -> list[str]:
        """The caller's arguments with flags of ours in the place of a `--resume`."""
        return self._replaced("--resume", flags)

    def _replaced(self, name: str, flags: list[str]) -> list[str]:
        args = list(self.args)
        for found, _, start, stop in reversed(self.options):
            if found == name:
                args[start:stop] = [*_flags_before(args[start], "r"), *flags]
        return args if self.has(name) else flags + args

    @property
    def is_streaming(self) -> bool:
        """Whether the run reads turns from stdin until that ends."""
        return self.value("--input-format") == "stream-json"

    @property
    def is_interactive(self) -> bool:
        """Whether the run is a person's at a terminal."""
        return not self.is_streaming and posix.isatty(_STDOUT) and not self.has("--print")

    @property
    def is_long_running(self) -> bool:
        """Whether the run lasts longer than one answer: streaming, or interactive."""
        return self.is_streaming or self.is_interactive

    @property
    def explicit_session_id(self) -> str | None:
        """The session id of the conversation that `--resume` names, by its id or its file.

        None if the caller chose in another way, or asks for a fork. Claude accepts any file of that
        ending, and ids with white space around them (measured, 2.1.197 to 2.1.331).
        """
        others = (*_CHOOSES, *_KEEPS_NOTHING, *_DETACHES, *_ANSWERS_AND_EXITS, "--session-id")
        if any(self.has(name) for name in others if name != "--resume"):
            return None
        named = (self.value("--resume") or "").strip()
        if named.endswith(transcripts.ENDING):
            named = transcripts.session_id_of(named)
        return named if is_session_id(named) else None

    @property
    def left_alone(self) -> str | None:
        """Why the real claude should get this command line untouched, or None."""
        if self.subcommand is not None:
            return f"`{self.subcommand}` is a subcommand"
        for names, reason in (
            (_ANSWERS_AND_EXITS, "opens no conversation"),
            (_CHOOSES, "chooses the conversation"),
            (_KEEPS_NOTHING, "keeps no conversation"),
            (_DETACHES, "detaches"),
        ):
            for name in names:
                if self.has(name):
                    return f"{name} {reason}"
        return None

    def _read(self, spec: "CliSpec") -> None:
        # The steps of `parseOptions` in commander's lib/command.js, in their order.
        at, variadic = 0, None
        while at < len(self.args):
            arg = self.args[at]
            if _looks_like_option(arg):
                at, variadic = self._read_option(spec, at)
                continue
            if variadic is None:
                self.operands.append(arg)
            else:
                self.options.append((variadic, arg, at, at + 1))
            at += 1

    def _read_option(self, spec: "CliSpec", at: int) -> tuple[int, str | None]:
        """Read the option at a position; return where it ends and its name if it is variadic."""
        arg = self.args[at]
        while True:
            if arg == "--":  # also what is left of a cluster such as `-p-`
                self.operands += self.args[at + 1 :]
                return len(self.args), None
            option = spec.option(arg)
            if option is not None:
                name, takes = option
                stop = _stop_of_value(self.args, at, takes)
                value = self.args[at + 1] if stop == at + 2 else None
                self.options.append((name, value, at, stop))
                return stop, name if takes == VARIADIC else None
            if arg.startswith("--"):
                self._read_assignment(spec, arg, at)
                return at + 1, None
            # A cluster of short options: flags, of which the last may be one that takes a value.
            option = spec.option(arg[:2])
            if option is None:
                return at + 1, None
            name, takes = option
            if takes != FLAG:
                self.options.append((name, arg[2:], at, at + 1))
                return at + 1, None
            self.options.append((name, None, at, at + 1))
            arg = "-" + arg[2:]

    def _read_assignment(self, spec: "CliSpec", arg: str, at: int) -> None:
        spelling, equals, value = arg.partition("=")
        option = spec.option(spelling)
        name = option[0] if option is not None else spelling
        self.options.append((name, value if equals else None, at, at + 1))


def read(args: "Sequence[str]", spec: "CliSpec | None" = None) -> Invocation:
    """Parse a command line of claude, without the program name, by a spec or the built-in one."""
    return Invocation(args, spec or built_in())


def _flags_before(arg: str, letter: str) -> list[str]:
    """The flags that stand before an option in a cluster of short options, such as `-pr`."""
    before = arg.partition(letter)[0]
    return [] if arg.startswith("--") or len(before) < 2 else [before]


def _stop_of_value(args: "Sequence[str]", at: int, takes: str) -> int:
    """The position after an option, and after its value if that is the next argument."""
    has_next = at + 1 < len(args)
    if takes == FLAG or not has_next:
        return at + 1
    if takes == OPTIONAL and _looks_like_option(args[at + 1]):
        return at + 1
    return at + 2


def _looks_like_option(arg: str) -> bool:
    return len(arg) > 1 and arg[0] == "-"
