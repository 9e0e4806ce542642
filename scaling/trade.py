"""What the operations of a longer context would buy, spent on a larger model instead."""

import numpy as np

from scaling.budgets import WIDTH
from scaling.fit import Fit
from scaling.series import CONTEXT, PANEL, setting_of
from scaling.slope import Floats
from scaling.study_cost import BEYOND, PARAMETERS, TARGETS, Sizes, priced

LEVELS = 60


def instead_of_context(
    fit: Fit, sizes: Sizes, row: Floats, contexts: Floats
) -> tuple[str, Floats] | None:
    """Nats that the operations of one more doubling of context buy in another size.

    ``row`` holds the fit's columns at the run that stays as it is; each of the contexts (samples)
    is doubled in turn. The other size is the parameters, the depth or the width, whichever is a
    column: its name comes back with the gains, shape (contexts,). None where none of them is one.
    """
    names = {column: name for name, column in sizes.columns.items()}
    other = next((column for column in (PARAMETERS, PANEL, WIDTH) if column in names), None)
    if other is None:
        return None
    key = WIDTH if other == PARAMETERS else other
    place = fit.points.names.index
    usual = {
        column: round(row[place(name)])
        for column, name in names.items()
        if column not in (TARGETS, PARAMETERS, CONTEXT)
    }
    start = usual.get(key, setting_of(sizes.config.resolved(), key))
    levels = np.unique(np.geomspace(start, BEYOND[1] * start, LEVELS).round().astype(int))
    gains = []
    for context in contexts:
        here = usual | {CONTEXT: round(context)}
        grown = [priced(sizes.config, {**here, key: int(level)}) for level in levels]
        doubled = priced(sizes.config, {**here, key: int(start), CONTEXT: 2 * round(context)})
        bought = np.log([one[other] for one in grown])
        growth = np.interp(
            np.log(doubled["cost"]), np.log([one["cost"] for one in grown]), bought - bought[0]
        )
        both = np.tile(row, (2, 1))
        both[:, place(names[CONTEXT])] = context
        both[1, place(names[other])] *= np.exp(growth)
        before, after = fit.at(both)
        gains.append(float(before - after))
    return names[other], np.array(gains)
