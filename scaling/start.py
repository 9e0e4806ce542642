"""The cluster that runs train on, and every reason why they cannot, before anything starts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from datasets.manifest import Corpus, ManifestError
from scaling import check, cluster, spending
from scaling.config import RunConfig
from scaling.load import ConfigError


@contextmanager
def cluster_for(runs: Sequence[RunConfig]) -> Iterator[None]:
    """A connected cluster, after every problem of these runs with it was refused at once."""
    if found := spending.problems(runs):
        raise ConfigError(found)
    embedded = not cluster.named()
    if embedded:
        # Nothing is started for what cannot run.
        _refuse(runs, cluster.machine(), [])
    with cluster.connected():
        if not embedded:
            _refuse(runs, cluster.offered(), cluster.unshared(runs[0].study_folder))
        yield


def _refuse(runs: Sequence[RunConfig], offered: Mapping[str, float], more: list[str]) -> None:
    found = list(more)
    for run in runs:
        try:
            corpus = Corpus.load(run.corpus)
        except ManifestError as error:
            corpus = None
            found.append(str(error))
        found += check.problems(run, corpus, offered)
    found += check.history_problems(runs)
    if found:
        raise ConfigError(list(dict.fromkeys(found)))
