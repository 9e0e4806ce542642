"""A run of minutes with killed workers: no step is lost or repeated, and no resource grows."""

import json

import numpy as np
import pytest
from pydantic import TypeAdapter

from scaling.fault_injection.rehearsal import Rehearsal
from scaling.fault_injection.soak import GROWTH, Observations, ResourceLevel, Soak
from tests.helpers.clone import CLONE
from tests.helpers.command import rehearse
from tests.helpers.documents import markdown


def test_growth_is_distinguished_from_variation():
    noise = np.random.default_rng(0).normal(0, 5, (400, len(GROWTH)))
    level = Observations((500 + noise).tolist())
    assert not any(one.grows for one in level.levels())
    leak = np.linspace(0, 400, 400)[:, None]
    names = [one.name for one in Observations((500 + noise + leak).tolist()).levels() if one.grows]
    assert names == list(GROWTH)
    # Memory that is allocated once, at the start, is no leak.
    warm = 200 * (np.arange(400) > 40)[:, None]
    assert not any(one.grows for one in Observations((500 + noise + warm).tolist()).levels())


def test_a_level_is_the_median_of_its_quarter():
    rows = [[value] * len(GROWTH) for value in (9.0, 1.0, 2.0, 3.0, 7.0, 7.0, 4.0, 6.0)]
    first = Observations(rows).levels()[0]
    assert first == ResourceLevel("driver memory (MB)", 2.5, 5.0, 9.0)
    assert Observations().levels() == []


def test_the_document_has_the_table_of_the_hour():
    record = json.loads((CLONE / "configs/measurements/soak-cpu.json").read_text())
    del record["hardware"], record["versions"]
    levels = TypeAdapter(list[ResourceLevel]).validate_python(record.pop("levels"))
    seconds, killed = record.pop("seconds"), record.pop("killed")
    hour = Soak(seconds, killed, TypeAdapter(Rehearsal).validate_python(record), levels)
    assert seconds >= 3_600 and killed == 60 and hour.problems == []
    document = (CLONE / "docs/reliability.md").read_text()
    assert markdown(hour.table()) in document
    assert f"{seconds / 60:.0f} minutes, {killed} workers killed" in document


@pytest.mark.fault(
    "Processes",
    "random workers are killed, about one a minute",
    "each step once; memory and open files of all processes stay level",
)
@pytest.mark.slow
def test_in_four_minutes_of_killed_workers_nothing_is_lost_and_nothing_grows(embedded_corpus):
    found = rehearse(embedded_corpus, "--minutes", "4")
    assert found["problems"] == []
    assert found["killed"] == 4
    assert found["steps"] == 240
    assert len(found["restarts"]) >= 4
    assert found["largest_difference"] == 0
    assert found["same_split_steps"] == 240
    assert [one["name"] for one in found["levels"]] == list(GROWTH)
