"""The sources in C, as compilers see them."""

from pathlib import Path

import pytest

from tests.support.compiled import HOOK, LAUNCHER, compiled


@pytest.mark.parametrize("source", [LAUNCHER, HOOK])
@pytest.mark.parametrize("option", ["-O0", "-O2", "-O3", "-Os", "-fanalyzer", "-Wconversion"])
def test_no_compiler_warns_of_anything(tmp_path: Path, option: str, source: Path) -> None:
    if not compiled(source, tmp_path / "launcher", option):
        # Errors are this test's failures; an option that the compiler lacks is none of them.
        (tmp_path / "empty.c").write_text("int main(void) { return 0; }\n")
        assert not compiled(tmp_path / "empty.c", tmp_path / "empty", option)
        pytest.skip(f"no compiler here has {option}")
