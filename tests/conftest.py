"""Settings that every test runs under."""

import os
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import settings
from mmengine.registry import DefaultScope

# Reproducible by default; HYPOTHESIS_PROFILE=thorough searches at length, with fresh examples.
settings.register_profile("default", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# The test processes already share the cores.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed() -> int:
    """Start every test from the same state of all generators, and give it the seed."""
    value = 0
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value


@pytest.fixture
def mmseg_scope() -> Iterator[None]:
    """Build from configs as MMSegmentation's tools do, in the scope ``mmseg``."""
    with DefaultScope.overwrite_default_scope("mmseg"):
        yield
