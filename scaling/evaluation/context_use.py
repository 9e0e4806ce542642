"""What a probe found of a run's use of its context, as it is kept in the run's folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from scaling.evaluation.scores import EvaluationError, Loss
from scaling.runs.record import JsonFile, RecordPart, bits

Kind = Literal["silence", "shuffled", "another"]
KINDS: tuple[Kind, ...] = get_args(Kind)
KEPT_SHARE = 0.95
"""The share of what more than one chunk buys that the effective context keeps."""
FILE_NAME = "probe-{split}.json"


class ReplacedContext(RecordPart):
    """The loss (nats a sample) above that of the whole context with all that is older replaced.

    ``kept`` newest samples stay as they are. ``half_interval`` is half of the 95 % interval.
    """

    kind: Kind
    kept: int
    excess: Loss
    half_interval: float


class AttentionMass(RecordPart):
    """The share of attention on the ``newest`` samples, by layer: a mean over targets and heads."""

    newest: int
    by_layer: list[float]


class ContextUse(JsonFile):
    """What a run makes of its context on targets of one split.

    ``effective`` (samples) is the fewest newest chunks, among octaves, that keep 95 % of what the
    chunks before the newest one buy, where ``another`` recording's stand in for the older ones; it
    is one chunk where these targets cannot tell that they buy anything. ``gain`` is what they buy.
    ``donors`` says where the other chunks were taken from.
    """

    error_type = EvaluationError
    unusable_text = "probe ({error}): remove it and probe the run again"

    run: str
    split: str
    rate: int
    context: int
    chunk: int
    targets: int
    targets_hash: str
    loss: Loss
    gain: Loss
    gain_half_interval: float
    effective: int
    donors: str
    replaced: list[ReplacedContext]
    attention: list[AttentionMass]

    @property
    def sentence(self) -> str:
        """The effective context in words."""
        seen = f"{self.context:,} samples ({self.context / self.rate:.3g} s)"
        start = f"{self.run} on {self.split} sees {seen}"
        bought = f"{self.gain.bits:.4f} ± {bits(self.gain_half_interval):.4f} bits a sample"
        if self.gain.nats <= self.gain_half_interval:
            return (
                f"{start}. What is older than its newest chunk ({self.chunk:,} samples) buys "
                f"{bought} over chunks of {self.donors}: nothing that {self.targets:,} targets "
                "can tell."
            )
        return (
            f"{start} and uses {self.effective:,} ({self.effective / self.rate:.3g} s): they keep "
            f"{KEPT_SHARE:.0%} or more of the {bought} that what is older than its newest chunk "
            f"buys over chunks of {self.donors}."
        )

    def write(self, folder: Path) -> Path:
        """Write it as JSON into the run's folder, whole or not at all."""
        return self.write_json(folder / FILE_NAME.format(split=self.split))


def context_uses(folder: Path, runs: Sequence[str]) -> list[ContextUse]:
    """The probes of a study's runs, in their order; EvaluationError where one is unusable."""
    return [
        ContextUse.read(path)
        for run in runs
        for path in sorted((folder / run).glob(FILE_NAME.format(split="*")))
    ]
