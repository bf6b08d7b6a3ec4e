"""What several test files share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# An example may wait for a loaded machine, or for a loop that is compiled at its first use.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# Test processes share the cores: their threads of torch would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def shared_data() -> Path:
    """Real images, clips and weights, where they lie beside the checkout."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real material at ../shared/data")
    return folder
