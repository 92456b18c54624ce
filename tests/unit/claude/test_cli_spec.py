"""Looking words up among claude's options and subcommands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.claude.cli_spec import FLAG, OPTIONAL, VALUE, VARIADIC, CliSpec, built_in

BUILT_IN = built_in()

SMALL = CliSpec("""
--agent --agent <value>
--agents --agents <value>
--resume --resume [value]
-r --resume [value]
--tools --tools <values...>
-p --print -
-V first
sync first
mcp subcommand
plugin subcommand
""")
ODD_WORDS = [
    "",
    " ",
    "\n",
    "-",
    "--",
    "---",
    "=",
    "--=",
    "<value>",
    "[value]",
    "subcommand",
    "first",
    "mcp ",
    " mcp",
    "\nmcp",
    "mcp\n",
    "mcp subcommand",
    "mcp subcommand\n",
    "sync\nfirst",
    "mc",
    "m",
    "cp",
    "mcpx",
    "plug",
    "MCP",
    "é",
    "\udcff",
    "--age",
    "--agent ",
    "--agent --agent",
    "--agent --agent <value>\n--agents",
    "--agent\n",
    "-agent",
    "agent",
    "--resume=x",
    "--resume [value]",
    "-r ",
    "-rx",
    "r",
    "p",
    "-P",
]


@pytest.mark.parametrize(
    ("spelling", "option"),
    [
        ("--agent", ("--agent", VALUE)),
        ("--agents", ("--agents", VALUE)),
        ("--resume", ("--resume", OPTIONAL)),
        ("-r", ("--resume", OPTIONAL)),
        ("--tools", ("--tools", VARIADIC)),
        ("-p", ("--print", FLAG)),
        ("-V", None),
        ("mcp", None),
        ("sync", None),
        *((word, None) for word in ODD_WORDS),
    ],
)
def test_an_option_has_one_name_and_what_it_takes(
    spelling: str, option: tuple[str, str] | None
) -> None:
    assert SMALL.option(spelling) == option


@pytest.mark.parametrize("word", ["mcp", "plugin"])
def test_a_subcommand_is_known_by_its_whole_name(word: str) -> None:
    assert SMALL.is_subcommand(word)
    assert not SMALL.is_first_word(word)


@pytest.mark.parametrize("word", ["-V", "sync"])
def test_a_first_word_is_known_by_its_whole_name(word: str) -> None:
    assert SMALL.is_first_word(word)
    assert not SMALL.is_subcommand(word)


@pytest.mark.parametrize("word", [*ODD_WORDS, "--agent", "-r", "-p"])
def test_anything_else_is_neither(word: str) -> None:
    assert not SMALL.is_subcommand(word)
    assert not SMALL.is_first_word(word)


@given(st.text("-mcpagentresu syn\n<>[]V", max_size=12))
def test_only_whole_words_are_found(word: str) -> None:
    lines = [line.split(" ") for line in SMALL.text.splitlines() if line]
    entries = {spelling: rest for spelling, *rest in lines}
    entry = entries.get(word, [])
    assert SMALL.option(word) == (tuple(entry) if len(entry) == 2 else None)
    assert SMALL.is_subcommand(word) == (entry == ["subcommand"])
    assert SMALL.is_first_word(word) == (entry == ["first"])


class TestTheBuiltInTable:
    def lines(self) -> list[list[str]]:
        return [line.split(" ") for line in BUILT_IN.text.strip("\n").split("\n")]

    def test_it_begins_and_ends_where_a_search_expects(self) -> None:
        assert BUILT_IN.text.startswith("\n")
        assert BUILT_IN.text.endswith("\n")
        assert "\n\n" not in BUILT_IN.text

    def test_it_has_one_line_for_each_option(self) -> None:
        options = [spelling for spelling, *rest in self.lines() if len(rest) == 2]
        assert len(set(options)) == len(options)

    def test_each_option_names_what_it_takes(self) -> None:
        options = [line for line in self.lines() if len(line) == 3]
        assert options
        for spelling, name, takes in options:
            assert spelling.startswith("-")
            assert name.startswith("--")
            assert takes in (FLAG, VALUE, OPTIONAL, VARIADIC)

    def test_all_spellings_of_an_option_take_the_same(self) -> None:
        for line in self.lines():
            if len(line) == 3:
                spelling, name, takes = line
                assert BUILT_IN.option(name) == (name, takes), spelling
