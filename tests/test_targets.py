from scaling.targets import held_out_windows, training_windows
from tests.runs import small_run


def test_training_and_held_out_targets_are_disjoint(embedded_corpus, tmp_path):
    run = small_run(embedded_corpus, tmp_path)
    trained, held_out = (
        windows_of(run, embedded_corpus) for windows_of in (training_windows, held_out_windows)
    )
    (cut,) = {begin for begin, _ in held_out.ranges}
    _, last = trained.offsets([len(trained) - 1])
    _, first = held_out.offsets([0])
    assert last.max() < cut <= first.min()


def test_windows_are_as_long_as_the_configuration_says(embedded_corpus, tmp_path):
    run = small_run(embedded_corpus, tmp_path)
    assert training_windows(run, embedded_corpus).length == 4_000 + 2 * 500 + 1
    assert held_out_windows(run, embedded_corpus).length == 4_000 + 3 * 1_000 + 1
