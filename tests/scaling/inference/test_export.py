"""Exported models: loaded without Ray, without the run's folder, without unpickling."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from packaging.requirements import Requirement

import model
from model.inference.dense import dense_nats
from model.inference.exported import FORMAT, ExportError
from model.sampling import Sampling
from model.targets import Targets
from scaling.inference.export import export_run
from scaling.runs.record import FILE_NAME, RunRecord, bits
from scaling.runs.trained_model import WEIGHTS_NAME, TrainedModel, TrainedModelError
from scaling.training.data import held_out_stream
from tests.helpers.clone import CLONE
from tests.helpers.command import scaling
from tests.helpers.trained import trained, trained_baseline

SCORE = """
import json, sys
import numpy as np, torch
import model
from model.targets import Targets
trained = model.load(sys.argv[1])
windows_BT = torch.from_numpy(np.load(sys.argv[2]))
targets = Targets("last", int(sys.argv[3]))
with torch.no_grad():
    nats = torch.cat([trained.network(one[None], targets)[1].flatten() for one in windows_BT])
print(json.dumps({"nats": nats.double().mean().item(), "loaded": sorted(sys.modules)}))
"""


@pytest.fixture(params=["latent", "wavenet", "samplernn", "sashimi"])
def run(request, embedded_corpus, tmp_path):
    if request.param == "latent":
        return trained(embedded_corpus, tmp_path / "run")
    return trained_baseline(embedded_corpus, tmp_path / "run", request.param)


@pytest.fixture
def latent(embedded_corpus, tmp_path):
    return trained(embedded_corpus, tmp_path / "run")


def codes(length):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, length).astype(np.uint8))


def test_every_kind_of_exported_model_gives_the_same_losses_and_continuations(run, tmp_path):
    export_run(run, tmp_path / "out")
    again = model.load(tmp_path / "out")
    known = codes(run.config.model.context + 300)
    expected = torch.cat(list(dense_nats(run.network, [known])))
    assert torch.equal(again.nats(known), expected) and len(expected) == 300
    new = again.continued(known, 20, Sampling(temperature=0.8), seed=3, batch=2)
    assert new.shape == (2, 20)
    longer = again.continued(known, 25, Sampling(temperature=0.8), seed=3, batch=2)
    assert torch.equal(longer[:, :20], new)
    assert not torch.equal(new[0], new[1])


def test_the_folder_has_a_model_card_with_instructions(latent, tmp_path):
    paths = export_run(latent, tmp_path / "out")
    assert {path.name for path in paths} == {"config.json", "weights.safetensors", "README.md"}
    about = model.load(tmp_path / "out").about
    loss = latent.record.validation
    assert (about["loss"]["nats"], about["loss"]["bits"]) == (loss.nats, bits(loss.nats))
    assert about["corpus"]["fingerprint"] == latent.record.corpus.fingerprint
    assert about["licence"].startswith("public domain")
    card = (tmp_path / "out/README.md").read_text()
    for text in (f"{bits(loss.nats):.4f} bits", "public domain", 'model.load("', latent.record.id):
        assert text in card
    assert card.startswith("---\n")


def test_the_cards_lines_run_and_write_audio(latent, embedded_corpus, tmp_path):
    out = tmp_path / "out"
    export_run(latent, out)
    (lines,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    tone = 0.3 * np.sin(np.arange(4_000) / 9)
    soundfile.write(tmp_path / "prompt.wav", tone, embedded_corpus.rate)
    lines = lines.replace(f"steps={embedded_corpus.rate}", "steps=50")
    done = subprocess.run(
        [sys.executable, "-c", lines],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CLONE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "new.wav").frames == 50


def test_a_program_gives_the_logits_of_the_network(latent, tmp_path):
    paths = export_run(latent, tmp_path / "out", program=True)
    (path,) = [path for path in paths if path.suffix == ".pt2"]
    step = torch.export.load(path).module()
    known = codes(latent.config.model.context)[None].long()
    with torch.no_grad():
        found = step(known)
        window = torch.cat([known, known[:, :1]], 1)
        expected = latent.network.logits(window, Targets("last", latent.config.model.chunk))
    torch.testing.assert_close(found, expected[:, 0, 0], atol=1e-5, rtol=1e-5)
    assert "program.pt2" in (tmp_path / "out/README.md").read_text()


def test_a_program_of_a_baseline_is_refused_and_nothing_is_written(embedded_corpus, tmp_path):
    run = trained_baseline(embedded_corpus, tmp_path / "run", "wavenet")
    with pytest.raises(TrainedModelError, match="without --program"):
        export_run(run, tmp_path / "out", program=True)
    assert not (tmp_path / "out").exists()


def spoiled(folder, change):
    """Change the configuration of an export."""
    path = folder / "config.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.update(format=FORMAT + 1), f"this version reads format {FORMAT}"),
        (lambda content: content.pop("format"), "has no exported model"),
        (lambda content: content["model"].update(kind="other"), "cannot be built"),
        (lambda content: content["model"].update(colour="red"), "cannot be built"),
        (lambda content: content["model"].update(context=2_001), "not a multiple of model.chunk"),
        (lambda content: content["model"].update(width=64), "cannot be built"),
        (lambda content: content.pop("about"), "has no exported model"),
        (lambda content: content["model"].pop("kind"), "cannot be built"),
    ],
)
def test_unreadable_exports_are_refused_with_the_reason(latent, tmp_path, change, words):
    export_run(latent, tmp_path / "out")
    spoiled(tmp_path / "out", change)
    with pytest.raises(ExportError, match=re.escape(words)):
        model.load(tmp_path / "out")


@pytest.mark.fault(
    "Checkpoints", "an exported model's weights are damaged", "an error names the problem"
)
@pytest.mark.parametrize("cut", [0, 100, -1])
def test_damaged_weights_are_refused_with_the_reason(latent, tmp_path, cut):
    export_run(latent, tmp_path / "out")
    path = tmp_path / "out" / WEIGHTS_NAME
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ExportError, match="cannot be built"):
        model.load(tmp_path / "out")
    with pytest.raises(ExportError, match="has no exported model"):
        model.load(tmp_path)


def with_requirements(*names):
    """Return the named distributions with all their requirements, by name."""
    found, waiting = {}, list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        wanted = map(Requirement, found[name].requires or ())
        waiting += [one.name for one in wanted if not one.marker or one.marker.evaluate()]
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Return the Python of an environment with torch, numpy, safetensors and their requirements."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for distribution in with_requirements("torch", "numpy", "safetensors").values():
        tops = {Path(file).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        for top in tops:
            source = Path(str(distribution.locate_file(top)))
            if source.exists() and not (packages / top).exists():
                (packages / top).symlink_to(source)
    return folder / "bin/python"


@pytest.mark.slow
def test_torch_numpy_and_safetensors_are_enough_for_the_loss_of_the_record(
    bare, chunks_run, embedded_corpus, tmp_path
):
    config = chunks_run
    out = tmp_path / "out"
    done = scaling("export", str(config.folder), "--out", str(out))
    assert done.returncode == 0 and str(out / "config.json") in done.stdout
    windows = held_out_stream(config, embedded_corpus, 1).read(np.arange(config.validation.windows))
    np.save(tmp_path / "windows.npy", windows)
    words = [out, tmp_path / "windows.npy", str(config.validation.spacing)]
    done = subprocess.run(
        [bare, "-c", SCORE, *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(CLONE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not {"ray", "deepspeed", "pydantic", "soundfile"} & set(found["loaded"])
    record = RunRecord.read(config.folder / FILE_NAME)
    assert found["nats"] == pytest.approx(record.validation.nats, abs=1e-5)
    again = TrainedModel.load(config.folder)
    assert again.record == record
