"""Search for the value of a key that is nearest to a number of parameters."""

import json
from dataclasses import replace

import pytest

from model import accounting
from scaling.config import check, load
from scaling.config.load import ConfigError
from scaling.config.run_config import RunConfig
from scaling.planning.match_parameters import nearest_value, parse_count
from tests.helpers.clone import CLONE
from tests.helpers.command import scaling_in_new_process

RUNS = CLONE / "configs" / "runs"


def run_of(name, *overrides):
    return load.run(RUNS / f"{name}.yaml", overrides)


def with_value(config, key, value):
    model = replace(config.model, **{key.removeprefix("model."): value})
    return config.model_copy(update={"model": model})


def count(config):
    return sum(accounting.parameters(config.model).values())


def nearest_of_all(config, key, wanted, values):
    """Return the nearest value by trying all of them."""
    others = [with_value(config, key, value) for value in values]
    valid = [one for one in others if not check.problems(one, None)]
    return min(abs(count(one) - wanted) for one in valid)


def sentence_of(config, key, wanted):
    with pytest.raises(ConfigError) as raised:
        nearest_value(config, key, wanted)
    (sentence,) = raised.value.problems
    return sentence


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *(("paper", f"model.{key}") for key in ("width", "layers", "heads", "head_size", "hidden")),
        *(("paper", f"model.{key}") for key in ("feed_forward", "chunk", "kernel", "levels")),
        *(("demo", f"model.{key}") for key in ("width", "recent", "recent_filters", "kernel")),
        ("sixteen_bits", "model.components"),
        *(("wavenet", f"model.{key}") for key in ("blocks", "layers", "embedding", "residual")),
        *(("wavenet", f"model.{key}") for key in ("gate", "skip", "end")),
        *(("samplernn", f"model.{key}") for key in ("width", "embedding")),
        *(("sashimi", f"model.{key}") for key in ("width", "layers", "state", "expand")),
        ("sashimi", "model.feed_forward_expand"),
    ],
)
@pytest.mark.parametrize("share", [0.8, 1.3])
def test_the_found_value_is_the_nearest_valid_one(name, key, share):
    config = run_of(name)
    wanted = round(count(config) * share)
    found = nearest_value(config, key, wanted)
    best = with_value(config, key, found.value)
    assert check.problems(best, None) == []
    assert found.parameters == count(best)
    distance = abs(found.parameters - wanted)
    last = 8_000 if key == "model.chunk" else 4_500
    assert distance == nearest_of_all(config, key, wanted, range(1, last + 1))


@pytest.mark.parametrize("filters", [(1, 1, 1, 1, 32), (2, 2, 2, 2, 16)])
def test_the_nearest_value_is_found_if_the_count_is_not_monotonic(filters):
    config = run_of("demo", f"model.filters={list(filters)}", "model.width=128")
    counts = [count(with_value(config, "model.kernel", kernel)) for kernel in range(1, 30)]
    assert counts != sorted(counts)
    for wanted in counts[:20]:
        found = nearest_value(config, "model.kernel", wanted + 1)
        distance = abs(found.parameters - wanted - 1)
        assert distance == nearest_of_all(config, "model.kernel", wanted + 1, range(1, 100))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("paper", "model.feed_forward"),
        ("wavenet", "model.embedding"),
        ("samplernn", "model.embedding"),
        ("sashimi", "model.state"),
    ],
)
def test_the_nearest_is_found_among_values_far_beyond_those_counted_one_by_one(name, key):
    config = run_of(name)
    exact = with_value(config, key, 1_000_000)
    for wanted in (count(exact) - 1, count(exact), count(exact) + 1):
        assert nearest_value(config, key, wanted).value == 1_000_000


@pytest.mark.parametrize("name", ["paper", "wavenet", "samplernn", "sashimi"])
def test_every_kind_of_model_comes_within_three_percent_of_the_papers_size(name):
    key = "model.end" if name == "wavenet" else "model.width"
    config = run_of(name, *(["model.skip=512"] if name == "wavenet" else []))
    found = nearest_value(config, key, 3_140_000)
    assert abs(found.percent) < 3
    assert found.percent == pytest.approx(100 * (found.parameters - 3_140_000) / 3_140_000)


def test_a_value_that_the_configuration_does_not_allow_is_passed_over():
    config = run_of("paper")
    wanted = count(with_value(config, "model.width", 129))
    assert nearest_value(config, "model.width", wanted).value in (128, 130)


def test_numbers_are_read_with_and_without_a_suffix():
    assert [parse_count(text) for text in ("3140000", "3.14M", "300k", "1B", "0.5k")] == [
        *(3_140_000, 3_140_000, 300_000, 10**9, 500)
    ]


@pytest.mark.parametrize("text", ["", "M", "3,14M", "-3M", "0", "0.0001", "3 M", "1e6", "9" * 5000])
def test_an_unreadable_number_is_refused_with_the_reason(text):
    with pytest.raises(ConfigError, match=r"--parameters is .*such as 3140000, 3.14M or 300k"):
        parse_count(text)


def test_an_unknown_key_is_refused_with_the_nearest_one():
    assert sentence_of(run_of("paper"), "model.widht", 10**6) == (
        "--vary model.widht is not a key of a model of the kind latent: the nearest is model.width"
    )


def test_a_key_that_is_no_integer_is_refused_with_the_integer_keys():
    for key, value in (("model.dropout", "0.1"), ("model.attention", "'bidirectional'")):
        sentence = sentence_of(run_of("paper"), key, 10**6)
        assert sentence.startswith(f"--vary {key} is not an integer ({value}): write one of model.")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("paper", "model.context"),
        ("paper", "model.recent_filters"),
        ("paper", "train.batch"),
        ("samplernn", "model.truncation"),
    ],
)
def test_a_key_that_does_not_change_the_count_is_refused_with_those_that_do(name, key):
    sentence = sentence_of(run_of(name), key, 10**6)
    assert sentence.startswith(f"--vary {key} does not change the parameter count: write one of ")
    assert "model.width" in sentence
    assert key not in sentence.partition("write one of")[2].split(", ")


@pytest.mark.parametrize(
    ("key", "wanted"), [("model.width", 100), ("model.hidden", 10**6), ("model.levels", 10**10)]
)
def test_a_count_that_no_value_reaches_within_a_factor_of_two_is_reported(key, wanted):
    config = run_of("paper")
    as_it_is = getattr(config.model, key.removeprefix("model."))
    sentence = sentence_of(config, key, wanted)
    assert f"found no valid value of {key} with {wanted:,} parameters" in sentence
    assert f"{key}={as_it_is} has 3,108,768" in sentence


def test_an_invalid_configuration_is_refused_as_without_the_option():
    config = RunConfig.model_validate(
        {"study": "s", "corpus": "c", "model": {"chunk": 3_000}, "train": {"batch": 4}}
    )
    with pytest.raises(ConfigError) as raised:
        nearest_value(config, "model.width", 10**6)
    assert raised.value.problems == check.problems(config, None)


def test_a_plan_for_a_parameter_count_prints_the_override_and_uses_it():
    asked = ("plan", "configs/runs/paper.yaml", "--parameters", "3.14M", "--vary", "model.width")
    done = scaling_in_new_process(*asked)
    assert done.returncode == 0
    assert done.stdout.startswith("model.width=130 has 3,140,038 parameters, +0.001 % off the ")
    typed = scaling_in_new_process("plan", "configs/runs/paper.yaml", "model.width=130")
    assert done.stdout.partition("\n")[2] == typed.stdout
    found = json.loads(scaling_in_new_process(*asked, "--json").stdout)
    assert found["match"]["value"] == 130
    assert sum(found["runs"][0]["parameters"].values()) == found["match"]["parameters"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--parameters", "1M"], "--parameters 1M needs the key that may change: add --vary"),
        (["--vary", "model.width"], "--vary model.width needs a number of parameters: add --par"),
    ],
)
def test_one_option_without_the_other_is_refused_with_the_missing_one(words, sentence):
    done = scaling_in_new_process("plan", "configs/runs/paper.yaml", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sentence}")
    assert len(done.stderr.splitlines()) == 1


def test_a_sweep_is_no_run_to_match():
    words = ("--parameters", "1M", "--vary", "model.width")
    done = scaling_in_new_process("plan", "configs/sweeps/demo.yaml", *words)
    assert done.returncode == 2
    assert "--parameters is for one run, and configs/sweeps/demo.yaml describes" in done.stderr
