"""Checks of values that must fit together before a run starts: one sentence a problem."""

import importlib.util
from collections.abc import Mapping, Sequence

from datasets.manifest import Corpus, ManifestError
from datasets.windows import WindowError
from model.architecture import LINEAR_ORDER, MOST_LOGITS, Architecture
from model.baselines.shapes import SampleRNNArchitecture
from scaling.config.run_config import TRACKERS, RunConfig
from scaling.config.run_windows import held_out_windows, training_windows


def problems(
    config: RunConfig, corpus: Corpus | None, offered: Mapping[str, float] | None = None
) -> list[str]:
    """Return a sentence for each problem that stops the run; empty if it can start.

    None for the prepared corpus, or the offered CPUs and GPUs, skips what depends on them.
    """
    found = config.model.problems()
    found += _batch_problems(config)
    found += _targets_problems(config)
    found += _history_problems(config)
    found += _tracker_problems(config)
    if config.model.chunk and config.validation.spacing % config.model.chunk:
        chunk = config.model.chunk
        found.append(
            f"validation.spacing is {config.validation.spacing}, not a multiple of model.chunk = "
            f"{chunk}: write {-(-config.validation.spacing // chunk) * chunk}"
        )
    if corpus and not found:
        found += _corpus_problems(config, corpus)
    if offered is not None:
        found += _cluster_problems(config, offered)
    return found


def history_problems(runs: Sequence[RunConfig]) -> list[str]:
    """Return a sentence if runs of several contexts do not have the same held-out targets."""
    histories = {config.history for config in runs}
    if len(histories) == 1:
        return []
    longest = max(config.model.context for config in runs)
    return [
        f"the runs of the sweep have histories of {sorted(histories)} samples, so their held-out "
        f"targets differ and cannot be compared: write windows.history={max(longest, *histories)}"
    ]


def _batch_problems(config: RunConfig) -> list[str]:
    train, workers = config.train, config.cluster.workers
    micro_batches = workers * train.accumulate
    if train.batch % micro_batches == 0:
        return []
    nearest = max(1, round(train.batch / micro_batches)) * micro_batches
    return [
        f"train.batch is {train.batch}, not a multiple of cluster.workers = {workers} times "
        f"train.accumulate = {train.accumulate}: write train.batch={nearest}"
    ]


def _history_problems(config: RunConfig) -> list[str]:
    model = config.model
    found = []
    if 0 < model.context < LINEAR_ORDER:
        found.append(
            f"model.context is {model.context}, shorter than the {LINEAR_ORDER} samples that the "
            f"linear baseline reads: write {LINEAR_ORDER} or more"
        )
    least = model.chunk if config.padded else model.context
    if config.history < least:
        name = "model.chunk" if config.padded else "model.context"
        found.append(
            f"windows.history is {config.history}, shorter than {name} = {least}: write {least} or "
            "more, or leave it out"
        )
    first_see_a_chunk = config.padded or config.windows.targets in ("chunks", "samples")
    if first_see_a_chunk and model.recent > model.chunk:
        cause = "short=pad" if config.padded else f"targets={config.windows.targets}"
        found.append(
            f"model.recent is {model.recent}, but the first targets of windows.{cause} see only "
            f"model.chunk = {model.chunk} samples: write model.recent={model.chunk} or less"
        )
    return found


def _tracker_problems(config: RunConfig) -> list[str]:
    return [
        f"cluster.trackers has {name}, whose package {TRACKERS[name]} is not installed: run "
        "`python -m pip install -c constraints.txt mlflow-skinny wandb`, or leave it out"
        for name in config.cluster.trackers
        if importlib.util.find_spec(TRACKERS[name]) is None
    ]


def _targets_problems(config: RunConfig) -> list[str]:
    windows, model = config.windows, config.model
    found = []
    if not isinstance(model, Architecture):
        if windows.targets != "sequence":
            found.append(
                f"windows.targets is {windows.targets}, but model.kind is {model.kind}, which "
                "trains on whole sequences from silence: write windows.targets=sequence"
            )
        if windows.phases:
            found.append(
                f"windows.phases is {windows.phases}, but model.kind={model.kind} has no chunks, "
                "and so no phases: leave it out"
            )
        return found
    if windows.targets == "sequence":
        return [
            "windows.targets is sequence, which is for models without chunks, but model.kind is "
            "latent: write windows.targets=samples with model.attention=causal, or "
            "model.kind=sashimi"
        ]
    if windows.phases and (windows.targets != "samples" or model.chunk % windows.phases):
        found.append(
            f"windows.phases is {windows.phases} with windows.targets={windows.targets} and "
            f"model.chunk={model.chunk}, but it must divide the chunk and needs "
            "windows.targets=samples: leave it out to train every sample"
        )
    if windows.targets == "last":
        return found
    if model.attention != "causal":
        found.append(
            f"windows.targets is {windows.targets}, so every latent predicts the sample after its "
            f"chunk, but with model.attention={model.attention} it would see that sample: write "
            "model.attention=causal, or windows.targets=last"
        )
    whole = model.chunk and model.latents and model.context % model.chunk == 0
    if whole and config.positions % model.latents:
        latents = model.latents
        found.append(
            f"windows.per_window is {config.positions}, but windows.targets={windows.targets} "
            f"needs a multiple of the {latents} chunks of a context: write "
            f"windows.per_window={-(-config.positions // latents) * latents}, or leave it out"
        )
    return found


def _corpus_problems(config: RunConfig, corpus: Corpus) -> list[str]:
    found = []
    if corpus.levels > MOST_LOGITS and not isinstance(config.model, Architecture):
        found.append(
            f"the corpus {corpus.name} has {corpus.levels} levels, but "
            f"model.kind={config.model.kind} takes up to {MOST_LOGITS}: prepare it with "
            f"levels={MOST_LOGITS} in another folder, or train a latent Transformer with "
            "model.likelihood=logistic_mixture"
        )
    elif config.model.levels != corpus.levels:
        found.append(
            f"model.levels is {config.model.levels}, but the corpus {corpus.name} has "
            f"{corpus.levels} levels: write model.levels={corpus.levels}"
            + (" model.likelihood=logistic_mixture" if corpus.levels > MOST_LOGITS else "")
        )
    if isinstance(config.model, SampleRNNArchitecture) and config.model.codec != corpus.codec:
        found.append(
            f"model.codec is {config.model.codec}, but the corpus {corpus.name} has {corpus.codec} "
            f"codes, which the model decodes to amplitudes: write model.codec={corpus.codec}"
        )
    if config.windows.polarity and corpus.scaling == "chunk":
        found.append(
            "windows.polarity is true, but the corpus was scaled by chunks, so its codes are not "
            "symmetric: write windows.polarity=false, or augment.polarity=true in the corpus"
        )
    for windows_of, wanted in (
        (training_windows, 1),
        (held_out_windows, config.validation.windows),
    ):
        try:
            windows = windows_of(config, corpus)
        except (WindowError, ManifestError) as error:
            found.append(str(error))
            continue
        unique = config.unique_windows
        if windows_of is training_windows and unique and len(windows) < unique:
            found.append(
                f"windows.unique is {config.windows.unique}, but {corpus.name} has only "
                f"{windows.targets_in_epoch} training targets: write that or less"
            )
        if len(windows) < wanted:
            found.append(
                f"validation.windows is {wanted}, but {corpus.name} has only {len(windows)} "
                f"held-out windows of {windows.targets} targets: write "
                f"validation.windows={len(windows)}"
            )
    return found


def _cluster_problems(config: RunConfig, offered: Mapping[str, float]) -> list[str]:
    cluster = config.cluster
    found = []
    if cluster.gpu and offered["GPU"] < cluster.workers:
        remedy = f"cluster.workers={offered['GPU']:g}" if offered["GPU"] else "cluster.gpu=false"
        found.append(
            f"cluster.workers is {cluster.workers} with a GPU each, but the cluster offers "
            f"{offered['GPU']:g} GPUs: write {remedy}"
        )
    needed = cluster.workers * cluster.cpus_per_worker
    if needed > offered["CPU"]:
        found.append(
            f"cluster.workers = {cluster.workers} times cluster.cpus_per_worker = "
            f"{cluster.cpus_per_worker} is {needed} CPUs, but the cluster offers "
            f"{offered['CPU']:g} for training: write cluster.workers="
            f"{max(1, int(offered['CPU'] // cluster.cpus_per_worker))}"
        )
    return found
