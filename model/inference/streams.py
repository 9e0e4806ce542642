"""B continuations of a prompt in step: one code each in, what may come next out.

What earlier steps have computed is kept, per phase (offset modulo the chunk): a chunk's latent is
read again a chunk later, when it has become the one before the newest. A causal model keeps, for
each layer, what its attention reads, so that a step computes one latent; that reaches back over all
layers' windows, as :meth:`model.transformer.Transformer.states` over the whole sequence does. A
bidirectional model reads the N latents of the newest context anew.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from model.activations import GROUPED_LATENTS
from model.architecture import LINEAR_ORDER
from model.attention import Folded
from model.inference.dense import ReusedLayers
from model.inference.incremental import IncrementalConvolutions
from model.network import LatentTransformer
from model.positions import rotate, rotations, turning_rates
from model.recent import Recent
from model.transformer import Layer


class Reader(Protocol):
    """What turns the latents so far into the latent that the head reads."""

    def prime(self, latents_BED: Tensor) -> None:
        """Take the latents (B, E, D) of the chunks at the first E offsets."""

    def read(self, latent_BD: Tensor, place: "Place", full: bool) -> Tensor:
        """What the Transformer says (B, D) when ``latent`` is the newest.

        ``full`` says that the context is: all N latents are there.
        """

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes in place."""


class Place:
    """Where chunks stand whose last samples have the numbers ``ends`` (n,) (1 is the first).

    Int64 tensors (n,), so that a recorded step can go on with them: their ``phase``, their
    ``index`` in it (0 is its first chunk), and their ``slot`` in a ring of N for each phase.
    """

    def __init__(self, ends: Tensor, chunk: int, latents: int) -> None:
        self.phase = ends % chunk
        self.index = ends // chunk - 1
        self.slot = self.phase * latents + self.index % latents


class Streams:
    """The state of B continuations. All of it lies in tensors that a step changes in place."""

    @torch.no_grad()
    def __init__(self, network: LatentTransformer, prompt_BS: Tensor) -> None:
        """Read a prompt (B, S) of codes: at least a chunk, of which the newest L count.

        ValueError where it is shorter.
        """
        a = network.architecture
        shortest = max(a.chunk, a.recent)
        if prompt_BS.shape[1] < shortest:
            raise ValueError(
                f"the prompt has {prompt_BS.shape[1]} samples: a continuation needs {shortest} or "
                "more, the longer of a chunk and the recent samples"
            )
        self.network = network.eval()
        prompt_BS = prompt_BS[:, -a.context :].to(network.head.output.weight.device)
        self.batch = len(prompt_BS)
        self.encoder = IncrementalConvolutions(network.encoder.stack, self.batch)
        self.reader: Reader = (_CausalReader if network.transformer.causal else _WindowReader)(
            network, self.batch
        )
        self.recent = _RecentPath(network, self.batch) if a.recent else None
        # Codes that were pushed since the prompt's beginning: for the step, and for its caller.
        self.clock = torch.zeros((), dtype=torch.int64, device=prompt_BS.device)
        self.pushed = 0
        self._prime(prompt_BS[:, :-1])
        self.said_BO = self.step(prompt_BS[:, -1])

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
        """What is said (B, O) of what follows, after the codes (B,)."""
        self.pushed += 1
        return self.compute(codes_B, self.full)

    @property
    def full(self) -> bool:
        """Whether as many codes were pushed as a context has."""
        return self.pushed >= self.network.architecture.context

    def compute(self, codes_B: Tensor, full: bool) -> Tensor:
        """A step on tensors alone; ``full`` says that the context is."""
        a = self.network.architecture
        latent_BD, recent = self._advance(codes_B)
        place = Place(self.clock.view(1), a.chunk, a.latents)
        read_BD = self.reader.read(latent_BD, place, full)
        said: Tensor = self.network.head(read_BD, recent)
        return said

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes in place."""
        recent = self.recent.state if self.recent else []
        return [self.clock, *self.encoder.state, *self.reader.state, *recent]

    def _advance(self, codes_B: Tensor) -> tuple[Tensor, Recent | None]:
        """The newest latent (B, D), and what the newest codes say."""
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
        """All that a step changes in place."""
        return [self.codes, self.predicted, *self.stack.state]

    def push(self, codes_B: Tensor, clock: Tensor) -> Recent:
        linear, scale = self.network.linear, self.network.linear.scale
        features_BF1 = self.network.recent.features(
            codes_B[:, None], self.predicted[:, None], scale
        )
        summand_BD = self.stack.push(features_BF1[..., 0], clock)
        slots = (clock - self.lags) % LINEAR_ORDER
        self.codes.index_copy_(0, slots[-1:], codes_B[None].long())
        predicted_B1, _ = linear(self.codes.index_select(0, slots).T)
        self.predicted.copy_(predicted_B1[:, 0])
        return Recent(summand_BD, self.predicted, scale)


class _WindowReader:
    """A bidirectional model: the latents of the newest context, all read anew."""

    def __init__(self, network: LatentTransformer, batch: int) -> None:
        a = network.architecture
        self.transformer = network.transformer
        self.layers = ReusedLayers(network.transformer, network.transformer.fold())
        self.chunk, self.latents = a.chunk, a.latents
        weight = network.head.output.weight
        self.ring = weight.new_zeros(a.context, batch, a.width)
        self.ages = torch.arange(a.latents - 1, -1, -1, device=weight.device)

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes in place."""
        return [self.ring]

    def prime(self, latents_BED: Tensor) -> None:
        """Take the latents (B, E, D) of the chunks at the first E offsets."""
        ends = torch.arange(latents_BED.shape[1], device=latents_BED.device) + self.chunk
        slots = Place(ends, self.chunk, self.latents).slot
        self.ring.index_copy_(0, slots, latents_BED.transpose(0, 1))

    def read(self, latent_BD: Tensor, place: Place, full: bool) -> Tensor:
        """What the Transformer says (B, D) when ``latent`` is the newest."""
        self.ring.index_copy_(0, place.slot, latent_BD[None])
        index_N = place.index - self.ages
        seen = self.ring.index_select(0, place.phase * self.latents + index_N % self.latents)
        contexts_BND = seen.transpose(0, 1)
        # A compiler plans the memory itself, and would copy what is written to memory of ours.
        if full and self.layers.folded is not None and not torch.compiler.is_compiling():
            return self.layers.read_newest(self.transformer.start(contexts_BND), 0)
        mask = None if full else (index_N >= 0)[None]
        newest: Tensor = self.transformer.newest(contexts_BND, self.layers.folded, mask)
        return newest


class _CausalReader:
    """A causal model: for each layer the latents that its attention reads, turned and as they are.

    Since the latents themselves are keys and values, that is 2 D numbers a latent and layer.
    """

    def __init__(self, network: LatentTransformer, batch: int) -> None:
        a = network.architecture
        self.transformer = network.transformer
        self.folded = network.transformer.fold()
        self.chunk, self.latents = a.chunk, a.latents
        weight = network.head.output.weight
        # One row a phase, so that a step reads what a context has of it in one piece.
        shape = (a.chunk, a.latents, batch, a.width)
        self.keys, self.values = (
            [weight.new_zeros(shape) for _ in range(a.layers)] for _ in range(2)
        )
        # Fresh memory for them each time would cost more than copying them.
        self.seen = weight.new_empty(1, *shape[1:])
        self.slots = torch.arange(a.latents, device=weight.device)
        self.rates = turning_rates(a.width, weight.device)

    @property
    def state(self) -> list[Tensor]:
        """All that a step changes in place."""
        return [*self.keys, *self.values]

    def prime(self, latents_BED: Tensor) -> None:
        """Take the latents (B, E, D) of the chunks at the first E offsets."""
        whole, rest = divmod(latents_BED.shape[1], self.chunk)
        for count, phases in ((whole + 1, range(rest)), (whole, range(rest, self.chunk))):
            size = max(1, GROUPED_LATENTS[latents_BED.device.type] // max(1, count))
            for first in range(phases.start, phases.stop if count else 0, size):
                self._prime_phases(latents_BED, first, min(first + size, phases.stop), count)

    def _prime_phases(self, latents_BED: Tensor, first: int, stop: int, count: int) -> None:
        offsets_PN = torch.arange(first, stop, device=latents_BED.device)[:, None] + (
            self.chunk * self.slots[:count]
        )
        place = Place(offsets_PN.flatten() + self.chunk, self.chunk, self.latents)
        rotation = rotations(self.slots[:count], self.rates)
        sequences = latents_BED[:, offsets_PN].flatten(0, 1)
        for number, x_SND in enumerate(self.transformer.states(sequences, self.folded)[:-1]):
            shape = (len(latents_BED), -1, latents_BED.shape[2])
            turned_SND = rotate(x_SND, rotation)
            for kept, fresh in ((self.keys, turned_SND), (self.values, x_SND)):
                rows = fresh.reshape(shape).transpose(0, 1)
                kept[number].flatten(0, 1).index_copy_(0, place.slot, rows)

    def read(self, latent_BD: Tensor, place: Place, full: bool) -> Tensor:
        """What the Transformer says (B, D) when ``latent`` is the newest."""
        rotation = rotations(place.index, self.rates).to(latent_BD.dtype)
        mask = None if full else (self.slots <= place.index)[None, None]
        x_BD = latent_BD
        for number, layer in enumerate(self.transformer.layers):
            assert isinstance(layer, Layer)
            assert self.folded is not None
            read = self._attend(number, x_BD, self.folded[number], rotation, place, mask)
            x_BD = layer.after_reading(x_BD, read)
        return x_BD

    def _attend(
        self,
        number: int,
        x_BD: Tensor,
        folded: Folded,
        rotation: Tensor,
        place: Place,
        mask: Tensor | None,
    ) -> Tensor:
        query_BHD = functional.linear(x_BD, folded.query, folded.query_bias).view(
            len(x_BD), -1, x_BD.shape[1]
        )
        turned = rotate(torch.cat([x_BD[:, None], query_BHD], 1), rotation)
        keys, values = self.keys[number], self.values[number]
        keys.flatten(0, 1).index_copy_(0, place.slot, turned[None, :, 0])
        values.flatten(0, 1).index_copy_(0, place.slot, x_BD[None])
        seen = torch.index_select(keys, 0, place.phase, out=self.seen)
        keys_BDN = seen[0].permute(1, 2, 0)
        scores_BHN = torch.bmm(turned[:, 1:], keys_BDN)
        if mask is not None:
            scores_BHN = scores_BHN.masked_fill(~mask, -torch.inf)
        seen = torch.index_select(values, 0, place.phase, out=self.seen)
        values_BND = seen[0].transpose(0, 1)
        mixed_BHD = torch.bmm(scores_BHN.softmax(-1), values_BND)
        return functional.linear(mixed_BHD.flatten(1), folded.output, folded.output_bias)
