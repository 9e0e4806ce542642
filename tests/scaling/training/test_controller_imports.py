"""Imports of Ray Train's controller; tests of whole runs cover the process group itself."""

import subprocess
import sys

from tests.helpers.clone import CLONE


def test_the_modules_that_ray_trains_controller_imports_are_without_torch():
    words = (
        "import sys; from scaling.training import ray_internals; "
        "from scaling.runs import job; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", words], cwd=CLONE, capture_output=True, text=True)
    loaded = done.stdout.split()
    assert "scaling.training.ray_internals" in loaded, done.stderr
    assert not {"torch", "deepspeed", "scipy.optimize"} & set(loaded)
