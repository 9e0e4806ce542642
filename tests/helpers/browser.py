"""Pages in a headless browser."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def opened(page: Path, profile: Path) -> subprocess.CompletedProcess[str]:
    """Return the page's document (stdout) and the browser's console (stderr)."""
    return subprocess.run(
        [
            chromium(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )


def chromium() -> str:
    """Return the browser; without one skip the test, except in CI."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return str(Path(path))
    if os.environ.get("CI"):
        pytest.fail("Chromium is missing: the report has to be opened in CI.")
    pytest.skip("Chromium is not installed, so the report cannot be opened.")
