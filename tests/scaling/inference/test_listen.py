"""Clips of a study: the best runs continue a prompt, and the page plays them offline."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from datasets import quantise, shards
from scaling.analysis.records import load_records
from scaling.inference.continuation import PromptError
from scaling.inference.listen import ListeningRequest, listen
from scaling.reporting.clips import first_prompt_clips, read_clips, write_page
from scaling.reporting.report import write_report
from tests.helpers.browser import opened
from tests.helpers.trained import trained

SECONDS = 0.02


@pytest.fixture(scope="module")
def folder(embedded_corpus, tmp_path_factory):
    """Return a study of two runs with random weights, of one and two layers."""
    folder = tmp_path_factory.mktemp("heard")
    for layers in (1, 2):
        run = trained(embedded_corpus, folder / str(layers), model__layers=layers)
        (folder / str(layers)).rename(folder / run.record.id)
    return folder


def heard(*folders, **how):
    how = {"seconds": SECONDS, "seed": 3, "most": 4, **how}
    return listen(folders, ListeningRequest(**how), lambda done, total: None)


def test_all_runs_continue_the_same_prompt_beside_its_true_continuation(folder, embedded_corpus):
    index, skipped = heard(folder)
    entries = json.loads(index.read_text())
    assert [entry["kind"] for entry in entries] == [
        "prompt",
        "anchor",
        "continuation",
        "continuation",
    ]
    assert skipped == []
    steps = round(SECONDS * embedded_corpus.rate)
    recording = embedded_corpus.longest_recording("test")
    end = recording.ranges["test"][1]
    codes = shards.read(embedded_corpus.folder, recording.location, end - steps, steps)
    truth = quantise.decode(codes, embedded_corpus.codec, embedded_corpus.levels)
    sound, rate = soundfile.read(index.parent / entries[1]["file"])
    assert rate == embedded_corpus.rate
    assert np.abs(sound - truth).max() < 2**-15
    assert all(entry["nats"] > 0 for entry in entries[2:])
    assert len(soundfile.read(index.parent / entries[2]["file"])[0]) == steps


def test_a_seed_fixes_every_byte_and_the_best_come_first(folder):
    index, _ = heard(folder)
    entries = json.loads(index.read_text())
    first = (index.parent / entries[2]["file"]).read_bytes()
    heard(folder)
    assert (index.parent / entries[2]["file"]).read_bytes() == first
    index, _ = heard(folder, most=1)
    assert len(json.loads(index.read_text())) == 3


def test_progress_counts_the_samples_of_all_continuations_together(folder, embedded_corpus):
    calls = []
    how = ListeningRequest(SECONDS, temperatures=(0.5, 1.0), prompts=2, most=2)
    listen([folder], how, lambda done, total: calls.append((done, total)))
    samples = 2 * 2 * 2 * round(SECONDS * embedded_corpus.rate)
    assert {total for _, total in calls} == {samples}
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[0][0] == 0 and calls[-1][0] == samples


def test_the_report_plays_them_from_its_own_file(folder, tmp_path):
    heard(folder)
    records, _ = load_records(folder)
    page = write_report(records, folder, study="heard").html
    clips = read_clips(folder)
    text = page.read_text()
    assert len(clips) == 4 and all(clip.sound in text for clip in clips)
    assert text.count("<audio controls") == 4
    result = opened(page, tmp_path)
    assert "CONSOLE" not in result.stderr


def test_runs_continue_several_prompts_at_several_temperatures(folder, embedded_corpus):
    records, _ = load_records(folder)
    runs = [folder / record.id for record in records]
    index, _ = heard(*runs, prompts=3, temperatures=(0.5, 1.0))
    assert index.parent.parent == folder
    entries = json.loads(index.read_text())
    assert len(entries) == 3 * (2 + 2 * 2)
    steps = round(SECONDS * embedded_corpus.rate)
    recording = embedded_corpus.longest_recording("test")
    begin, end = recording.ranges["test"]
    codes = shards.read(embedded_corpus.folder, recording.location, 0, end)
    for number, last in enumerate((begin + steps, (begin + steps + end) // 2, end)):
        (truth,) = [
            entry for entry in entries if (entry["kind"], entry["prompt"]) == ("anchor", number)
        ]
        sound, _ = soundfile.read(index.parent / truth["file"])
        expected = quantise.decode(codes[last - steps : last], "mulaw")
        assert np.abs(sound - expected).max() < 2**-15
    files = {entry["file"] for entry in entries}
    assert len(files) == len(entries)
    assert f"2-{records[0].id}-0.5.flac" in files
    for entry in entries:
        if entry["kind"] == "continuation":
            assert np.mean(entry["nats_by_second"]) == pytest.approx(entry["nats"])
    clips = read_clips(folder)
    assert {clip.prompt for clip in first_prompt_clips(clips)} == {0}
    assert {clip.temperature for clip in first_prompt_clips(clips)} == {None, 0.5}


def test_the_page_has_every_clip_and_a_blind_comparison_of_every_pair(folder, tmp_path):
    heard(folder, prompts=2, temperatures=(0.5, 1.0))
    page = write_page(folder)
    text = page.read_text()
    assert all(clip.sound in text and clip.picture in text for clip in read_clips(folder))
    assert text.count("<details><summary>Show and play it") == 2
    result = opened(page, tmp_path)
    assert "CONSOLE" not in result.stderr
    # Five continuations of each prompt: the true one, and two by each of two runs.
    assert f'data-pairs="{2 * 10}"' in result.stdout


def test_a_study_without_weights_is_refused_with_the_reason(folder, tmp_path):
    copy = tmp_path / "gone"
    shutil.copytree(folder, copy)
    for path in copy.glob("*/weights.safetensors"):
        path.unlink()
    with pytest.raises(PromptError, match="no run can continue the prompt"):
        heard(copy)
    with pytest.raises(PromptError, match="seconds is 0"):
        heard(folder, seconds=0)
    with pytest.raises(PromptError, match=r"temperature is -1\.0"):
        heard(folder, temperatures=(-1.0,))


def test_without_clips_a_report_has_no_players(tmp_path):
    assert read_clips(tmp_path) == []
