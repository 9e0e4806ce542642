import pytest

from datasets.files import replacing


def test_a_finished_write_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with replacing(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before"
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file", "after")]


@pytest.mark.fault(
    "Sweeps and records",
    "a write of a record or a report fails",
    "the earlier file stays",
)
def test_a_failed_write_keeps_the_earlier_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file", "before")]
