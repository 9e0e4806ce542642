"""Departures of the runs from the paper, as sentences of the report."""

from scaling.analysis.provenance import departures
from tests.helpers.records import CORPUS, run, study


def test_a_small_model_with_a_recent_path_and_a_cut_in_time_is_three_departures():
    slim, recent, cut = departures(study())
    assert "3,108,768" in slim
    assert "initialised as a linear predictor" in recent
    assert "reach back over the cut" in cut


def test_recordings_of_one_split_each_are_no_departure():
    whole = CORPUS.model_copy(update={"contexts_cross_splits": False})
    assert all("cut" not in text for text in departures([run({"seed": 0}, 3.3, corpus=whole)]))
