"""The folder that a command leaves its files in."""

from __future__ import annotations

import tempfile
from pathlib import Path

from planner.settings import ConfigurationError


def prepare(folder: Path) -> None:
    """Make a folder and look whether files can be written to it, before the work whose outcome they hold.

    Raises:
        ConfigurationError: It cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> ConfigurationError:
    """What to say when a file could not be written."""
    what = error.filename if error.filename and Path(error.filename).parent == folder else folder
    return ConfigurationError(f"--output {folder}: {what} cannot be written: {error.strerror or error}")
