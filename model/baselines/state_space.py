"""The state space of S4, as a long convolution and as a recurrence.

S4 is Gu et al. 2022, "Efficiently Modeling Long Sequences with Structured State Spaces" (arXiv
2111.00396). Each channel is a linear system, ``x' = A x + B u``, ``y = C x + D u``, with ``A =
diag(Lambda) - P P*``. The channels share Lambda, P and B, but not C, D and the step dt. In shapes,
D counts channels, N the numbers of a state, and M = N / 2 its conjugate pairs, of which one each is
stored.
"""

import math
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from model.baselines.shapes import kernel_shape

LAST_BLOCK = 512
"""Inputs that a state is advanced by at a time; a power of 2."""
SHORTEST_STEP, LONGEST_STEP = 1e-3, 1e-1
"""Range of a channel's initial dt, which is uniform in its logarithm."""


class Hippo(NamedTuple):
    """HiPPO-LegS as normal plus low rank: ``A = V (diag(Lambda) - P P*) V*``, ``B = V B'``.

    One of each conjugate pair, complex128: Lambda (M,), P (M,), B' (M,) and V (N, M).
    """

    eigenvalues_M: Tensor
    low_rank_M: Tensor
    input_M: Tensor
    basis_NM: Tensor


def legendre(state: int) -> tuple[Tensor, Tensor]:
    """Return A (N, N) and B (N,) of HiPPO-LegS (S4, equation 2), float64."""
    number_N = torch.arange(state, dtype=torch.float64)
    root_N = (2 * number_N + 1).sqrt()
    return -root_N.outer(root_N).tril(-1) - (number_N + 1).diag(), root_N


def hippo(state: int) -> Hippo:
    """Return HiPPO-LegS, diagonal except for rank 1 (S4, appendix C): ``P_n = sqrt(n + 1/2)``."""
    matrix_NN, input_N = legendre(state)
    low_rank_N = input_N / math.sqrt(2)
    identity_NN = torch.eye(state, dtype=torch.float64)
    # A + P P' is -1/2 plus a skew matrix; -i times that is Hermitian, a numerically stable problem.
    skew_NN = matrix_NN + low_rank_N.outer(low_rank_N) + identity_NN / 2
    frequency_N, basis_NN = torch.linalg.eigh(-1j * skew_NN)
    kept = slice(state // 2, None)
    basis_NM = basis_NN[:, kept]
    return Hippo(
        torch.complex(torch.full_like(frequency_N, -0.5), frequency_N)[kept],
        basis_NM.mH @ low_rank_N.to(basis_NM.dtype),
        basis_NM.mH @ input_N.to(basis_NM.dtype),
        basis_NM,
    )


class Recurrence(NamedTuple):
    """A state space sample by sample: the weights of :class:`StateSpace`, discretised.

    The bilinear step ``(1 - dt/2 A)^-1 ((1 + dt/2 A) x + dt B u)`` in 2 N products a channel. The
    low rank is subtracted after the diagonal, and in the inverse by Sherman-Morrison.
    """

    diagonal_DM: Tensor
    driven_DM: Tensor
    low_rank_M: Tensor
    before_DM: Tensor
    after_DM: Tensor
    output_DM: Tensor
    feedthrough_D: Tensor

    def start(self, batch: int) -> Tensor:
        """Return the state (B, D, M) of silence."""
        return self.output_DM.new_zeros(batch, *self.output_DM.shape)

    def step(self, state_BDM: Tensor, input_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output (B, D) for the next input (B, D), and the state afterwards."""
        conjugate_M = self.low_rank_M.conj()
        along_BD1 = _twice_real_sum(conjugate_M * state_BDM)
        moved_BDM = (
            self.diagonal_DM * state_BDM
            - self.before_DM * along_BD1
            + self.driven_DM * input_BD[..., None]
        )
        state_BDM = moved_BDM - self.after_DM * _twice_real_sum(conjugate_M * moved_BDM)
        output_BD = _twice_real_sum(self.output_DM * state_BDM)[..., 0]
        return output_BD + self.feedthrough_D * input_BD, state_BDM


class StateSpace(nn.Module):
    """D channels, each with a state of N, initialised as HiPPO-LegS: (B, D, T) to (B, D, T).

    C, D and Lambda = -exp(decay) + i frequency, which remains stable, are trained; dt, P and B are
    frozen as in Goel et al. 2022 (arXiv 2202.09729, appendix C.2). C itself is the weight: the
    authors' code trains C (1 - A^L) for one length L, but lengths vary here.
    """

    learning_factors: ClassVar[dict[str, float]] = {"decay": 0.25, "frequency": 0.25}
    """The authors train these at 0.001, and the rest at 0.004."""

    def __init__(self, channels: int, state: int) -> None:
        super().__init__()
        start = hippo(state)
        dtype = torch.get_default_dtype()
        # The authors' code starts 1e-3 below Re Lambda, so that the logarithm always exists.
        self.decay = nn.Parameter((1e-3 - start.eigenvalues_M.real).log().to(dtype))
        self.frequency = nn.Parameter(start.eigenvalues_M.imag.to(dtype))
        # Complex weights as pairs of reals, for any optimizer.
        self.output = nn.Parameter(torch.randn(channels, state // 2, 2) / math.sqrt(2))
        self.feedthrough = nn.Parameter(torch.randn(channels))
        shortest, longest = math.log(SHORTEST_STEP), math.log(LONGEST_STEP)
        steps = torch.empty(channels).uniform_(shortest, longest)
        self.step_logarithm = nn.Parameter(steps, requires_grad=False)
        low_rank, driven = (
            nn.Parameter(torch.view_as_real(complex_M).to(dtype), requires_grad=False)
            for complex_M in (start.low_rank_M, start.input_M)
        )
        self.low_rank, self.input = low_rank, driven

    def forward(self, input_BDT: Tensor) -> Tensor:
        """Return the outputs (B, D, T): a convolution with the kernel, by Fourier transform.

        It is causal up to the rounding of the transforms.
        """
        # bfloat16 has neither the precision for A's powers nor a Fourier transform.
        with torch.autocast(input_BDT.device.type, enabled=False):
            kernel_DT = self.kernel(input_BDT.shape[2])
            output_BDT: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
                input_BDT.to(kernel_DT.dtype), kernel_DT
            )
        return output_BDT

    def kernel(self, samples: int) -> Tensor:
        """Return the impulse response (D, T): ``C A^t B``, A and B discretised, and D at t = 0.

        Powers of A are computed by doubling: ``A^j B`` for about sqrt(T) numbers j, and ``C A^i``
        in strides of as many. Their product has every ``C A^(i + j) B``. Unlike the Cauchy sums of
        S4, this is all matrix products, and in float32 within 2e-6 of float64 (measured for 131,072
        samples of a kernel with a maximum of 2.4).
        """
        power_DNN, driven_DN, read_DN = self.discretised()
        rows, columns = kernel_shape(samples)
        driven_DNj = driven_DN[..., None]
        while driven_DNj.shape[2] < columns:
            driven_DNj = torch.cat([driven_DNj, power_DNN @ driven_DNj], 2)
            power_DNN = power_DNN @ power_DNN
        read_DiN = read_DN[:, None]
        while read_DiN.shape[1] < rows:
            read_DiN = torch.cat([read_DiN, read_DiN @ power_DNN], 1)
            power_DNN = power_DNN @ power_DNN
        kernel_DT = (read_DiN[:, :rows] @ driven_DNj).flatten(1)[:, :samples]
        return kernel_DT + functional.pad(self.feedthrough[:, None], (0, samples - 1))

    def discretised(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return A (D, N, N), B (D, N) and C (D, N) after the bilinear transform, all real.

        A state is ``sqrt(2)`` times its real and its imaginary parts. In this orthonormal basis A
        is a contraction, so that its powers cannot grow.
        """
        decay_MM, frequency_MM = (-self.decay.exp()).diag(), self.frequency.diag()
        rows = [torch.cat([decay_MM, -frequency_MM], 1), torch.cat([frequency_MM, decay_MM], 1)]
        output_DM, low_rank_M, input_M = self._complex()
        low_rank_N, input_N = _real(low_rank_M), _real(input_M)
        half_D11 = self.step_logarithm.exp()[:, None, None] / 2
        half_DNN = half_D11 * (torch.cat(rows) - low_rank_N.outer(low_rank_N))
        identity_NN = torch.eye(len(low_rank_N), dtype=half_DNN.dtype, device=half_DNN.device)
        driven_DN1 = 2 * half_D11 * input_N[:, None]
        right = torch.cat([identity_NN + half_DNN, driven_DN1], 2)
        solved = torch.linalg.solve(identity_NN - half_DNN, right)
        # The output is 2 Re(C x), which has the imaginary parts with the other sign.
        return solved[..., :-1], solved[..., -1], _real(output_DM.conj())

    def last(self, input_BDT: Tensor) -> Tensor:
        """Return the state (B, D, M) of :meth:`recurrence` after inputs (B, D, T) from silence.

        ``sum_j A^j B u_(T - 1 - j)``, block by block: a product with the powers of A in a block,
        and one of the previous state with the next power.
        """
        power_DNN, driven_DN, _ = self.discretised()
        powers_DNK = driven_DN[..., None]
        while powers_DNK.shape[2] < LAST_BLOCK:
            powers_DNK = torch.cat([power_DNN @ powers_DNK, powers_DNK], 2)
            power_DNN = power_DNN @ power_DNN
        filled = functional.pad(input_BDT, (-input_BDT.shape[2] % LAST_BLOCK, 0))
        state_DNB = driven_DN.new_zeros(*driven_DN.shape, len(input_BDT))
        for block_BDK in filled.to(driven_DN.dtype).split(LAST_BLOCK, 2):
            state_DNB = power_DNN @ state_DNB + powers_DNK @ block_BDK.permute(1, 2, 0)
        real_BDM, imaginary_BDM = (state_DNB.permute(2, 0, 1) / math.sqrt(2)).chunk(2, -1)
        return torch.complex(real_BDM.contiguous(), imaginary_BDM.contiguous())

    def recurrence(self) -> Recurrence:
        """Return the same system in a form that advances sample by sample."""
        output_DM, low_rank_M, input_M = self._complex()
        half_D1 = self.step_logarithm.exp()[:, None] / 2
        eigenvalues_M = torch.complex(-self.decay.exp(), self.frequency)
        inverse_DM = 1 / (1 - half_D1 * eigenvalues_M)
        before_DM = half_D1 * low_rank_M * inverse_DM
        return Recurrence(
            diagonal_DM=(1 + half_D1 * eigenvalues_M) * inverse_DM,
            driven_DM=2 * half_D1 * input_M * inverse_DM,
            low_rank_M=low_rank_M,
            before_DM=before_DM,
            after_DM=before_DM / (1 + _twice_real_sum(low_rank_M.conj() * before_DM)),
            output_DM=output_DM,
            feedthrough_D=self.feedthrough,
        )

    def _complex(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return C (D, M), P (M,) and B (M,)."""
        return (
            torch.view_as_complex(self.output),
            torch.view_as_complex(self.low_rank),
            torch.view_as_complex(self.input),
        )


class _Convolution(torch.autograd.Function):
    """Causal convolution of inputs (B, D, T) with kernels (D, T), by real Fourier transforms.

    Its gradients are correlations. Autograd would compute complex transforms, and save both spectra
    and the output's second half: in a training step of the paper's model over 32,768 samples on a
    CPU, 0.95 GiB of 4.25 and an eighth of the time.
    """

    @staticmethod
    def forward(ctx: Any, input_BDT: Tensor, kernel_DT: Tensor) -> Tensor:
        ctx.save_for_backward(input_BDT, kernel_DT)
        return _inverse(_spectrum(input_BDT) * _spectrum(kernel_DT))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BDT: Tensor) -> tuple[Tensor, Tensor]:
        input_BDT, kernel_DT = ctx.saved_tensors
        gradient_BDF = _spectrum(gradient_BDT)
        kernel_gradient_DF = (gradient_BDF * _spectrum(input_BDT).conj()).sum(0)
        return _inverse(gradient_BDF * _spectrum(kernel_DT).conj()), _inverse(kernel_gradient_DF)


def _spectrum(signal_T: Tensor) -> Tensor:
    """Return the transform (..., T + 1) of (..., T) padded by T zeros, for a linear convolution."""
    spectrum_F: Tensor = torch.fft.rfft(signal_T, n=2 * signal_T.shape[-1])
    return spectrum_F


def _inverse(spectrum_F: Tensor) -> Tensor:
    """Return the signal (..., T) of a spectrum (..., T + 1), without the convolution's tail."""
    samples = spectrum_F.shape[-1] - 1
    signal_T: Tensor = torch.fft.irfft(spectrum_F, n=2 * samples)
    # A slice alone would keep all of the memory alive.
    return signal_T[..., :samples].contiguous()


def _real(complex_M: Tensor) -> Tensor:
    """Return complex numbers (..., M) in the real basis (..., N)."""
    return math.sqrt(2) * torch.cat([complex_M.real, complex_M.imag], -1)


def _twice_real_sum(complex_M: Tensor) -> Tensor:
    """Return the sum (..., 1) of (..., M) and of the conjugates, which are not stored."""
    return 2 * complex_M.real.sum(-1, keepdim=True)
