"""The exact nats of every sample of a signal, each from its full context.

Every offset's chunk is encoded once. The contexts of targets a chunk apart overlap in all but one
latent, so in a bidirectional model's first layer they share every product of latents; all else is
done for each context. Memory is bounded by a context and a block, whatever the signal's length.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.attention import Folded
from model.baselines.sequence import SequenceModel
from model.network import LatentTransformer
from model.positions import sinusoids
from model.transformer import Layer, Transformer

SHARED_CONTEXTS = 16
"""Contexts of a phase that are read together: more of them share more, and wait for more."""

READ_LATENTS = {"cpu": 512, "cuda": 65_536}
"""Latents of all contexts that are read at a time: on a CPU, what stays in its nearest cache."""


@torch.no_grad()
def dense_nats(
    network: LatentTransformer | SequenceModel, blocks: Iterable[Tensor]
) -> Iterator[Tensor]:
    """The nats of every code of a signal that has a full context before it, block by block.

    ``blocks`` (each [any], integers) are the signal's codes in order; what is yielded (each [any])
    are the nats of the codes from the (L + 1)-th on, in order.
    """
    network.eval()
    if isinstance(network, SequenceModel):
        yield from network.dense_nats(blocks)
        return
    a = network.architecture
    layers = ReusedLayers(network.transformer, network.transformer.fold())
    device = network.head.output.weight.device
    known: Tensor | None = None
    latents_ED = torch.empty(0, a.width, dtype=network.head.output.weight.dtype, device=device)
    for codes in _regular(blocks, SHARED_CONTEXTS * a.chunk):
        known = codes.to(device) if known is None else torch.cat([known, codes.to(device)])
        # All but the newest code have a chunk that ends with them and a target after it.
        begin = max(a.chunk - 1, len(known) - 1 - len(codes))
        if begin < len(known) - 1:
            fresh = known[begin - a.chunk + 1 : -1]
            latents_ED = torch.cat([latents_ED, network.encoder.dense(fresh[None])[0]])
        latents_ED = latents_ED[-(a.context - a.chunk + len(codes)) :]
        targets = len(latents_ED) - (a.context - a.chunk)
        if targets > 0:
            yield _score(network, latents_ED, known[-targets - a.context :], layers)
        known = known[-a.context :]


def _regular(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The same codes in pieces of ``size``, the last one shorter."""
    pending: Tensor | None = None
    for block in blocks:
        pending = block.cpu() if pending is None else torch.cat([pending, block.cpu()])
        while len(pending) >= size:
            yield pending[:size]
            pending = pending[size:]
    if pending is not None and len(pending):
        yield pending


def _score(
    network: LatentTransformer,
    latents_ED: Tensor,
    codes_T: Tensor,
    layers: "ReusedLayers",
) -> Tensor:
    """Nats (E - L + C) of the last codes, given the latents (E, D) of all their contexts' chunks.

    ``codes`` (T) are the targets and the L codes before the first of them.
    """
    a = network.architecture
    targets = len(codes_T) - a.context
    contexts = -(-targets // a.chunk)
    filled = functional.pad(latents_ED, (0, 0, 0, contexts * a.chunk - targets))
    # Phase by phase: the N + m - 1 latents that its m contexts share.
    latents_CMD = filled.unflatten(0, (-1, a.chunk)).transpose(0, 1)
    size = max(1, READ_LATENTS[codes_T.device.type] // (contexts * a.latents))
    read = torch.cat([full_contexts(network, part, layers) for part in latents_CMD.split(size)])
    newest_TD = read.transpose(0, 1).flatten(0, 1)[:targets]
    recent = network.after_each(codes_T[None, a.context - a.recent : -1]) if a.recent else None
    said = network.head(newest_TD[None], recent)
    return network.head.likelihood.nats(said, codes_T[None, -targets:].long())[0]


def full_contexts(
    network: LatentTransformer, latents_GMD: Tensor, layers: "ReusedLayers"
) -> Tensor:
    """The newest latents (G, m, D) of the m contexts in each of G phases (G, N + m - 1, D)."""
    a = network.architecture
    contexts_GmND = latents_GMD.unfold(1, a.latents, 1).transpose(2, 3)
    size = max(1, READ_LATENTS[latents_GMD.device.type] // a.latents)
    shared = None
    if layers.folded is not None and not network.transformer.causal and a.layers > 1:
        shared = _SharedFirstLayer(network, latents_GMD, layers)
    read = []
    for first in range(0, contexts_GmND.shape[1], size):
        part = contexts_GmND[:, first : first + size]
        if shared is None:
            newest = network.transformer.newest(part.flatten(0, 1), layers.folded)
        else:
            newest = layers.read_newest(shared.outputs(part, first), 1)
        read.append(newest.unflatten(0, part.shape[:2]))
    return torch.cat(read, 1)


class ReusedLayers:
    """The layers of a folded bidirectional model over whole contexts, without gradients.

    What they compute is :meth:`Transformer.read_newest`, in memory that is used again: fresh memory
    is handed out page by page as it is first written to, which takes longer than some products.
    """

    def __init__(self, transformer: Transformer, folded: Sequence[Folded] | None) -> None:
        self.folded = folded
        self._transformer = transformer
        self._kept: dict[str, Tensor] = {}

    def kept(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """Memory of this shape for what is overwritten each time."""
        found = self._kept.get(name)
        if found is None or found.shape != shape:
            found = self._kept[name] = like.new_empty(shape)
        return found

    def read_newest(self, x_BND: Tensor, first: int) -> Tensor:
        """The newest latent (B, D) after the layers from ``first`` on, for its input (B, N, D)."""
        last = len(self._transformer.layers) - 1
        for number in range(first, last):
            x_BND = self._output(number, x_BND)
        return self._transformer.read_newest(x_BND, last, self.folded)

    def _output(self, number: int, x_BND: Tensor) -> Tensor:
        """The output of one layer at every latent."""
        assert self.folded is not None
        folded = self.folded[number]
        rows_RD = x_BND.flatten(0, 1)
        query_RI = self.kept("query", x_BND, len(rows_RD), len(folded.query))
        torch.addmm(folded.query_bias, rows_RD, folded.query.T, out=query_RI)
        query_BRD = query_RI.view(len(x_BND), -1, x_BND.shape[2])
        weights_BRN = self.kept("weights", x_BND, *query_BRD.shape[:2], x_BND.shape[1])
        torch.bmm(query_BRD, x_BND.transpose(1, 2), out=weights_BRN)
        torch.softmax(weights_BRN, -1, out=weights_BRN)
        # What the heads have read is as large as their queries, which nobody needs any more.
        torch.bmm(weights_BRN, x_BND, out=query_BRD)
        read_RD = self.kept("read", x_BND, *rows_RD.shape)
        torch.addmm(folded.output_bias, query_RI, folded.output.T, out=read_RD)
        return self.after_reading(number, x_BND, read_RD.view(x_BND.shape))

    def after_reading(self, number: int, x_BND: Tensor, read_BND: Tensor) -> Tensor:
        """:meth:`Layer.after_reading`, which overwrites ``read``."""
        layer = self._transformer.layers[number]
        assert isinstance(layer, Layer)
        up, _, down = layer.feed_forward
        assert isinstance(up, nn.Linear) and isinstance(down, nn.Linear)
        x_BND = layer.attention_norm(read_BND.add_(x_BND))
        rows_RD = x_BND.flatten(0, 1)
        hidden_RF = self.kept("hidden", x_BND, len(rows_RD), len(up.weight))
        torch.addmm(up.bias, rows_RD, up.weight.T, out=hidden_RF).relu_()
        fed_RD = self.kept("fed", x_BND, *rows_RD.shape)
        torch.addmm(down.bias, hidden_RF, down.weight.T, out=fed_RD)
        output: Tensor = layer.feed_forward_norm(fed_RD.view(x_BND.shape).add_(x_BND))
        return output


class _SharedFirstLayer:
    """The first layer over the contexts in each of G phases (G, M, D), M = N + m - 1.

    A score is ``(e_i + p_a) W (e_j + p_b)`` for the latents e and positions p: four products, of
    which none depends on both the context and the place in it, so that a context only adds them up.
    """

    def __init__(
        self, network: LatentTransformer, latents_GMD: Tensor, layers: ReusedLayers
    ) -> None:
        a = network.architecture
        assert layers.folded is not None
        folded = layers.folded[0]
        self.layers, self.folded, self.latents = layers, folded, a.latents
        self.places_ND = sinusoids(a.latents, a.width, latents_GMD.device).to(latents_GMD.dtype)
        by_head = (a.heads, a.width)
        latents_GDM = latents_GMD.transpose(1, 2)
        query_GRD = functional.linear(latents_GMD, folded.query).unflatten(2, by_head).flatten(1, 2)
        query_RD = functional.linear(self.places_ND, folded.query, folded.query_bias).view(
            -1, a.width
        )
        rows = (-1, a.heads)
        self.both_GMHM = (query_GRD @ latents_GDM).unflatten(1, rows)
        self.query_GMHN = (query_GRD @ self.places_ND.T).unflatten(1, rows)
        self.key_GNHM = (query_RD @ latents_GDM).unflatten(1, rows)
        self.place_NHN = (query_RD @ self.places_ND.T).unflatten(0, rows)
        value_HDD = folded.output.unflatten(1, by_head).permute(1, 2, 0)
        self.values_GHMD = latents_GMD[:, None] @ value_HDD
        self.values_HND = self.places_ND @ value_HDD

    def outputs(self, contexts_GmND: Tensor, first: int) -> Tensor:
        """The layer's outputs (G m, N, D) for the contexts from number ``first`` on."""
        phases, contexts, latents, width = contexts_GmND.shape
        part = slice(first, first + contexts)
        scores = self._sum(
            "first weights",
            self._both(first, contexts),
            self.query_GMHN.unfold(1, latents, 1)[:, part].movedim(4, 2),
        )
        scores += self.key_GNHM.unfold(3, latents, 1)[:, :, :, part].movedim(3, 1)
        scores += self.place_NHN
        values = self._sum(
            "values",
            self.values_GHMD.unfold(2, latents, 1)[:, :, part].permute(0, 2, 1, 4, 3),
            self.values_HND,
        )
        shape = (phases * contexts, latents, -1)
        weights = torch.softmax(scores, -1, out=scores).view(shape)
        x_BND = self._sum("latents", contexts_GmND, self.places_ND).flatten(0, 1)
        read_BND = torch.bmm(
            weights,
            values.view(phases * contexts, -1, width),
            out=self.layers.kept("first read", x_BND, *x_BND.shape),
        )
        read_BND += self.folded.output_bias
        return self.layers.after_reading(0, x_BND, read_BND)

    def _both(self, first: int, contexts: int) -> Tensor:
        """The products of latents with latents as contexts see them: (G, m, N, H, N).

        Context w holds those of the latents w to w + N - 1, on both axes at once.
        """
        phases, _, heads, _ = self.both_GMHM.shape
        to_phase, to_query, to_head, _ = self.both_GMHM.stride()
        both: Tensor = self.both_GMHM.as_strided(
            (phases, contexts, self.latents, heads, self.latents),
            (to_phase, to_query + 1, to_query, to_head, 1),
            self.both_GMHM.storage_offset() + first * (to_query + 1),
        )
        return both

    def _sum(self, name: str, overlapping: Tensor, other: Tensor) -> Tensor:
        """The sum, laid out in the order of its axes, which overlapping views would not have."""
        return torch.add(overlapping, other, out=self.layers.kept(name, other, *overlapping.shape))
