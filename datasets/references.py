"""Two plain predictors to compare every loss with: the code histogram and a linear AR(32).

The linear predictor is fitted to the codes by least squares, through normal equations that are
summed block by block. Its residual is a discretised logistic (Salimans et al. 2017, "PixelCNN++",
section 2.1): ``P(q) = sigmoid((q + 1/2 - m) / s) - sigmoid((q - 1/2 - m) / s)``, open at the first
and the last code, with the scale s fitted by maximum likelihood.
"""

import numpy as np
import scipy

from datasets.manifest import Reference

ORDER = 32
LEVELS = 256
BLOCK = 2**16
MIN_SCALE, MAX_SCALE = 1e-2, 1e3


def histogram_bits(counts: np.ndarray) -> float:
    """Return the entropy in bits of code counts [levels]."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def count_pairs(codes: np.ndarray) -> np.ndarray:
    """Count [256, 256] (int64) how often each 8-bit code (row) precedes another (column)."""
    joint = codes[:-1].astype(np.uint16) * LEVELS + codes[1:]
    return np.bincount(joint, minlength=LEVELS * LEVELS).reshape(LEVELS, LEVELS)


def pair_bits(counts: np.ndarray) -> float:
    """Return the entropy in bits of a code given the one before it, from counts of pairs.

    Shannon 1948, "A Mathematical Theory of Communication", section 6: H(x, y) - H(x). ``counts`` is
    [levels, levels].
    """
    return histogram_bits(counts.ravel()) - histogram_bits(counts.sum(1))


def gram_matrix(codes: np.ndarray, levels: int = LEVELS, order: int = ORDER) -> np.ndarray:
    """Return the sums of products [order + 2, order + 2] for the least squares of codes[order:].

    Rows and columns are the ``order`` codes before the target, newest first, a constant 1, and the
    target. Codes are centred on the middle level: the equations are well conditioned and, with 256
    levels, all sums are whole numbers that float64 represents exactly, for any choice of blocks.
    """
    centred = codes.astype(np.float64) - levels // 2
    rows = np.lib.stride_tricks.sliding_window_view(centred, order + 1)
    design = np.empty((len(rows), order + 2))
    design[:, :order] = rows[:, order - 1 :: -1]
    design[:, order] = 1.0
    design[:, order + 1] = rows[:, order]
    return np.asarray(design.T @ design)


def fit_linear(gram: np.ndarray, levels: int = LEVELS) -> Reference:
    """Fit the least-squares predictor of a :func:`gram_matrix`; its scale is 1.

    If the audio leaves the coefficients open (silence), they are the smallest ones. Use
    :func:`fit_scale` for the scale.
    """
    solution = np.linalg.lstsq(gram[:-1, :-1], gram[:-1, -1], rcond=None)[0]
    coefficients, intercept = solution[:-1], solution[-1]
    uncentred = intercept + levels // 2 * (1.0 - coefficients.sum())
    return Reference(len(coefficients), tuple(coefficients.tolist()), float(uncentred), 1.0)


def predict_centres(codes: np.ndarray, reference: Reference) -> np.ndarray:
    """Return centres [..., n] of codes[..., order:], each from the ``order`` codes before it."""
    past = np.lib.stride_tricks.sliding_window_view(
        codes[..., :-1].astype(np.float64), reference.order, axis=-1
    )
    return np.asarray(past @ np.array(reference.coefficients)[::-1] + reference.intercept)


def discretised_logistic_nats(
    codes: np.ndarray, centre: np.ndarray, scale: float, levels: int = LEVELS
) -> np.ndarray:
    """Return the negative log-likelihood [...], in nats, of codes [...] around centres [...].

    ``sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(-(a - b)))`` with ``a - b = 1 / s``
    keeps every digit far out in the tails.
    """
    upper = scipy.special.log_expit((codes + 0.5 - centre) / scale)
    lower = scipy.special.log_expit((centre - codes + 0.5) / scale)
    inside = upper + lower + np.log(-np.expm1(-1.0 / scale))
    return np.asarray(-np.where(codes == 0, upper, np.where(codes == levels - 1, lower, inside)))


def linear_nats(runs: np.ndarray, reference: Reference, levels: int = LEVELS) -> np.ndarray:
    """Return the nats [...] of the last code of each run [..., order + 1]."""
    centres = predict_centres(runs, reference)[..., 0]
    return discretised_logistic_nats(runs[..., -1], centres, reference.scale, levels)


def fit_scale(codes: np.ndarray, centres: np.ndarray, levels: int = LEVELS) -> float:
    """Return the logistic scale, in codes, of greatest likelihood for codes [n] around centres [n].

    The search is logarithmic, from 0.01 to 1000 codes; with more than 256 levels the upper bound
    grows in proportion.
    """

    def mean_nats(log_scale: float) -> float:
        return float(discretised_logistic_nats(codes, centres, np.exp(log_scale), levels).mean())

    best = scipy.optimize.minimize_scalar(
        mean_nats,
        bounds=(np.log(MIN_SCALE), np.log(MAX_SCALE * levels / LEVELS)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(best.x))
