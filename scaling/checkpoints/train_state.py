"""Where a run stands in its sequence of steps."""

import hashlib
import json
from dataclasses import dataclass, replace

from scaling.config.run_config import RunConfig, TrainConfig


@dataclass(frozen=True)
class TrainState:
    """Where a run stands: steps done, their seconds, and the digest of the order of their windows.

    The seconds are without the waits for the stream to fill. The held-out targets were last scored
    after step ``validated``, and were best after ``best`` with ``best_nats``: since then, and since
    the learning rate fell, they were scored ``waited`` times.
    """

    step: int = 0
    order_digest: str = ""
    seconds: float = 0.0
    validated: int = 0
    best: int = 0
    best_nats: float | None = None
    waited: int = 0

    def advanced(self, windows: list[int], seconds: float) -> "TrainState":
        """The place one step on, after the global batch of these windows, in order."""
        content = json.dumps([self.order_digest, self.step, windows])
        digest = hashlib.sha256(content.encode()).hexdigest()
        return replace(
            self, step=self.step + 1, order_digest=digest, seconds=self.seconds + seconds
        )

    def scored(self, nats: float, train: TrainConfig) -> "TrainState":
        """The same place with the held-out targets scored."""
        if self.best_nats is None or nats < self.best_nats:
            return replace(self, validated=self.step, best=self.step, best_nats=nats, waited=0)
        return replace(self, validated=self.step, waited=self.waited + self.in_second_phase(train))

    def share(self, train: TrainConfig) -> float:
        """How much of the run is done, from 0 to 1: of its steps, or of its seconds if more."""
        of_seconds = self.seconds / train.seconds if train.seconds else 0.0
        return max(self.step / train.steps, of_seconds)

    def in_second_phase(self, train: TrainConfig) -> bool:
        """Whether the next step has the second learning rate."""
        return self.share(train) >= train.second_phase

    def out_of_patience(self, config: RunConfig) -> bool:
        """Whether the held-out loss has been no better for too long."""
        patience = config.validation.patience
        return patience is not None and self.waited >= patience

    def ended(self, config: RunConfig) -> bool:
        """Whether no step is left."""
        return self.share(config.train) >= 1 or self.out_of_patience(config)
