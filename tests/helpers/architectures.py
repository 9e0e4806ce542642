"""Small architectures shared by the tests: no dropout, few filters."""

from typing import Any

from model.architecture import Architecture

QUIET = {"dropout": 0.0, "encoder_dropout": 0.0, "head_dropout": 0.0, "token_drop": 0.0}
SMALL: dict[str, Any] = {
    "context": 2_000,
    "chunk": 500,
    "filters": (16, 14, 12, 10, 8),
    "width": 8,
    "layers": 2,
    "heads": 2,
    "head_size": 3,
    "feed_forward": 10,
    "hidden": 12,
    **QUIET,
}


def small(**changes: Any) -> Architecture:
    """Return a small architecture with the given changes."""
    return Architecture(**{**SMALL, **changes})
