"""Which options and subcommands claude has, and the tables `listed.txt` and `hidden.txt`."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# What an option takes, as commander writes it in `--help`.
FLAG: "Final" = "-"
VALUE: "Final" = "<value>"
OPTIONAL: "Final" = "[value]"
VARIADIC: "Final" = "<values...>"


class CliSpec:
    """The options and subcommands of one claude.

    The text has a line for each spelling of an option (`SPELLING NAME TAKES`), for each subcommand
    (`NAME subcommand`), and for each word that is a command only as the very first argument
    (`WORD first`). It is searched, not parsed, because a command line has few words and claude
    some two hundred.
    """

    __slots__ = ("is_discovered", "text")

    def __init__(self, text: str, is_discovered: bool = False) -> None:
        self.text = text
        self.is_discovered = is_discovered

    def option(self, spelling: str) -> "tuple[str, str] | None":
        """An option's canonical name and what it takes, or None if claude has no such option."""
        if not spelling.startswith("-") or " " in spelling or "\n" in spelling:
            return None
        start = self.text.find(f"\n{spelling} -")
        if start < 0:
            return None
        start += len(spelling) + 2
        name, _, takes = self.text[start : self.text.index("\n", start)].partition(" ")
        return name, takes

    def surely_has(self, spelling: str) -> bool:
        """Whether this claude's own --help lists the option: another claude might refuse it."""
        return self.is_discovered and self.option(spelling) is not None

    def is_subcommand(self, word: str) -> bool:
        """Whether claude has a subcommand of that name."""
        return "\n" not in word and f"\n{word} subcommand\n" in self.text

    def is_first_word(self, word: str) -> bool:
        """Whether the word is a command when it is the very first argument."""
        return "\n" not in word and f"\n{word} first\n" in self.text


def built_in() -> CliSpec:
    """The spec of 2.1.330, for a claude whose own could not be discovered."""
    return CliSpec(_table("listed") + hidden()[1:])


def hidden() -> str:
    """The lines for what the --help of 2.1.197 to 2.1.330 hides, read in the program."""
    return _table("hidden")


def _table(name: str) -> str:
    with open(f"{__file__.rpartition('/')[0]}/{name}.txt", encoding="utf-8") as file:
        return "\n" + file.read()
