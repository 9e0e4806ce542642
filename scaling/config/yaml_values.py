"""The values that a YAML text says."""

from typing import Any

import yaml

MOST_VALUES = 100_000
"""Of one file: an alias stands for all that it names, and a few lines of them for 2^64 values."""


def parse_yaml(text: str) -> Any:
    """What YAML says; ValueError where it is none, or says more than ``MOST_VALUES`` values."""
    try:
        content = yaml.safe_load(text)
    except Exception as error:
        # PyYAML raises its own errors, and whatever Python does where it makes a value.
        raise ValueError(str(error) or type(error).__name__) from error
    waiting, count = [content], 0
    while waiting and count <= MOST_VALUES:
        value = waiting.pop()
        count += 1
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
    if waiting:
        raise ValueError(f"with its aliases it has over {MOST_VALUES:,} values")
    return content
