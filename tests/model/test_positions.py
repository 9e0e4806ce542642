import torch

from model.positions import rotate, rotations, sinusoids, turning_rates

RATES = turning_rates(8)


def test_a_latent_has_the_same_position_in_every_shorter_context():
    torch.testing.assert_close(sinusoids(64, 8)[-5:], sinusoids(5, 8), rtol=0, atol=0)


def test_positions_differ_from_one_latent_to_the_next():
    assert torch.cdist(sinusoids(512, 48), sinusoids(512, 48)).fill_diagonal_(1).min() > 0.1


def test_products_of_rotated_vectors_depend_on_the_difference_of_indexes_alone():
    torch.manual_seed(0)
    query, key = torch.randn(2, 8, dtype=torch.float64)
    products = [
        rotate(query, rotations(torch.tensor([index]), RATES)[:, 0])
        @ rotate(key, rotations(torch.tensor([index - 7]), RATES)[:, 0])
        for index in (7, 20, 1_000)
    ]
    torch.testing.assert_close(products[1:], [products[0]] * 2, rtol=0, atol=1e-12)
    other = rotate(query, rotations(torch.tensor([7]), RATES)[:, 0]) @ key
    assert not torch.isclose(other, query @ key)


def test_a_rotation_keeps_the_length_of_a_vector():
    vector = torch.randn(5, 8, dtype=torch.float64)
    turned = rotate(vector, rotations(torch.arange(5), RATES))
    torch.testing.assert_close(turned.norm(dim=-1), vector.norm(dim=-1))
    torch.testing.assert_close(turned[0], vector[0])
