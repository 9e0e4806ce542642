import pytest
import torch

from model.codes import code_amplitudes
from model.network import ChunkEncoder
from tests.helpers.architectures import small

CHUNKS = (343, 500, 777, 1000, 2000)


def directly_encoded(encoder: ChunkEncoder, chunk: torch.Tensor) -> torch.Tensor:
    """Encode one chunk (C,), each output as a sum over the samples that end at its position."""
    x_FT = code_amplitudes(chunk, 256, torch.float64)[None]
    for convolution in encoder.stack.layers:
        kernel, stride = convolution.kernel_size[0], convolution.stride[0]
        ends = list(range(x_FT.shape[1], kernel - 1, -stride))[::-1]
        columns = [
            torch.einsum("fik,ik->f", convolution.weight, x_FT[:, end - kernel : end])
            + convolution.bias
            for end in ends
        ]
        x_FT = torch.stack(columns, 1).relu()
    return encoder.stack.projection.weight @ x_FT.flatten() + encoder.stack.projection.bias


@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_encoder_equals_a_direct_sum_aligned_to_the_newest_sample(chunk):
    torch.manual_seed(0)
    encoder = ChunkEncoder(small(chunk=chunk, context=chunk)).double()
    codes = torch.randint(0, 256, (3, chunk))
    expected = torch.stack([directly_encoded(encoder, row) for row in codes])
    torch.testing.assert_close(encoder(codes), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_newest_sample_of_a_chunk_is_seen(chunk):
    torch.manual_seed(0)
    encoder = ChunkEncoder(small(chunk=chunk, context=chunk))
    codes = torch.randint(0, 200, (1, chunk))
    changed = codes.clone()
    changed[0, -1] += 50
    assert not torch.equal(encoder(codes), encoder(changed))


def test_amplitude_spans_minus_one_to_one():
    codes = torch.tensor([0, 255], dtype=torch.uint8)
    assert code_amplitudes(codes, 256, torch.float32).tolist() == [-1, 1]
