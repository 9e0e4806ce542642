import json

from scaling.feeds import (
    SNAPSHOT_NAME,
    checkpointed_steps,
    held_out_stream,
    training_dataset,
    training_stream,
)
from scaling.train import make_job
from tests.runs import small_run


def test_held_out_windows_do_not_depend_on_seed_context_or_workers(embedded_corpus, tmp_path):
    def indexes(**changes):
        run = small_run(embedded_corpus, tmp_path, windows__history=4_000, **changes)
        stream = held_out_stream(run, embedded_corpus)
        return stream.indexes(stream.positions(0, 0))[0], stream.windows.offsets([3])[1].tolist()

    assert indexes() == indexes(seed=7, model__context=2_000, cluster__workers=2)


def test_the_seed_changes_the_order_of_training(embedded_corpus, tmp_path):
    one, other = (
        training_stream(small_run(embedded_corpus, tmp_path, seed=seed), embedded_corpus)
        for seed in (0, 1)
    )
    positions = one.positions(0, 0)
    assert one.indexes(positions).tolist() != other.indexes(positions).tolist()


def test_the_stream_goes_on_from_the_newest_checkpoint(embedded_corpus, tmp_path):
    job = make_job(small_run(embedded_corpus, tmp_path), {})
    assert checkpointed_steps(job.run_folder) == 0
    job.run_folder.mkdir(parents=True)
    newest = {"checkpoint_dir_name": "c", "metrics": {"step": 6}}
    (job.run_folder / SNAPSHOT_NAME).write_text(json.dumps({"latest_checkpoint_result": newest}))
    assert checkpointed_steps(job.run_folder) == 6
    assert training_dataset(job).count() == 2 * 4
