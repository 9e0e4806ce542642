"""The train state: the position of a run in its sequence of steps."""

import hashlib
import json
from dataclasses import dataclass, replace

from scaling.config.run_config import RunConfig, TrainConfig


@dataclass(frozen=True)
class TrainState:
    """Steps taken, their seconds, the digest of their windows' order, and the best validation.

    The seconds exclude the waits until the stream is filled. The held-out targets were last scored
    after step ``validated``. Their lowest loss was ``best_nats``, after step ``best``. Since then,
    and since the learning rate fell, they were scored ``waited`` times.
    """

    step: int = 0
    order_digest: str = ""
    seconds: float = 0.0
    validated: int = 0
    best: int = 0
    best_nats: float | None = None
    waited: int = 0

    def advanced(self, windows: list[int], seconds: float) -> "TrainState":
        """Return the state one step later, after the global batch of these windows, in order."""
        content = json.dumps([self.order_digest, self.step, windows])
        digest = hashlib.sha256(content.encode()).hexdigest()
        return replace(
            self, step=self.step + 1, order_digest=digest, seconds=self.seconds + seconds
        )

    def scored(self, nats: float, train: TrainConfig) -> "TrainState":
        """Return the state after the held-out targets were scored."""
        if self.best_nats is None or nats < self.best_nats:
            return replace(self, validated=self.step, best=self.step, best_nats=nats, waited=0)
        return replace(self, validated=self.step, waited=self.waited + self.in_second_phase(train))

    def share(self, train: TrainConfig) -> float:
        """Return the share of the run that is done, 0 to 1: the larger of steps and seconds."""
        of_seconds = self.seconds / train.seconds if train.seconds else 0.0
        return max(self.step / train.steps, of_seconds)

    def in_second_phase(self, train: TrainConfig) -> bool:
        """Return whether the next step uses the second learning rate."""
        return self.share(train) >= train.second_phase

    def out_of_patience(self, config: RunConfig) -> bool:
        """Return whether early stopping ends the run."""
        patience = config.validation.patience
        return patience is not None and self.waited >= patience

    def ended(self, config: RunConfig) -> bool:
        """Return whether no step is left."""
        return self.share(config.train) >= 1 or self.out_of_patience(config)
