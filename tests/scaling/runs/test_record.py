import math

import pytest

from scaling.runs.record import RecordError, RunRecord, bits
from tests.helpers.records import run


def test_bits_are_nats_over_the_logarithm_of_two():
    assert bits(math.log(2)) == 1
    assert bits(math.log(256)) == pytest.approx(8)


def test_a_record_reads_back_as_it_was_written(tmp_path):
    record = run({"seed": 0}, 3.3)
    path = record.write(tmp_path)
    assert RunRecord.read(path) == record
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("text", ["", "{}", '{"id": 3}', "not json", "[" * 200_000])
def test_an_unusable_record_is_named_with_the_reason(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(RecordError, match="is not a usable run record"):
        RunRecord.read(path)


def test_a_record_with_an_unknown_key_is_refused(tmp_path):
    path = run({"seed": 0}, 3.3).write(tmp_path)
    path.write_text(path.read_text().replace('"restarts"', '"restart"'))
    with pytest.raises(RecordError, match="restart"):
        RunRecord.read(path)


def test_the_first_of_many_problems_of_a_record_is_reported(tmp_path):
    path = run({"seed": 0}, 3.3).write(tmp_path)
    path.write_text(path.read_text().replace('"restarts": []', f'"restarts": {[0] * 1_000}'))
    with pytest.raises(
        RecordError, match=r"restarts\.0: Input should be .*, and 999 more"
    ) as error:
        RunRecord.read(path)
    assert "\n" not in str(error.value)
