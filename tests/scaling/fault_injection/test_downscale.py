"""Every shipped run can be rehearsed: downscaled, it is still a run of its kind."""

from pathlib import Path

import pytest

from model.accounting import parameters
from scaling.config import check, load
from scaling.fault_injection.downscale import downscaled
from tests.helpers.clone import CLONE

RUNS = sorted((CLONE / "configs/runs").rglob("*.yaml"))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: str(path.relative_to(CLONE)))
@pytest.mark.parametrize("workers", [2, 3, 4])
def test_a_downscaled_run_is_valid_and_of_the_same_kind(embedded_corpus, path: Path, workers: int):
    run = load.run(path, [f"corpus={embedded_corpus.folder}", "model.levels=256"])
    small = downscaled(run, Path("/tmp/storage"), workers, 40, 5)
    assert check.problems(small, embedded_corpus) == []
    assert type(small.model) is type(run.model)
    assert small.windows.targets == run.windows.targets
    assert small.train.zero == run.train.zero
    assert sum(parameters(small.model).values()) < 150_000
    assert small.cluster.workers == workers
