"""The Dockerfile of the page `containers`, built and run as far as that goes without Docker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shim.cli.pages import FOLDER
from tests.support import real_claude

if TYPE_CHECKING:
    from tests.support.messages_api import MessagesApi
    from tests.support.nats import NatsServer

_OPT = "/opt/claude-shim"
# What takes a network: the packages of Debian, of npm and of PyPI.
_BY_NETWORK = ("apt-get ", "npm ", f"{_OPT}/bin/pip ")
_COPY = re.compile(r"COPY --chmod=755 <<'EOF' (\S+)\n(.*?)EOF\n", re.DOTALL)
_CONSOLE_SCRIPT = "#!{}\nfrom shim.commands.__main__ import main\nmain()\n"


class Image:
    """What the Dockerfile makes, under a directory instead of /opt."""

    def __init__(self, root: Path) -> None:
        self._opt = root / "opt"
        page = (FOLDER / "containers.md").read_text("utf-8")
        self._file = page.partition("```dockerfile\n")[2].partition("```\n")[0]
        self._build()

    @property
    def entry_point(self) -> str:
        (program,) = json.loads(self._said("ENTRYPOINT"))
        return self._here(program)

    @property
    def path(self) -> list[Path]:
        """What PATH begins with."""
        own, _, rest = self._said("ENV PATH=").rpartition(":")
        assert rest == "$PATH"
        return [Path(self._here(place)) for place in own.split(":")]

    def _build(self) -> None:
        for path, content in _COPY.findall(self._file):
            program = Path(self._here(path))
            program.parent.mkdir(exist_ok=True)
            program.write_text(content)
            program.chmod(0o755)
        for line in re.findall(r"^RUN (.*)$", self._file, re.MULTILINE):
            if line.startswith(f"{_OPT}/bin/pip "):
                self._install_package()
            elif line.startswith("python3 -m venv "):
                venv.create(self._here(line.split()[-1]), symlinks=True)
            elif not line.startswith(_BY_NETWORK):
                subprocess.run(["sh", "-c", self._here(line)], check=True, capture_output=True)

    def _install_package(self) -> None:
        (packages,) = self._opt.glob("lib/python*/site-packages")
        (packages / "all.pth").write_text(f"{sysconfig.get_path('purelib')}\n{real_claude.ROOT}\n")
        script = self._opt / "bin" / "claude-shim"
        script.write_text(_CONSOLE_SCRIPT.format(self._opt / "bin" / "python"))
        script.chmod(0o755)

    def _said(self, instruction: str) -> str:
        (line,) = re.findall(rf"^{instruction} ?(.*)$", self._file, re.MULTILINE)
        return str(line)

    def _here(self, text: str) -> str:
        return text.replace(_OPT, str(self._opt))


class Containers:
    """Containers of an image, each with a home that goes with it."""

    def __init__(self, root: Path, image: Image, api_url: str, fleet: str) -> None:
        self._root = root
        self._image = image
        self._api_url = api_url
        self._more = {"NSED_FLEET_URL": fleet, "NSED_ROOM_ID": "job-4711", "NSED_ON_BUSY": "fail"}

    def run(self, *args: str) -> str:
        """What a container prints, whose home is new and gone afterwards."""
        home, work = self._root / "home", self._root / "home" / "work"
        real_claude.settle_in(home, work)
        work.mkdir()
        environ = real_claude.environment(home, self._api_url, *self._image.path) | self._more
        program = [self._image.entry_point, *args]
        done = subprocess.run(program, cwd=work, env=environ, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), done
        shutil.rmtree(home)
        return done.stdout


@pytest.fixture
def containers(tmp_path: Path, api: MessagesApi, nats_server: NatsServer) -> Containers:
    return Containers(tmp_path, Image(tmp_path), api.url, nats_server.url)


def test_a_container_resumes_where_one_was_that_is_gone(containers: Containers) -> None:
    assert containers.run("-p", "one") == "heard: one\n"
    assert containers.run("-p", "two") == "heard: two | before: one\n"
    assert containers.run("-p", "three") == "heard: three | before: one ; two\n"
