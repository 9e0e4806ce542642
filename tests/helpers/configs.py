"""Configurations for several tests."""

import pytest

from scaling.config.load import ConfigError
from tests.helpers.clone import CLONE

DEMO = CLONE / "configs/runs/demo.yaml"


def problems(call, *arguments):
    with pytest.raises(ConfigError) as refused:
        call(*arguments)
    return refused.value.problems
