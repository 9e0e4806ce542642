from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from datasets import quantise, shards
from datasets.convert import write_shard
from datasets.settings import Settings
from datasets.shards import ShardLocation
from datasets.storage import Folder
from model.inference import generation
from model.sampling import Sampling
from scaling.inference import continuation
from scaling.inference.continuation import (
    COMPILED_STEPS,
    GenerationRequest,
    PromptError,
    continue_prompt,
)
from tests.helpers.continuations import RATE, STEPS, endlessly, sound, trained
from tests.helpers.sounds import take

SECONDS = STEPS / RATE


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Use one thread: on a busy machine, threads of tiny products wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def run():
    return trained()


@pytest.fixture
def prompt(tmp_path):
    return sound(tmp_path / "prompt.wav", samples=3_000)


def continued(
    run, prompt, out, seconds=SECONDS, seed=7, batch=1, progress=lambda d, t: None, **how
):
    silence = how.pop("silence", None)
    request = GenerationRequest(seconds, Sampling(**how), seed, batch, silence)
    return continue_prompt(run, prompt, request, out, progress)[0]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_a_wav_has_the_codes_that_generate_yields_for_the_seed(tmp_path, prompt, attention):
    run = trained(attention)
    (only,) = continued(run, prompt, tmp_path / "out", temperature=0.9, top_k=200, top_p=0.95)
    codes_S = quantise.encode(soundfile.read(prompt, dtype="float32")[0], "mulaw")[-2_000:]
    sampling = Sampling(temperature=0.9, top_k=200, top_p=0.95)
    steps = generation.generate(run.network, torch.from_numpy(codes_S).long(), sampling, 7)
    codes_T = torch.cat([codes for codes, _ in islice(steps, STEPS)]).numpy()
    samples_T, rate = soundfile.read(only.wav, dtype="float64")
    assert (rate, soundfile.info(only.wav).subtype) == (RATE, "PCM_16")
    assert len(samples_T) == STEPS and len(set(codes_T)) > 20
    assert np.abs(samples_T - quantise.decode(codes_T, "mulaw")).max() <= 1 / 2**15
    assert np.array_equal(quantise.encode(samples_T, "mulaw"), codes_T)


def test_files_are_named_after_prompt_seed_and_number(tmp_path, run, prompt):
    found = continued(run, prompt, tmp_path / "a" / "out", seed=3, batch=2)
    assert [(each.seed, each.number) for each in found] == [(3, 0), (3, 1)]
    names = [path.name for each in found for path in (each.wav, each.picture)]
    assert names == [f"prompt-seed3-{n}.{kind}" for n in (0, 1) for kind in ("wav", "png")]
    assert sorted(contents(tmp_path / "a" / "out")) == sorted(names)


def test_a_batch_of_three_differs_and_begins_with_the_batch_of_one(tmp_path, run, prompt):
    three = continued(run, prompt, tmp_path / "three", batch=3)
    (one,) = continued(run, prompt, tmp_path / "one")
    assert len({each.wav.read_bytes() for each in three}) == 3
    assert three[0].wav.read_bytes() == one.wav.read_bytes()
    assert three[0].picture.read_bytes() == one.picture.read_bytes()


def test_a_seed_fixes_every_byte_and_another_seed_changes_them(tmp_path, run, prompt):
    continued(run, prompt, tmp_path / "a", batch=2)
    continued(run, prompt, tmp_path / "b", batch=2)
    (other,) = continued(run, prompt, tmp_path / "c", seed=8)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert other.wav.read_bytes() not in contents(tmp_path / "a").values()


@pytest.mark.parametrize(("scaling", "chunk"), [("none", 0), ("file", 0), ("chunk", 3_000)])
@pytest.mark.parametrize("codec", ["mulaw", "linear"])
@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (44_100, 2), (8_000, 2)])
def test_a_prompt_becomes_the_codes_that_preparing_it_gives(
    tmp_path, monkeypatch, rate, channels, codec, scaling, chunk
):
    prompt = sound(tmp_path / "prompt.wav", rate, rate, channels)
    settings = Settings(RATE, codec, 256, scaling, chunk)
    corpus = Folder.of(tmp_path / "corpus")
    corpus.make_folder("shards")
    facts = write_shard([take(tmp_path, prompt.name)], corpus, settings)
    ((entry,),) = (made.entries for made in facts.made)
    place = ShardLocation(facts.shard, entry.row, entry.samples)
    prepared_T = shards.read(corpus, place, 0, entry.samples)
    generate = endlessly([])
    monkeypatch.setattr(continuation, "generate", generate)
    continued(trained(codec=codec, scaling=scaling, chunk=chunk), prompt, tmp_path / "out")
    assert np.array_equal(generate.prompt_S.numpy(), prepared_T[-2_000:])


def test_a_stereo_prompt_of_another_rate_is_continued_at_the_corpus_rate(tmp_path, run):
    prompt = sound(tmp_path / "prompt.flac.wav", 4_000, 44_100, 2)
    (only,) = continued(run, prompt, tmp_path / "out")
    assert only.wav.name == "prompt.flac-seed7-0.wav"
    assert (soundfile.info(only.wav).samplerate, soundfile.info(only.wav).frames) == (RATE, STEPS)


def test_a_prompt_that_is_too_short_is_refused_with_the_reason(tmp_path, run):
    prompt = sound(tmp_path / "short.wav", 499)
    with pytest.raises(PromptError) as raised:
        continued(run, prompt, tmp_path / "out")
    assert str(raised.value) == (
        f"the prompt {prompt} has 0.03119 s (499 samples at 16000 Hz): run {run.record.id} needs "
        "0.03125 s (500 samples) or more"
    )
    assert len(continued(run, sound(tmp_path / "enough.wav", 500), tmp_path / "out")) == 1


@pytest.mark.parametrize("content", [None, b"", b"no audio at all"])
def test_a_prompt_that_cannot_be_read_raises_the_readers_own_error(tmp_path, run, content):
    prompt = tmp_path / "broken.wav"
    if content is not None:
        prompt.write_bytes(content)
    with pytest.raises(
        PromptError, match=r"broken\.wav cannot be used: it cannot be (opened|decod)"
    ):
        continued(run, prompt, tmp_path / "out")
    assert not contents(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({"seconds": 0.0}, ["seconds is 0.0: write one sample (1/16000 s) or more, such as 5"]),
        ({"seconds": -1.0}, ["seconds is -1.0"]),
        ({"seconds": 1e-5}, ["seconds is 1e-05"]),
        ({"seconds": float("inf")}, ["seconds is inf"]),
        ({"seconds": float("nan")}, ["seconds is nan"]),
        ({"seed": -1}, ["seed is -1: write 0 to 4294967295"]),
        ({"batch": 0}, ["batch is 0: write 1 or more"]),
        ({"top_p": 0.0, "batch": -2}, ["top-p is 0.0", "batch is -2"]),
        ({"silence": 0.0, "min_p": 2.0}, ["silence is 0.0: write one sample", "min-p is 2.0"]),
    ],
)
def test_impossible_requests_are_refused_before_the_prompt_is_read(
    tmp_path, run, changes, sentences
):
    with pytest.raises(PromptError) as raised:
        continued(run, tmp_path / "missing.wav", tmp_path / "out", **changes)
    assert len(str(raised.value).split("; ")) == len(sentences)
    for sentence in sentences:
        assert sentence in str(raised.value)


def test_it_ends_when_all_have_been_silent_for_so_long(tmp_path, monkeypatch, run, prompt):
    """The continuations are silent from steps 20 and 50; the second one clicks at step 60."""
    middle = torch.tensor([128, 127])
    codes = [middle.clone() for _ in range(1_000)]
    for step in range(50):
        codes[step][1] = 90
    codes[19][0], codes[60][1] = 200, 9
    monkeypatch.setattr(continuation, "generate", endlessly(codes))
    request = GenerationRequest(1_000 / RATE, Sampling(), 7, 2, 30 / RATE)
    found, seconds = continue_prompt(run, prompt, request, tmp_path / "out", lambda d, t: None)
    assert round(seconds * RATE) == 61 + 30
    assert [soundfile.info(one.wav).frames for one in found] == [91, 91]
    request = GenerationRequest(40 / RATE, Sampling(), 7, 2, 30 / RATE)
    assert (
        continue_prompt(run, prompt, request, tmp_path / "out", lambda d, t: None)[1] == 40 / RATE
    )


@pytest.mark.fault(
    "Processes",
    "`generate` is interrupted (Ctrl-C)",
    "the WAV keeps the samples generated so far",
)
def test_ctrl_c_keeps_the_samples_so_far(tmp_path, monkeypatch, run, prompt):
    def interrupted(*arguments):
        yield from islice(generation.generate(*arguments), 60)
        raise KeyboardInterrupt

    whole = soundfile.read(continued(run, prompt, tmp_path / "whole")[0].wav)[0]
    monkeypatch.setattr(continuation, "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(continuation, "generate", interrupted)
    (only,) = continued(run, prompt, tmp_path / "out")
    assert np.array_equal(soundfile.read(only.wav)[0], whole[:60])
    assert only.picture.exists() and not list((tmp_path / "out").glob("*.partial"))


def test_a_wav_can_be_heard_while_it_grows(tmp_path, monkeypatch, run, prompt):
    monkeypatch.setattr(continuation, "PROGRESS_SECONDS", 0.0)
    lengths = []

    def look(done, total):
        if done > 1:
            (growing,) = (tmp_path / "out").glob("*.wav.*.partial")
            lengths.append((done, soundfile.info(growing).frames))

    continued(run, prompt, tmp_path / "out", progress=look)
    assert len(lengths) == STEPS - 1
    # A reported block was yielded, and the blocks before it are in the file.
    assert all(frames >= done - 1 for done, frames in lengths)


@pytest.mark.parametrize("place", ["generate", "soundfile", "savefig"])
def test_an_error_during_generation_leaves_no_file_and_keeps_the_old_one(
    tmp_path, monkeypatch, run, prompt, place
):
    continued(run, prompt, tmp_path / "out")
    before = contents(tmp_path / "out")

    def breaks(*arguments, **options):
        yield from islice(generation.generate(*arguments, **options), 10)
        raise RuntimeError("broken")

    def refuses(*arguments, **options):
        if place == "savefig":
            arguments[1].write_bytes(b"half a picture")
        raise RuntimeError("broken")

    if place == "generate":
        monkeypatch.setattr(continuation, "generate", breaks)
    elif place == "soundfile":
        monkeypatch.setattr(soundfile.SoundFile, "write", refuses)
    else:
        monkeypatch.setattr(Figure, "savefig", refuses)
    with pytest.raises(RuntimeError, match="broken"):
        continued(run, prompt, tmp_path / "out", temperature=0.5)
    assert contents(tmp_path / "out") == before


def test_the_picture_is_a_png_of_more_than_one_colour(tmp_path, run, prompt):
    (only,) = continued(run, prompt, tmp_path / "out")
    assert only.picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(only.picture)
    assert pixels.shape == (480, 1_200, 4)
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 50


@pytest.mark.parametrize("seconds", [1.0, 20.0])
def test_the_spectrogram_has_a_full_scale_sine_at_its_frequency_at_zero_decibels(
    tmp_path, monkeypatch, seconds
):
    """The prompt is two seconds of silence; the spectrogram shows the last one."""
    prompt = tmp_path / "silence.wav"
    soundfile.write(prompt, np.zeros(2 * RATE), RATE)
    sine_T = np.sin(2 * np.pi * 2_000 * np.arange(round(seconds * RATE)) / RATE)
    codes_T1 = torch.from_numpy(quantise.encode(sine_T, "linear"))[:, None]
    monkeypatch.setattr(continuation, "generate", endlessly(codes_T1))
    figures = []
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, path, format: (figures.append(figure), path.touch())
    )
    run = trained(codec="linear")
    continued(run, prompt, tmp_path / "out", seconds=seconds, temperature=0.5)
    axes = figures[0].axes[0]
    assert axes.get_title() == f"run {run.record.id}, seed 7, temperature 0.5, number 0"
    assert axes.get_xlim() == (-1.0, seconds) and axes.get_ylim() == (0, RATE / 2)
    assert [list(line.get_xdata()) for line in axes.lines] == [[0, 0]]
    (image,) = axes.images
    level_FT, (left, right, bottom, top) = np.asarray(image.get_array()), image.get_extent()
    row = round((2_000 - bottom) / (top - bottom) * len(level_FT) - 0.5)
    middles_T = left + (np.arange(level_FT.shape[1]) + 0.5) * (right - left) / level_FT.shape[1]
    sounding_T = level_FT[:, (middles_T > 0.02) & (middles_T < seconds - 0.02)]
    assert (sounding_T.argmax(axis=0) == row).all()
    assert np.abs(sounding_T[row]).max() < 0.1
    assert (level_FT[row, middles_T < -0.02] < -90).all()
    assert level_FT.shape[1] <= 2_000


def test_progress_is_reported_about_ten_times_a_second(tmp_path, monkeypatch, run, prompt):
    clock = iter(np.arange(0, 10, 0.01))
    monkeypatch.setattr(continuation, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    calls = []
    continued(
        run, prompt, tmp_path / "out", progress=lambda done, total: calls.append((done, total))
    )
    assert calls[0] == (0, STEPS) and calls[-1] == (STEPS, STEPS)
    assert calls == sorted(calls) and STEPS / 15 < len(calls) < STEPS / 9 + 3


@pytest.mark.parametrize(
    ("attention", "steps", "compiler", "compiled"),
    [
        ("causal", COMPILED_STEPS, "c++", True),
        ("causal", COMPILED_STEPS, "g++", True),
        ("causal", COMPILED_STEPS, None, False),
        ("causal", COMPILED_STEPS - 1, "c++", False),
        ("bidirectional", COMPILED_STEPS, "c++", False),
    ],
)
def test_a_long_causal_continuation_is_compiled_if_there_is_a_compiler(
    tmp_path, monkeypatch, prompt, attention, steps, compiler, compiled
):
    generate = endlessly([])
    monkeypatch.setattr(continuation, "generate", generate)
    found = SimpleNamespace(which=lambda name: f"/usr/bin/{name}" if name == compiler else None)
    monkeypatch.setattr(continuation, "shutil", found)
    run = trained(attention)
    # The network is on the CPU on every machine: it was never moved.
    continued(run, prompt, tmp_path / "out", seconds=steps / RATE)
    assert generate.compiled is compiled
