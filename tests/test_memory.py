"""What a window of a million samples takes to train."""

import json
import subprocess
import sys

import pytest

from tests.conftest import CLONE

PROGRAM = """
import json, resource, torch
from model.architecture import Architecture
from model.network import LatentTransformer
from model.targets import Targets

architecture = Architecture(context=1_024_000, attention="causal")
network = LatentTransformer(architecture)
targets = Targets("samples", 2_000, 100)
window = torch.randint(0, 256, (1, targets.samples(512, architecture)), dtype=torch.uint8)
loss, nats = network(window, targets)
loss.backward()
gradients = all(weight.grad is not None for weight in network.encoder.parameters())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
found = {"loss": loss.item(), "targets": nats.numel(), "gradients": gradients, "peak": peak}
print(json.dumps(found))
"""


@pytest.mark.slow
def test_a_window_of_1024000_samples_trains_within_12_gib_at_the_papers_width():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=CLONE, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["targets"] == 512 * 100
    assert found["gradients"]
    assert 5 < found["loss"] < 7
    assert found["peak"] < 12 * 2**30
