"""Points of a fit: covariates, losses, and the configuration of each row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scaling.fitting.slope import Floats, Numbers, check_positive, number_labels


@dataclass(frozen=True)
class Points:
    """Rows to fit.

    ``x`` has shape (rows, columns): positive values of the columns ``names``. ``loss`` has shape
    (rows,) in the table's unit. ``member`` (rows,) is the number of each row's configuration. A
    configuration is the unit of evidence: its rows are redrawn and left out together.
    """

    names: tuple[str, ...]
    x: Floats
    loss: Floats
    member: Numbers

    @classmethod
    def of(
        cls, columns: dict[str, Floats], loss: Floats, labels: Sequence[object] | None = None
    ) -> "Points":
        """Return the points of these columns, each of shape (rows,).

        Without ``labels``, rows with the same covariates are one configuration.
        """
        x = np.column_stack([np.asarray(column, float) for column in columns.values()])
        for name, values in [*zip(columns, x.T, strict=True), ("the loss", loss)]:
            check_positive(name, values)
        keys: Sequence[object] = list(map(tuple, x.tolist())) if labels is None else labels
        return cls(tuple(columns), x, np.asarray(loss, float), number_labels(keys))

    @cached_property
    def centres(self) -> Floats:
        """Geometric mean of each column, shape (columns,)."""
        return np.asarray(np.exp(np.log(self.x).mean(axis=0)))

    @cached_property
    def position(self) -> Floats:
        """Logarithms of the columns about their centres, shape (rows, columns)."""
        return np.asarray(np.log(self.x) - np.log(self.x).mean(axis=0))

    @cached_property
    def num_configurations(self) -> int:
        """Number of different configurations."""
        return len(np.unique(self.member))

    def without(self, name: str) -> "Points":
        """Return the same rows and configurations without one column."""
        kept = [index for index, other in enumerate(self.names) if other != name]
        names = tuple(self.names[index] for index in kept)
        return replace(self, names=names, x=self.x[:, kept])
