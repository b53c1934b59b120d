"""What the tests of training share."""

from pathlib import Path

import pytest

from rendered_folders import write_recipe, write_scenes


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A pre-training of seconds over five rendered scenes."""
    write_scenes(tmp_path, 5)
    return write_recipe(tmp_path)
