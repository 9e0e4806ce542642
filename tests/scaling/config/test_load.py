import re

import pytest
import yaml

from scaling.config import load
from scaling.config.run_config import RunConfig, SweepSection
from tests.helpers.clone import CLONE
from tests.helpers.configs import DEMO, problems

TWINS = CLONE / "configs/runs/twins"


@pytest.mark.fault(
    "Configurations",
    "a key is misspelt",
    "it is refused with the nearest known key, before anything starts",
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one():
    assert problems(load.run, DEMO, ["model.layres=3"]) == [
        "model.layres = 3 is not a key of the configuration: the nearest is model.layers"
    ]
    assert "the nearest is windows" in problems(load.run, DEMO, ["window.per_window=3"])[0]


@pytest.mark.parametrize(
    ("kind", "wrong", "nearest"),
    [
        ("wavenet", "skpi", "skip"),
        ("samplernn", "codex", "codec"),
        ("sashimi", "pool", "pools"),
        ("longwave", "chunks", "chunk"),
    ],
)
def test_the_nearest_key_of_a_model_is_one_of_its_own_kind(kind, wrong, nearest):
    assert problems(load.run, TWINS / f"{kind}.yaml", [f"model.{wrong}=3"]) == [
        f"model.{wrong} = 3 is not a key of the configuration: the nearest is model.{nearest}"
    ]


def test_a_key_of_another_kind_is_no_key_of_a_model():
    (problem,) = problems(load.run, TWINS / "wavenet.yaml", ["model.heads=3"])
    assert problem.startswith("model.heads = 3 is not a key of the configuration")
    found = problems(load.run, DEMO, ["model.kind=wavenet"])
    assert any(problem.startswith("model.chunk = 2000 is not a key") for problem in found)


def test_an_unknown_kind_is_refused_with_all_kinds():
    assert problems(load.run, DEMO, ["model.kind=wavnet"]) == [
        "model.kind is 'wavnet': write one of latent, wavenet, samplernn, sashimi"
    ]


def test_a_value_of_a_model_is_named_without_its_kind():
    assert problems(load.run, TWINS / "wavenet.yaml", ["model.skip=x"]) == [
        "model.skip is 'x': input should be a valid integer, unable to parse string as an integer"
    ]
    (problem,) = problems(load.run, TWINS / "samplernn.yaml", ["model.codec=alaw"])
    assert problem == "model.codec is 'alaw': input should be 'mulaw' or 'linear'"


@pytest.mark.parametrize("kind", ["wavenet", "samplernn", "sashimi", "longwave"])
def test_a_resolved_configuration_is_the_same_run(kind):
    run = load.run(TWINS / f"{kind}.yaml")
    assert run.model.kind == ("latent" if kind == "longwave" else kind)
    assert RunConfig.model_validate(run.resolved()) == run


@pytest.mark.fault(
    "Configurations",
    "several values are wrong",
    "all are reported at once, with the values seen",
)
def test_all_problems_are_reported_at_once_with_their_values():
    overrides = ["model.layres=3", "train.zero=7", "seed=-1", "study=../up"]
    found = "\n".join(problems(load.run, DEMO, overrides))
    for words in ("model.layers", "train.zero is 7", "seed is -1", "study is '../up'"):
        assert words in found


def test_an_override_replaces_one_value_and_leaves_its_neighbours():
    changed = load.run(DEMO, ["model.layers=6", "model.filters=[1, 2, 3, 4, 5]"])
    assert changed.model.layers == 6
    assert changed.model.filters == (1, 2, 3, 4, 5)
    assert changed.model.width == load.run(DEMO).model.width


def test_a_word_that_is_no_override_is_refused():
    assert "write key=value" in problems(load.run, DEMO, ["model.layers"])[0]


def test_a_file_extends_another_once(tmp_path):
    (tmp_path / "base.yaml").write_text("study: a\ncorpus: c\nmodel: {layers: 2, width: 64}\n")
    (tmp_path / "top.yaml").write_text("extends: base.yaml\nmodel: {layers: 4}\n")
    (tmp_path / "third.yaml").write_text("extends: top.yaml\n")
    run = load.run(tmp_path / "top.yaml")
    assert (run.model.layers, run.model.width) == (4, 64)
    assert "one level is allowed" in problems(load.run, tmp_path / "third.yaml")[0]


@pytest.mark.fault(
    "Configurations",
    "a file is no configuration, or is missing",
    "the error names it with the reason",
)
@pytest.mark.parametrize(
    ("text", "words"), [("a: [", "not valid YAML"), ("- 1", "keys and values"), (None, "be read")]
)
def test_a_file_that_is_no_configuration_is_named_with_the_reason(tmp_path, text, words):
    path = tmp_path / "run.yaml"
    if text is not None:
        path.write_text(text)
    (found,) = problems(load.run, path)
    assert str(path) in found
    assert words in found


def test_the_id_depends_on_the_result_and_not_on_the_cluster():
    run = load.run(DEMO)
    assert run.id == load.run(DEMO, ["cluster.workers=2", "cluster.storage=/elsewhere"]).id
    assert run.id != load.run(DEMO, ["seed=1"]).id
    assert run.id != load.run(DEMO, ["train.steps=81"]).id


def test_the_id_is_the_same_in_every_process():
    assert load.run(DEMO, ["study=pinned", "seed=5"]).id == "ccc431bc0939"


def test_a_sweep_is_its_grid_and_its_points(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        f"extends: {DEMO}\nsweep:\n  grid: {{model.chunk: [2000, 4000], model.layers: [1, 2]}}\n"
        "  points:\n    - {seed: 1, model.chunk: 4000}\n    - {model.chunk: 2000}\n"
    )
    sweep = load.sweep(path)
    assert [axes for axes, _ in sweep.runs] == [
        {"model.chunk": 2000, "model.layers": 1, "seed": 0},
        {"model.chunk": 2000, "model.layers": 2, "seed": 0},
        {"model.chunk": 4000, "model.layers": 1, "seed": 0},
        {"model.chunk": 4000, "model.layers": 2, "seed": 0},
        {"model.chunk": 4000, "model.layers": 1, "seed": 1},
    ]
    assert len({run.id for _, run in sweep.runs}) == 5


def test_a_swept_key_that_does_not_exist_is_refused_once(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(f"extends: {DEMO}\nsweep: {{grid: {{model.layres: [1, 2]}}}}\n")
    assert all("model.layers" in problem for problem in problems(load.sweep, path))


def test_a_run_file_is_a_sweep_of_one_and_a_sweep_is_no_run():
    assert len(load.sweep(DEMO).runs) == 1
    sweep = CLONE / "configs/sweeps/demo.yaml"
    assert "scaling sweep" in problems(load.run, sweep)[0]


def test_a_corpus_is_loaded_with_its_split():
    corpus = load.corpus(CLONE / "configs/corpora/embedded.yaml")
    assert corpus.split.rule == "time"
    assert corpus.destination == "data/embedded"


def test_split_fractions_that_do_not_add_up_to_one_are_refused_early():
    path = CLONE / "configs/corpora/embedded.yaml"
    (problem,) = problems(load.corpus, path, ["split.fractions=[0.5, 0.2, 0.2]"])
    assert "sum to 1" in problem


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["scaling=chunk"], "scaling 'chunk' with a chunk of 0 samples is not possible: "),
        (["chunk=5"], "scaling 'none' with a chunk of 5 samples is not possible: "),
        (["levels=65536"], "codec 'mulaw' with 65536 levels is not known: write 256 levels"),
        (["levels=300"], "levels is 300: input should be 256 or 65536"),
        (["split.rule=table"], "split is {'rule': 'table', 'fractions': [0.7, 0.15, 0.15]}: split"),
        (["split.rule=random"], "split.rule is 'random': input should be 'order', 'time', 'hash'"),
        (["augment.copies=2"], "2 changed copies with "),
        (["augment.polarity=true"], "0 changed copies with "),
        (["augment.gain=99"], "augment.gain is 99: input should be less than or equal to 40"),
        (
            ["augment.pich=3"],
            "augment.pich = 3 is not a key of the configuration: the nearest is au",
        ),
        (["expect.splits=[1, 2]"], "expect.splits.2 is missing: write a value for it"),
        (["expect.files=0"], "expect.files is 0: input should be greater than or equal to 1"),
    ],
)
def test_an_impossible_corpus_is_refused_with_the_reason(overrides, sentence):
    (problem,) = problems(load.corpus, CLONE / "configs/corpora/embedded.yaml", overrides)
    assert problem.startswith(sentence)
    assert "sunflower" not in problem


@pytest.mark.parametrize("override", ["model.kind=null", "model=3"])
def test_a_model_without_a_kind_is_refused_in_our_words(override):
    (problem,) = problems(load.run, DEMO, [override])
    assert "discriminator" not in problem
    assert "filters" not in problem


def test_the_sweep_of_the_documents_is_one():
    (text,) = re.findall(r"```yaml\n(.*?)```", (CLONE / "docs/sweeps.md").read_text(), re.DOTALL)
    section = SweepSection.model_validate(yaml.safe_load(text)["sweep"])
    assert load._search_problems(section) == []


def test_scales_cannot_be_searched_and_rungs_rise(tmp_path):
    section = {
        "search": {"model.layers": [1, 2], "train.learning_rate": [1, 2]},
        "rungs": [0.5, 0.2],
    }
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"study": "s", "corpus": "c", "sweep": section}))
    first, second = problems(load.sweep, path)
    assert first.startswith("sweep.search has model.layers, but only train.learning_rate, ")
    assert second.startswith("sweep.rungs is [0.5, 0.2], but must have one or more shares of the ")


def test_runs_that_differ_in_searched_axes_alone_are_one_cell(tmp_path):
    grid, search = {"seed": [0, 1]}, {"train.learning_rate": [1e-3, 1e-2, 1e-1]}
    path = tmp_path / "s.yaml"
    content = {"study": "s", "corpus": "c", "sweep": {"grid": grid, "search": search}}
    path.write_text(yaml.safe_dump(content))
    sweep = load.sweep(path)
    assert [[run.seed for run in cell] for cell in sweep.cells] == [[0] * 3, [1] * 3]
    assert [run.train.learning_rate for run in sweep.cells[0]] == [1e-3, 1e-2, 1e-1]
    assert sweep.rungs == (0.25, 0.5)
    assert sweep.cell_axes(sweep.runs[-1][0]) == {"seed": 1}
