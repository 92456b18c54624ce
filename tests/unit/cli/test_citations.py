"""What comments cite of the manual is there, and so is the code that the manual names."""

import re
from pathlib import Path

import pytest

from shim.checks import examination
from shim.cli import pages

ROOT = Path(__file__).parents[3]
CITATION = re.compile(r'\bhelp ([a-z-]+)`?,\W+"([^"]+)"')
# A row of a table, such as `locks/record_lock.py`, `try_acquire`.
NAMED = re.compile(r"`((?:\w+/)+\w+\.\w+)`((?:,| and) `(\w+)`)*")
SOURCES = [
    path
    for folder in ("shim", "tests", "scripts")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".c", ".js", ".md", ".txt"}
    and path.is_file()
    and path != Path(__file__)
]


def citations() -> set[tuple[str, str]]:
    """The topic and section of each, which may run over two lines of a comment."""
    return {
        (topic, section)
        for path in SOURCES
        for topic, section in CITATION.findall(
            re.sub(r"\s*\n\s*(?:#|\*)?\s*", " ", path.read_text("utf-8"))
        )
    }


def named() -> list[tuple[str, list[str]]]:
    """Each file that the pages about the code and its tests name, with the functions of it."""
    topics = ("developing", "trust")
    text = "".join((pages.FOLDER / f"{topic}.md").read_text("utf-8") for topic in topics)
    return [
        (it[1], re.findall(r"`(\w+)`", it[0].partition("`,")[2])) for it in NAMED.finditer(text)
    ]


@pytest.mark.parametrize(("topic", "section"), sorted(citations()))
def test_a_cited_section_exists(topic: str, section: str) -> None:
    page = (pages.FOLDER / f"{topic}.md").read_text("utf-8")
    headings = [line.lstrip("# ") for line in page.splitlines() if line.startswith("#")]
    assert section in headings


@pytest.mark.parametrize(("path", "functions"), named())
def test_code_that_the_manual_names_exists(path: str, functions: list[str]) -> None:
    file = next(it for it in (ROOT / "shim" / path, ROOT / path) if it.exists())
    text = file.read_text("utf-8")
    assert [it for it in functions if not re.search(rf"\b{it}\b", text)] == []


@pytest.mark.parametrize("check", examination.CHECKS)
def test_each_check_of_doctor_is_in_the_manual(check: str) -> None:
    rows = (pages.FOLDER / "troubleshooting.md").read_text("utf-8").splitlines()
    assert any(f"`{check}`" in row.split(" | ")[0] for row in rows if row.startswith("| "))


def test_nothing_is_cited_that_is_not_in_the_repository() -> None:
    elsewhere = re.compile(r"\b(FACTS|DESIGN|FLEET|STYLE)\.md\b")
    assert [path for path in SOURCES if elsewhere.search(path.read_text("utf-8"))] == []
