"""Fixtures for tests of a module at a time."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.children import Child, Fork


@pytest.fixture
def fork() -> Iterator[Fork]:
    children = []

    def start(work: Callable[[], object]) -> Child:
        children.append(Child(work))
        return children[-1]

    yield start
    for child in children:
        child.kill()
