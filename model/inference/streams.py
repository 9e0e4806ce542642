"""Continue B prompts together: one code a stream in, the next code's distribution out.

Earlier results are cached by phase (offset modulo the chunk): a chunk's latent is read again one
chunk later, as the second newest. A causal model caches the keys and values of each layer, so that
a step computes one latent. This reaches back over the windows of all layers, as
:meth:`model.transformer.Transformer.states` of the whole sequence does. A bidirectional model reads
the N latents of the newest context again.
"""

import torch
from torch import Tensor
from torch.nn import functional

from model.activations import GROUPED_LATENTS
from model.architecture import LINEAR_ORDER
from model.attention import Folded
from model.convolutions import Convolutions
from model.inference.dense import BufferedLayers
from model.network import LatentTransformer
from model.positions import rotate, rotations, turning_rates
from model.recent import RecentOutput
from model.transformer import Layer


class ChunkSlot:
    """Phases, indexes and cache slots of chunks.

    The chunks are given by the number of their last sample (1 is the first). All are int64 tensors
    (n,), so that a CUDA graph can advance them: ``phase``, ``index`` in the phase (0 is its first
    chunk), and ``slot`` in a cache of N latents for each phase.
    """

    def __init__(self, ends: Tensor, chunk: int, latents: int) -> None:
        self.phase = ends % chunk
        self.index = ends // chunk - 1
        self.slot = self.phase * latents + self.index % latents


class Streams:
    """State of B continuations, all in tensors that a step changes in place."""

    @torch.no_grad()
    def __init__(self, network: LatentTransformer, prompt_BS: Tensor) -> None:
        """Read a prompt (B, S), of which the model reads the newest L; ValueError if too short."""
        a = network.architecture
        shortest = max(a.chunk, a.recent)
        if prompt_BS.shape[1] < shortest:
            raise ValueError(
                f"the prompt has {prompt_BS.shape[1]} samples: a continuation needs {shortest} or "
                "more, the longer of a chunk and the recent samples. Use a longer prompt"
            )
        self.network = network.eval()
        prompt_BS = prompt_BS[:, -a.context :].to(network.head.output.weight.device)
        self.batch = len(prompt_BS)
        self.encoder = IncrementalConvolutions(network.encoder.stack, self.batch)
        reader = _CausalReader if network.transformer.causal else _WindowReader
        self.reader: _CausalReader | _WindowReader = reader(network, self.batch)
        self.recent = _RecentPath(network, self.batch) if a.recent else None
        # Codes pushed since the prompt's beginning: as a tensor for the step, as a number for the
        # caller.
        self.clock = torch.zeros((), dtype=torch.int64, device=prompt_BS.device)
        self.pushed = 0
        self._prime(prompt_BS[:, :-1])
        self.distribution_BO = self.step(prompt_BS[:, -1])

    def _prime(self, codes_BS: Tensor) -> None:
        a = self.network.architecture
        samples = codes_BS.shape[1]
        warm = min(samples, max(a.chunk, a.recent))
        self.clock.fill_(samples - warm)
        self.pushed = samples
        for number in range(samples - warm, samples):
            self._advance(codes_BS[:, number])
        if samples >= a.chunk:
            self.reader.prime(self.network.encoder.dense(codes_BS))

    @torch.no_grad()
    def step(self, codes_B: Tensor) -> Tensor:
        """Return the distribution (B, O) of the next code after the codes (B,)."""
        self.pushed += 1
        return self.compute(codes_B, self.full)

    @property
    def full(self) -> bool:
        """True if a whole context of codes was pushed."""
        return self.pushed >= self.network.architecture.context

    def compute(self, codes_B: Tensor, full: bool) -> Tensor:
        """Return :meth:`step`, computed from tensors alone; ``full`` is :attr:`full`."""
        a = self.network.architecture
        latent_BD, recent = self._advance(codes_B)
        newest = ChunkSlot(self.clock.view(1), a.chunk, a.latents)
        read_BD = self.reader.read(latent_BD, newest, full)
        distribution: Tensor = self.network.head(read_BD, recent)
        return distribution

    @property
    def state(self) -> list[Tensor]:
        """Tensors that a step changes in place."""
        recent = self.recent.state if self.recent else []
        return [self.clock, *self.encoder.state, *self.reader.state, *recent]

    def _advance(self, codes_B: Tensor) -> tuple[Tensor, RecentOutput | None]:
        """Return the newest latent (B, D), and the recent-sample path's output."""
        features_B1 = self.network.encoder.features(codes_B)[:, None]
        latent_BD = self.encoder.push(features_B1, self.clock)
        recent = self.recent.push(codes_B, self.clock) if self.recent else None
        self.clock += 1
        return latent_BD, recent


class _RecentPath:
    """The recent-sample path, one code at a time."""

    def __init__(self, network: LatentTransformer, batch: int) -> None:
        self.network = network
        self.stack = IncrementalConvolutions(network.recent.stack, batch)
        weight = network.head.output.weight
        self.codes = torch.zeros(LINEAR_ORDER, batch, dtype=torch.int64, device=weight.device)
        self.predicted = weight.new_zeros(batch)
        self.lags = torch.arange(LINEAR_ORDER - 1, -1, -1, device=weight.device)

    @property
    def state(self) -> list[Tensor]:
        """Tensors that a step changes in place."""
        return [self.codes, self.predicted, *self.stack.state]

    def push(self, codes_B: Tensor, clock: Tensor) -> RecentOutput:
        linear, scale = self.network.linear, self.network.linear.scale
        features_BF1 = self.network.recent.features(
            codes_B[:, None], self.predicted[:, None], scale
        )
        summand_BD = self.stack.push(features_BF1[..., 0], clock)
        slots = (clock - self.lags) % LINEAR_ORDER
        self.codes.index_copy_(0, slots[-1:], codes_B[None].long())
        predicted_B1, _ = linear(self.codes.index_select(0, slots).T)
        self.predicted.copy_(predicted_B1[:, 0])
        return RecentOutput(summand_BD, self.predicted, scale)


class _WindowReader:
    """A bidirectional model, which reads all latents of the newest context in each step."""

    def __init__(self, network: LatentTransformer, batch: int) -> None:
        a = network.architecture
        self.transformer = network.transformer
        self.layers = BufferedLayers(network.transformer, network.transformer.fold())
        self.chunk, self.latents = a.chunk, a.latents
        weight = network.head.output.weight
        self.ring = weight.new_zeros(a.context, batch, a.width)
        self.ages = torch.arange(a.latents - 1, -1, -1, device=weight.device)

    @property
    def state(self) -> list[Tensor]:
        """Tensors that a step changes in place."""
        return [self.ring]

    def prime(self, latents_BED: Tensor) -> None:
        """Store the latents (B, E, D) of the chunks at the first E offsets."""
        ends = torch.arange(latents_BED.shape[1], device=latents_BED.device) + self.chunk
        slots = ChunkSlot(ends, self.chunk, self.latents).slot
        self.ring.index_copy_(0, slots, latents_BED.transpose(0, 1))

    def read(self, latent_BD: Tensor, newest: ChunkSlot, full: bool) -> Tensor:
        """Return the output (B, D) at the newest latent; ``full`` if all N of the context exist."""
        self.ring.index_copy_(0, newest.slot, latent_BD[None])
        index_N = newest.index - self.ages
        seen = self.ring.index_select(0, newest.phase * self.latents + index_N % self.latents)
        contexts_BND = seen.transpose(0, 1)
        # torch.compile plans memory itself, and would copy the results into these buffers.
        if full and self.layers.folded is not None and not torch.compiler.is_compiling():
            return self.layers.newest_output_from(self.transformer.first_input(contexts_BND), 0)
        mask = None if full else (index_N >= 0)[None]
        return self.transformer.newest_output(contexts_BND, self.layers.folded, mask)


class _CausalReader:
    """A causal model, with the keys and values of each layer cached.

    Keys are the rotated latents, values the latents themselves: 2 D numbers a latent and layer.
    """

    def __init__(self, network: LatentTransformer, batch: int) -> None:
        a = network.architecture
        self.transformer = network.transformer
        self.folded = network.transformer.fold()
        self.chunk, self.latents = a.chunk, a.latents
        weight = network.head.output.weight
        # One row a phase, so that a step reads a context's latents as one block.
        shape = (a.chunk, a.latents, batch, a.width)
        self.keys, self.values = (
            [weight.new_zeros(shape) for _ in range(a.layers)] for _ in range(2)
        )
        # Allocating memory in each step would take longer than the copy.
        self.seen = weight.new_empty(1, *shape[1:])
        self.slots = torch.arange(a.latents, device=weight.device)
        self.rates = turning_rates(a.width, weight.device)

    @property
    def state(self) -> list[Tensor]:
        """Tensors that a step changes in place."""
        return [*self.keys, *self.values]

    def prime(self, latents_BED: Tensor) -> None:
        """Store the latents (B, E, D) of the chunks at the first E offsets."""
        whole, rest = divmod(latents_BED.shape[1], self.chunk)
        for count, phases in ((whole + 1, range(rest)), (whole, range(rest, self.chunk))):
            size = max(1, GROUPED_LATENTS[latents_BED.device.type] // max(1, count))
            for first in range(phases.start, phases.stop if count else 0, size):
                self._prime_phases(latents_BED, first, min(first + size, phases.stop), count)

    def _prime_phases(self, latents_BED: Tensor, first: int, stop: int, count: int) -> None:
        offsets_PN = torch.arange(first, stop, device=latents_BED.device)[:, None] + (
            self.chunk * self.slots[:count]
        )
        chunks = ChunkSlot(offsets_PN.flatten() + self.chunk, self.chunk, self.latents)
        rotation = rotations(self.slots[:count], self.rates)
        sequences = latents_BED[:, offsets_PN].flatten(0, 1)
        for number, x_SND in enumerate(self.transformer.states(sequences, self.folded)[:-1]):
            shape = (len(latents_BED), -1, latents_BED.shape[2])
            turned_SND = rotate(x_SND, rotation)
            for cache, latents in ((self.keys, turned_SND), (self.values, x_SND)):
                rows = latents.reshape(shape).transpose(0, 1)
                cache[number].flatten(0, 1).index_copy_(0, chunks.slot, rows)

    def read(self, latent_BD: Tensor, newest: ChunkSlot, full: bool) -> Tensor:
        """Return the output (B, D) at the newest latent; ``full`` if all N of the context exist."""
        rotation = rotations(newest.index, self.rates).to(latent_BD.dtype)
        mask = None if full else (self.slots <= newest.index)[None, None]
        x_BD = latent_BD
        for number, layer in enumerate(self.transformer.layers):
            assert isinstance(layer, Layer)
            assert self.folded is not None
            read = self._attend(number, x_BD, self.folded[number], rotation, newest, mask)
            x_BD = layer.after_attention(x_BD, read)
        return x_BD

    def _attend(
        self,
        number: int,
        x_BD: Tensor,
        folded: Folded,
        rotation: Tensor,
        newest: ChunkSlot,
        mask: Tensor | None,
    ) -> Tensor:
        query_BHD = functional.linear(x_BD, folded.query, folded.query_bias).view(
            len(x_BD), -1, x_BD.shape[1]
        )
        turned = rotate(torch.cat([x_BD[:, None], query_BHD], 1), rotation)
        keys, values = self.keys[number], self.values[number]
        keys.flatten(0, 1).index_copy_(0, newest.slot, turned[None, :, 0])
        values.flatten(0, 1).index_copy_(0, newest.slot, x_BD[None])
        seen = torch.index_select(keys, 0, newest.phase, out=self.seen)
        keys_BDN = seen[0].permute(1, 2, 0)
        scores_BHN = torch.bmm(turned[:, 1:], keys_BDN)
        if mask is not None:
            scores_BHN = scores_BHN.masked_fill(~mask, -torch.inf)
        seen = torch.index_select(values, 0, newest.phase, out=self.seen)
        values_BND = seen[0].transpose(0, 1)
        mixed_BHD = torch.bmm(scores_BHN.softmax(-1), values_BND)
        return functional.linear(mixed_BHD.flatten(1), folded.output, folded.output_bias)


class IncrementalConvolutions:
    """Outputs of :meth:`Convolutions.dense` for B signals that grow by one position a step.

    Each layer stores its newest inputs in a ring buffer, as in fast WaveNet generation (Le Paine et
    al. 2016, arXiv 1611.09482). Outputs are valid after ``length`` positions.
    """

    def __init__(self, stack: Convolutions, batch: int) -> None:
        kernels = [layer.weight for layer in stack.convolutions()]
        kernels.append(stack.projection.weight.unflatten(1, (-1, stack.last_length)))
        self.biases: list[Tensor | None] = [layer.bias for layer in stack.convolutions()]
        self.biases.append(stack.projection.bias)
        # A row has all taps of an output, in the order in which a step gathers them.
        self.weights = [kernel.transpose(1, 2).flatten(1).contiguous() for kernel in kernels]
        self.taps = [kernel.shape[2] for kernel in kernels]
        reaches = list(zip(self.taps, stack.dilations, strict=True))
        lengths = [(taps - 1) * dilation + 1 for taps, dilation in reaches]
        self.rings = [
            kernel.new_zeros(length, batch, kernel.shape[1])
            for length, kernel in zip(lengths, kernels, strict=True)
        ]
        lags = [torch.arange(taps - 1, -1, -1) * dilation for taps, dilation in reaches]
        device = self.weights[0].device
        self.lags = torch.cat(lags).to(device)
        self.lengths = torch.tensor(lengths).repeat_interleave(torch.tensor(self.taps)).to(device)

    @property
    def state(self) -> list[Tensor]:
        """Tensors that a step changes in place."""
        return self.rings

    def push(self, column_BF: Tensor, clock: Tensor) -> Tensor:
        """Return the newest output (B, D) after the signals' position ``clock`` (int64, ())."""
        slots = ((clock - self.lags) % self.lengths).split(self.taps)
        final = len(self.rings) - 1
        for number, ring in enumerate(self.rings):
            ring.index_copy_(0, slots[number][-1:], column_BF[None])
            seen = ring.index_select(0, slots[number])
            column_BF = functional.linear(
                seen.transpose(0, 1).reshape(len(column_BF), -1),
                self.weights[number],
                self.biases[number],
            )
            if number < final:
                column_BF = column_BF.relu_()
        return column_BF
