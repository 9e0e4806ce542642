from scaling.config import TrainConfig
from scaling.engine import Place, learning_rate


def test_the_learning_rate_has_two_phases():
    train = TrainConfig(steps=10, second_phase=0.7, learning_rate=1.0, second_learning_rate=0.1)
    assert [learning_rate(train, step) for step in range(10)] == [1.0] * 7 + [0.1] * 3


def test_the_papers_rates_are_the_default():
    assert learning_rate(TrainConfig(), 249_999) == 1e-4
    assert learning_rate(TrainConfig(), 250_000) == 0.5e-5


def test_the_order_digest_tells_orders_apart():
    start = Place()
    one = start.after([1, 2]).after([3, 4])
    assert one == start.after([1, 2]).after([3, 4])
    assert one.step == 2
    others = [start.after([2, 1]).after([3, 4]), start.after([3, 4]).after([1, 2])]
    assert one.order_digest not in {other.order_digest for other in others}
