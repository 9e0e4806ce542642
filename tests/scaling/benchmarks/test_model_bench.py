import io
import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from rich.console import Console

from model.network import LatentTransformer
from model.targets import Targets
from scaling.benchmarks import model_bench
from tests.helpers.architectures import small
from tests.helpers.clone import CLONE

CEILINGS = {"float32": 1e11, "bfloat16": 2e11}


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    """Measure small models, which take a second, instead of the paper's."""

    def network(context, attention="bidirectional"):
        torch.manual_seed(0)
        return LatentTransformer(small(context=2_000, attention=attention, head_size=6))

    monkeypatch.setattr(model_bench, "_network", network)
    monkeypatch.setattr(model_bench, "CONTEXT", 2_000)
    monkeypatch.setattr(model_bench, "STEPS", 5)
    monkeypatch.setattr(model_bench, "REPEATS", 2)


def test_the_naive_way_gives_the_same_losses():
    fast = model_bench._network(2_000)
    naive = model_bench._naive(fast)
    assert not naive.transformer.latents_are_keys
    assert naive.encoder.stack.cached_runs is None
    window = torch.randint(0, 256, (1, 2_001), dtype=torch.uint8)
    targets = Targets("last", 500)
    torch.testing.assert_close(naive(window, targets)[0], fast(window, targets)[0])


@pytest.mark.parametrize(
    "case",
    [
        model_bench._training_case(2_000, "bidirectional", Targets("last", 500), 5),
        model_bench._training_case(4_000, "causal", Targets("chunks", 500), 4),
        model_bench._training_case(4_000, "causal", Targets("samples", 500, 20), 4),
        model_bench._evaluation_case,
        model_bench._generation_case("bidirectional", 2, compiled=False),
        model_bench._generation_case("causal", 1, compiled=False),
        model_bench._precision_case("causal", Targets("chunks", 500), 4),
    ],
)
def test_every_row_is_measured_and_shown(case):
    row = case(CEILINGS)
    assert row.timed.naive_seconds > 0
    assert row.timed.fast_seconds > 0
    assert row.timed.lowest <= row.timed.ratio <= row.timed.highest
    found = model_bench.Bench({"processor": "p", "gpus": "none"}, {}, "code", CEILINGS, [row])
    text = io.StringIO()
    Console(file=text, width=200).print(found.table())
    assert row.what in text.getvalue()
    assert json.loads(json.dumps(asdict(found)))["rows"][0]["timed"]["ratio"] == row.timed.ratio


def test_a_benchmark_needs_neither_ray_nor_deepspeed():
    program = (
        "import sys; import scaling.benchmarks.model_bench\n"
        "print([name for name in ('ray', 'deepspeed') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CLONE, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stderr
