"""The fixture that tests of the stack begin with."""

import pytest

from tests.stack.story import Story


@pytest.fixture
def host() -> type[Story]:
    """`host("10.0.0.10/24", ...)` is a stack with these addresses; see `story`."""
    return Story
