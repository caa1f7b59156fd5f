"""How much the random tests do: all of it with --soak, else a share with another seed each time."""

import os
import random

import pytest

from .oracle import Some


@pytest.fixture
def volume(request: pytest.FixtureRequest) -> int:
    """Random packets for one comparison."""
    return 1_000 if request.config.getoption("--soak") else 100


@pytest.fixture
def rng() -> random.Random:
    """Its seed is in the output of a failed test; PYTOOLS_SEED brings it back."""
    seed = int(os.environ.get("PYTOOLS_SEED", random.randrange(1 << 32)))
    print(f"PYTOOLS_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def some(rng: random.Random) -> Some:
    return Some(rng)
