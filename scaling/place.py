"""Where a run stands in its sequence of steps."""

import hashlib
import json
from dataclasses import dataclass

from scaling.config import TrainConfig


@dataclass(frozen=True)
class Place:
    """Where a run stands: steps done, their seconds, and the digest of the order of their windows.

    The seconds are without the waits for the stream to fill.
    """

    step: int = 0
    order_digest: str = ""
    seconds: float = 0.0

    def after(self, windows: list[int], seconds: float) -> "Place":
        """The place one step on, after the global batch of these windows, in order."""
        content = json.dumps([self.order_digest, self.step, windows])
        digest = hashlib.sha256(content.encode()).hexdigest()
        return Place(self.step + 1, digest, self.seconds + seconds)

    def share(self, train: TrainConfig) -> float:
        """How much of the run is done, from 0 to 1: of its steps, or of its seconds if more."""
        of_seconds = self.seconds / train.seconds if train.seconds else 0.0
        return max(self.step / train.steps, of_seconds)
