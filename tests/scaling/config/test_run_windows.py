import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.architecture import Architecture
from model.targets import Targets
from scaling.config.run_windows import held_out_windows, training_windows
from tests.helpers.networks import contexts_of
from tests.helpers.runs import small_run


def test_training_and_held_out_targets_are_disjoint(embedded_corpus, tmp_path):
    run = small_run(embedded_corpus, tmp_path)
    trained, held_out = (
        windows_of(run, embedded_corpus) for windows_of in (training_windows, held_out_windows)
    )
    (cut,) = {begin for begin, _ in held_out.ranges}
    _, last = trained.offsets([len(trained) - 1])
    _, first = held_out.offsets([0])
    assert last.max() < cut <= first.min()


def test_windows_have_the_configured_length(embedded_corpus, tmp_path):
    run = small_run(embedded_corpus, tmp_path)
    assert training_windows(run, embedded_corpus).length == 4_000 + 2 * 500 + 1
    assert held_out_windows(run, embedded_corpus).length == 4_000 + 3 * 1_000 + 1
    causal = {"model__attention": "causal", "windows__per_window": 16}
    chunks = small_run(embedded_corpus, tmp_path, windows__targets="chunks", **causal)
    assert training_windows(chunks, embedded_corpus).length == 16 * 500 + 1
    samples = small_run(
        embedded_corpus, tmp_path, windows__targets="samples", windows__phases=20, **causal
    )
    windows = training_windows(samples, embedded_corpus)
    assert windows.length == 16 * 500 + 20
    assert windows.targets_in_epoch == len(windows) * 16 * 20


@st.composite
def shapes(draw):
    """Draw an architecture with targets and positions that fit it."""
    chunk, latents = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    architecture = Architecture(chunk=chunk, context=latents * chunk)
    mode = draw(st.sampled_from(["last", "chunks", "samples"]))
    if mode == "last":
        context = draw(st.none() | st.integers(1, 5).map(lambda count: count * chunk))
        spacing = draw(st.integers(1, 3)) * chunk
        return architecture, Targets(mode, spacing, context=context), draw(st.integers(1, 9))
    phases = draw(st.integers(1, chunk)) if mode == "samples" else 1
    return architecture, Targets(mode, chunk, phases), draw(st.integers(1, 3)) * latents


@given(shapes())
def test_the_codes_of_a_window_are_those_at_its_positions_and_phases(shape):
    architecture, targets, positions = shape
    samples = targets.samples(positions, architecture)
    # One window has its positions as codes; the other is arbitrary.
    window = torch.stack([torch.arange(samples), 1_000 + torch.arange(samples)])
    first = targets.history(architecture)
    expected = [
        [first + position * targets.spacing + phase for phase in range(targets.phases)]
        for position in range(positions)
    ]
    codes = targets.codes(window, architecture)
    assert codes[0].tolist() == expected
    assert torch.equal(codes[1], codes[0] + 1_000)
    assert codes[0, -1, -1] == samples - 1


@given(shapes())
def test_each_target_sees_whole_chunks_that_lie_in_its_window(shape):
    architecture, targets, positions = shape
    contexts = contexts_of(targets, positions, architecture)
    window = torch.arange(targets.samples(positions, architecture))[None]
    first_codes = targets.codes(window, architecture)[0, :, 0].tolist()
    begins = [code - context for code, context in zip(first_codes, contexts, strict=True)]
    assert min(begins) == 0
    assert all(context % architecture.chunk == 0 < context for context in contexts)
    if targets.mode == "last":
        assert set(contexts) == {targets.context or architecture.context}
    else:
        # All N targets of a sequence have its first chunk in their context; the last one has N
        # chunks.
        sequences = [number // architecture.latents for number in range(positions)]
        assert begins == [sequence * architecture.context for sequence in sequences]
        assert max(contexts) == architecture.context


@given(shapes())
def test_a_window_has_positions_only_if_its_length_matches(shape):
    architecture, targets, positions = shape
    longest = targets.samples(positions, architecture)
    whole = 1 if targets.mode == "last" else architecture.latents
    fitting = {
        targets.samples(count, architecture): count for count in range(whole, positions + 1, whole)
    }
    for samples in range(longest + 1):
        if samples in fitting:
            assert targets.positions(samples, architecture) == fitting[samples]
        else:
            with pytest.raises(ValueError, match=f"a window of {samples} samples does not fit"):
                targets.positions(samples, architecture)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3))
def test_samples_at_every_phase_are_every_code_after_the_first_chunk(chunk, latents, sequences):
    architecture = Architecture(chunk=chunk, context=latents * chunk)
    targets = Targets("samples", chunk, chunk)
    window = torch.arange(targets.samples(sequences * latents, architecture))[None]
    codes = targets.codes(window, architecture)
    assert torch.equal(codes.flatten(), window[0, chunk:])


@pytest.mark.parametrize(
    ("targets", "samples", "sentence"),
    [
        (
            Targets("last", 1_000),
            4_000,
            "a window of 4000 samples does not fit last targets 1000 apart: it must be 2000 + "
            "(n - 1) spacing + 1 samples, with a spacing that is a multiple of the chunk, 500, and "
            "n a multiple of 1",
        ),
        (
            # Three positions are no whole sequence of a model with four latents.
            Targets("samples", 500, 20),
            500 + 2 * 500 + 20,
            "a window of 1520 samples does not fit samples targets 500 apart: it must be 500 + "
            "(n - 1) spacing + 20 samples, with a spacing that is a multiple of the chunk, 500, "
            "and n a multiple of 4",
        ),
    ],
)
def test_a_window_of_the_wrong_length_is_refused_with_the_lengths_that_are_right(
    targets, samples, sentence
):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        targets.positions(samples, Architecture(chunk=500, context=2_000))


def test_a_spacing_or_context_that_is_no_multiple_of_the_chunk_is_refused():
    architecture = Architecture(chunk=500, context=2_000)
    for targets in (Targets("last", 750), Targets("last", 500, context=1_250)):
        with pytest.raises(ValueError, match="a multiple of the chunk, 500"):
            targets.positions(targets.samples(3, architecture), architecture)
