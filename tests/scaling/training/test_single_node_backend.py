"""Workers of one machine meet by themselves: tests of whole runs show it, these what it saves."""

import subprocess
import sys

from tests.helpers.clone import CLONE


def test_what_the_controller_of_ray_train_loads_of_ours_is_without_torch():
    words = (
        "import sys; from scaling.training import data, preemption, single_node_backend; "
        "from scaling.runs import job; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", words], cwd=CLONE, capture_output=True, text=True)
    loaded = done.stdout.split()
    assert "scaling.training.single_node_backend" in loaded, done.stderr
    assert not {"torch", "deepspeed", "scipy.optimize"} & set(loaded)
