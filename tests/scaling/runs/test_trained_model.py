import pytest
from safetensors.torch import save_file

from model.network import LatentTransformer
from scaling.runs.trained_model import WEIGHTS_NAME, TrainedModel, TrainedModelError
from tests.helpers.architectures import small
from tests.helpers.trained import trained


def test_a_run_loads_in_eval_mode_with_the_weights_that_were_saved(embedded_corpus, tmp_path):
    run = trained(embedded_corpus, tmp_path)
    again = TrainedModel.load(tmp_path)
    assert not again.network.training
    assert again.config == run.config
    for name, tensor in run.network.state_dict().items():
        assert tensor.equal(again.network.state_dict()[name])


def test_a_folder_without_a_record_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(TrainedModelError, match=r"not a finished run: name a run's folder"):
        TrainedModel.load(tmp_path)


@pytest.mark.fault(
    "Checkpoints",
    "a run's weights are missing or belong to another model",
    "an error names the problem",
)
@pytest.mark.parametrize("wrong", ["bytes", "architecture", "missing"])
def test_weights_that_are_not_the_runs_are_refused(embedded_corpus, tmp_path, wrong):
    trained(embedded_corpus, tmp_path)
    path = tmp_path / WEIGHTS_NAME
    if wrong == "bytes":
        path.write_bytes(b"no weights")
    elif wrong == "missing":
        path.unlink()
    else:
        save_file(LatentTransformer(small(layers=5)).state_dict(), path)
    with pytest.raises(TrainedModelError, match="train the run again"):
        TrainedModel.load(tmp_path)


def test_a_record_whose_configuration_is_not_read_is_refused(embedded_corpus, tmp_path):
    run = trained(embedded_corpus, tmp_path)
    config = {**run.record.config, "unknown": 1}
    run.record.model_copy(update={"config": config}).write(tmp_path)
    with pytest.raises(TrainedModelError, match="whose configuration this one does not read"):
        TrainedModel.load(tmp_path)
