"""Probe of the context that a model uses, on a corpus whose samples depend on a known lag."""

import json

import numpy as np
import pytest
import torch

from datasets.settings import Settings
from model.targets import Targets
from scaling.config.run_config import RunConfig
from scaling.evaluation import probe as probing
from scaling.evaluation.probe import probe
from scaling.evaluation.protocols import subset
from scaling.evaluation.scores import (
    KINDS,
    ContextUse,
    EvaluationError,
    Loss,
    ReplacedContext,
)
from scaling.runs.trained_model import TrainedModelError
from scaling.training.data import training_stream
from scaling.training.engine import build_network
from tests.helpers import sounds
from tests.helpers.command import scaling
from tests.helpers.sounds import CHUNK, LAG, LATENTS, lagged
from tests.helpers.trained import _saved, trained, trained_baseline


def unwatched(done, total):
    """Ignore the progress."""


@pytest.fixture(scope="module")
def lagged_corpus(ray_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lagged")
    for number in range(24):
        sounds.sound(folder / "audio" / f"{number:02}.wav", lagged(1_000, number))
    settings = Settings(sounds.RATE, "linear", 256, "none")
    return sounds.prepare(folder / "audio", folder / "corpus", settings=settings)


@pytest.fixture(scope="module")
def lagged_run(lagged_corpus, tmp_path_factory):
    """Return a small model that has learned the corpus in a plain loop."""
    model = {
        **{"context": CHUNK * LATENTS, "chunk": CHUNK, "filters": (8, 8), "kernel": 4},
        **{"strides": (4, 4), "width": 16, "layers": 1, "heads": 2, "head_size": 8},
        **{"feed_forward": 32, "hidden": 32, "dropout": 0, "encoder_dropout": 0},
        **{"head_dropout": 0, "token_drop": 0},
    }
    config = RunConfig(
        study="lagged",
        corpus=str(lagged_corpus.folder),
        model=model,
        windows={"per_window": 64},
        train={"batch": 8},
        validation={"windows": 4, "per_window": 4, "spacing": CHUNK},
    )
    torch.manual_seed(0)
    network = build_network(config, lagged_corpus)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    stream = training_stream(config, lagged_corpus)
    for step in range(300):
        windows = torch.from_numpy(stream.read(np.arange(8 * step, 8 * (step + 1))))
        loss, _ = network(windows, config.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _saved(config, network.eval(), lagged_corpus, tmp_path_factory.mktemp("run"))


def test_the_lag_of_the_corpus_is_found_within_a_doubling(lagged_run, lagged_corpus):
    """Targets lie anywhere in a chunk, so the samples that they depend on lie in chunks 8 and 9."""
    found = probe(lagged_run, lagged_corpus, "test", 2_000, 0, unwatched)
    assert CHUNK * LAG / 2 <= found.effective <= CHUNK * LAG * 2
    assert found.gain.nats > 4 * found.gain_half_interval
    assert found.donors == "another recording"
    costs = {(one.kind, one.kept): one for one in found.replaced}
    for kind in KINDS:
        assert (
            costs[kind, CHUNK * LAG // 2].excess.nats > 5 * costs[kind, CHUNK * LAG * 2].excess.nats
        )
    masses = {mass.newest: mass.by_layer[0] for mass in found.attention}
    assert masses[CHUNK * LAG * 2] - masses[CHUNK * LAG // 2] > 0.8
    assert masses[CHUNK * LATENTS] == pytest.approx(1)


def test_the_command_prints_the_table_and_keeps_the_probe(lagged_run, tmp_path):
    done = scaling("probe", str(lagged_run.folder), "--positions", "128")
    assert done.returncode == 0, done.stderr
    kept = ContextUse.read(lagged_run.folder / "probe-test.json")
    assert kept.sentence in done.stdout
    again = scaling("probe", str(lagged_run.folder), "--positions", "128", "--json")
    assert json.loads(again.stdout) == json.loads(kept.model_dump_json())
    spoiled = tmp_path / "probe-test.json"
    spoiled.write_text("{}")
    with pytest.raises(EvaluationError, match="probe the run again"):
        ContextUse.read(spoiled)


@pytest.fixture(params=["causal", "bidirectional"])
def run(request, embedded_corpus, tmp_path):
    """Return an untrained run of four chunks with a recent path."""
    return trained(embedded_corpus, tmp_path, model__attention=request.param)


def chosen_of(run, corpus, count=40):
    windows = subset(corpus, "test", 2_000, 2_000)
    with torch.no_grad():
        return windows, probing.encode_targets(
            run.network, corpus, windows, np.arange(-(-count // 64))
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [1, 2, 3])
def test_replaced_latents_are_those_of_replaced_chunks(run, embedded_corpus, kind, kept):
    """Compare with windows whose old samples are replaced, target by target."""
    windows, chosen = chosen_of(run, embedded_corpus)
    donors, _ = probing.choose_donors(chosen, 2_000, 0)
    with torch.no_grad():
        older = probing.replacement_latents(run.network, chosen, kind, 4 - kept, donors, 0)
    latents = torch.cat([older, chosen.sequences.latents_SND[:, -kept:]], 1)
    with torch.no_grad():
        found = probing.score_latents(run.network, chosen, latents)
    codes = sounds.codes_of(embedded_corpus, windows.recordings[0])
    generator = np.random.default_rng(0)
    old = 500 * (4 - kept)
    for number, offset in enumerate(chosen.offsets):
        window = codes[offset - 2_000 : offset + 1].copy()
        moved = generator.permutation(4 - kept)
        if kind == "silence":
            window[:old] = 128
        elif kind == "shuffled":
            window[:old] = window[:old].reshape(-1, 500)[moved].ravel()
        else:
            donor = chosen.offsets[donors[number]]
            window[:old] = codes[donor - 2_000 : donor - 2_000 + old]
        with torch.no_grad():
            expected = run.network(torch.from_numpy(window)[None], Targets("last", 500))[0]
        assert found[number] == pytest.approx(expected.item(), abs=1e-3)


def test_the_weights_of_attention_are_those_of_its_sum(run, embedded_corpus):
    """Attention computed by hand with these weights gives the newest latent."""
    _, chosen = chosen_of(run, embedded_corpus)
    network, latents_SND = run.network, chosen.sequences.latents_SND
    weights = network.transformer.newest_attention_weights(latents_SND)
    assert [tuple(one.shape) for one in weights] == [(len(latents_SND), 2, 4)] * 2
    x_BND = network.transformer.first_input(latents_SND)
    with torch.no_grad():
        for number, (layer, by_head) in enumerate(
            zip(network.transformer.layers, weights, strict=True)
        ):
            folded = layer.attention.fold()
            mixed = torch.einsum("bhn,bnd->bhd", by_head, x_BND).flatten(1)
            read = mixed @ folded.output.T + folded.output_bias
            newest = layer.after_attention(x_BND[:, -1], read)
            view = network.transformer._view(x_BND, None)
            x_BND = network.transformer._layer(number, x_BND, None, view)
            torch.testing.assert_close(newest, x_BND[:, -1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("excesses", "half", "effective"),
    [
        ([0.4, 0.3, 0.019, 0.021], 0.01, 400),
        ([0.4, 0.3, 0.1, 0.021], 0.01, 1_600),
        ([0.4, 0.01, -0.2, 0.0], 0.39, 200),
        ([0.4, 0.0, 0.0, 0.0], 0.4, 100),
        ([-0.1, 0.0, 0.0, 0.0], 0.01, 100),
    ],
)
def test_the_effective_context_keeps_95_percent_of_a_significant_gain(excesses, half, effective):
    others = [
        ReplacedContext(
            kind="another", kept=100 * 2**at, excess=Loss.of(excess, 0.0), half_interval=half
        )
        for at, excess in enumerate(excesses)
    ]
    assert probing.effective_context(others, 1_600) == effective


def test_a_single_recording_lends_other_places_of_its_own(run, embedded_corpus):
    found = probe(run, embedded_corpus, "test", 64, 0, unwatched)
    assert found.donors == "another place of the only recording"
    assert [one.newest for one in found.attention] == [500, 1_000, 2_000]
    assert {one.kept for one in found.replaced} == {500, 1_000}
    _, chosen = chosen_of(run, embedded_corpus)
    donors, _ = probing.choose_donors(chosen, 2_000, 0)
    assert (np.abs(chosen.offsets[donors] - chosen.offsets) >= 2_000).all()


def test_a_run_without_chunks_to_replace_is_refused(embedded_corpus, lagged_corpus, run, tmp_path):
    short = trained(embedded_corpus, tmp_path / "one", model__context=500)
    baseline = trained_baseline(embedded_corpus, tmp_path / "baseline", "wavenet")
    for other in (short, baseline):
        with pytest.raises(TrainedModelError, match="no chunks older than its newest one"):
            probe(other, embedded_corpus, "test", 64, 0, unwatched)
    with pytest.raises(EvaluationError, match="prepare the run's corpus again"):
        probe(run, lagged_corpus, "test", 64, 0, unwatched)
