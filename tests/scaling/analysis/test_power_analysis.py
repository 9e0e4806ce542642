"""Power of a comparison: simulated comparisons, required runs, and the noise of a study."""

from math import inf, sqrt

import numpy as np
import pytest
from scipy import stats

from scaling.analysis.power_analysis import MAX_TARGETS, Noise, power_of, required_runs
from scaling.config.load import ConfigError
from scaling.evaluation.clustered_errors import clustered_mean
from tests.helpers.records import run, study

REPEATS = 4_000


def simulated_power(difference, noise, seeds, recordings, per_recording):
    """Return the share of simulated comparisons in which the test detects the difference."""
    generator = np.random.default_rng(0)
    found = 0
    counts = np.full(recordings, per_recording)
    for _ in range(REPEATS):
        runs = noise.seeds * generator.normal(size=(2, seeds)).mean(axis=1)
        shared = sqrt(noise.correlation) * generator.normal(size=(recordings, 1))
        own = sqrt(1 - noise.correlation) * generator.normal(size=(recordings, per_recording))
        effects = noise.targets * (shared + own)
        mean, error = clustered_mean(effects.sum(axis=1), counts)
        freedom = noise.freedom + 2 * (seeds - 1)
        scale = 1.0 if freedom == inf else generator.chisquare(freedom) / freedom
        of_seeds, of_targets = 2 * noise.seeds**2 * scale / seeds, error**2
        rest = of_targets**2 / (recordings - 1)
        rest += 0.0 if freedom == inf else of_seeds**2 / freedom
        critical = stats.t.ppf(0.975, (of_seeds + of_targets) ** 2 / rest)
        statistic = (difference + runs[0] - runs[1] + mean) / sqrt(of_seeds + of_targets)
        found += abs(statistic) > critical
    return found / REPEATS


@pytest.mark.parametrize(
    ("noise", "seeds", "recordings", "per_recording"),
    [
        (Noise(0.004, 0.2, 0.0), 1, 50, 20),
        (Noise(0.004, 0.2, 0.05, 3), 3, 30, 40),
        (Noise(0.002, 0.3, 0.2, 8), 2, 60, 10),
    ],
)
def test_the_power_is_that_of_simulated_comparisons(noise, seeds, recordings, per_recording):
    for difference in (0.0, 0.012, 0.02):
        by_formula = power_of(difference, noise, seeds, recordings, per_recording)
        simulated = simulated_power(difference, noise, seeds, recordings, per_recording)
        assert by_formula == pytest.approx(simulated, abs=0.025)


def test_without_noise_of_targets_and_known_noise_of_seeds_it_is_the_textbooks_number():
    # 2 (1.960 + 0.842)^2 (s / difference)^2 seeds each.
    noise = Noise(1.0, 0.0)
    assert power_of(sqrt(15.698 / 10), noise, 10, 2, 1) == pytest.approx(0.8, abs=1e-3)


def test_the_required_targets_suffice_and_one_fewer_does_not():
    noise = Noise(0.002, 0.5, 0.001)
    for need in required_runs(0.015, noise, recordings=40):
        each = need.targets / 40
        assert power_of(0.015, noise, need.seeds, 40, each) >= 0.8
        assert power_of(0.015, noise, need.seeds, 40, (need.targets - 1) / 40) < 0.8
    for need in required_runs(0.015, noise, per_recording=16):
        assert need.targets == 16 * need.recordings
        assert power_of(0.015, noise, need.seeds, need.recordings, 16) >= 0.8
        assert power_of(0.015, noise, need.seeds, need.recordings - 1, 16) < 0.8


def test_more_seeds_need_fewer_targets_and_too_few_need_more_than_there_are():
    found = required_runs(0.015, Noise(0.008, 0.5), per_recording=10)
    assert found[0].targets is found[0].recordings is None
    known = [need.targets for need in found if need.targets]
    assert known == sorted(known, reverse=True) and len(known) > 1
    assert [n.detectable for n in found] == sorted((n.detectable for n in found), reverse=True)
    few = found[0]
    chance = power_of(few.detectable, Noise(0.008, 0.5), 1, MAX_TARGETS // 10, 10)
    assert chance == pytest.approx(0.8, abs=0.01)


def test_recordings_that_are_alike_set_a_floor_that_no_number_of_targets_passes():
    noise = Noise(0.0, 0.5, 0.5)
    assert required_runs(0.05, noise, recordings=20)[0].targets is None
    assert required_runs(0.05, noise, recordings=2_000)[0].targets


def test_the_noise_of_a_study_is_read_from_its_records():
    records = study(noise=0.006)
    noise, per_cluster = Noise.of(records)
    assert 0.001 < noise.seeds < 0.02
    assert noise.freedom == 2
    assert noise.targets == pytest.approx(0.002 * sqrt(2_048))
    assert per_cluster == round(2_048 / 12)


def test_a_study_without_seeds_or_contexts_is_refused_with_the_remedy():
    alone = run({"seed": 0}, 3.0)
    alone = alone.model_copy(
        update={"validation": alone.validation.model_copy(update={"by_context": []})}
    )
    with pytest.raises(ConfigError, match="add --seed-noise") as caught:
        Noise.of([alone])
    assert len(caught.value.problems) == 2
