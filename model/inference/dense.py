"""Exact nats of every sample of a signal, from its full context or from silence.

Each chunk is encoded once at every offset. Contexts of targets a chunk apart share all but one
latent. So the first layer of a bidirectional model computes the products of latents once for all
contexts, and everything else for each context. Memory is bounded by a context and a block.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.activations import GROUPED_LATENTS
from model.attention import Folded
from model.baselines.sequence import SequenceModel
from model.network import LatentTransformer
from model.positions import sinusoids
from model.targets import Targets
from model.transformer import Layer, Transformer

SHARED_CONTEXTS = 16
"""Contexts of a phase that are read together: more share more work, but need longer blocks."""

READ_LATENTS = {"cpu": 512, "cuda": 65_536}
"""Latents of all contexts that are read at a time: on a CPU, as many as fit its nearest cache."""


@torch.no_grad()
def dense_nats(
    network: LatentTransformer | SequenceModel, blocks: Iterable[Tensor]
) -> Iterator[Tensor]:
    """Yield the nats of the codes of a signal from the (L + 1)-th on, block by block.

    ``blocks`` are the signal's codes in order, of any length. The network is set to eval mode.
    """
    network.eval()
    if isinstance(network, SequenceModel):
        yield from network.dense_nats(blocks)
        return
    a = network.architecture
    layers = BufferedLayers(network.transformer, network.transformer.fold())
    device = network.head.output.weight.device
    codes_T: Tensor | None = None
    latents_ED = torch.empty(0, a.width, dtype=network.head.output.weight.dtype, device=device)
    for codes in _reblocked(blocks, SHARED_CONTEXTS * a.chunk):
        codes_T = codes.to(device) if codes_T is None else torch.cat([codes_T, codes.to(device)])
        # Every code but the newest ends a chunk that a target follows.
        begin = max(a.chunk - 1, len(codes_T) - 1 - len(codes))
        if begin < len(codes_T) - 1:
            unread = codes_T[begin - a.chunk + 1 : -1]
            latents_ED = torch.cat([latents_ED, network.encoder.dense(unread[None])[0]])
        latents_ED = latents_ED[-(a.context - a.chunk + len(codes)) :]
        targets = len(latents_ED) - (a.context - a.chunk)
        if targets > 0:
            yield _score(network, latents_ED, codes_T[-targets - a.context :], layers)
        codes_T = codes_T[-a.context :]


def _reblocked(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Yield the same codes in blocks of ``size``, the last one shorter."""
    pending: Tensor | None = None
    for block in blocks:
        pending = block.cpu() if pending is None else torch.cat([pending, block.cpu()])
        while len(pending) >= size:
            yield pending[:size]
            pending = pending[size:]
    if pending is not None and len(pending):
        yield pending


def _score(
    network: LatentTransformer, latents_ED: Tensor, codes_T: Tensor, layers: "BufferedLayers"
) -> Tensor:
    """Return the nats (E - L + C,) of the last codes; ``codes_T`` begin L before them."""
    a = network.architecture
    targets = len(codes_T) - a.context
    contexts = -(-targets // a.chunk)
    filled = functional.pad(latents_ED, (0, 0, 0, contexts * a.chunk - targets))
    # By phase: the N + m - 1 latents that its m contexts share.
    latents_CMD = filled.unflatten(0, (-1, a.chunk)).transpose(0, 1)
    size = max(1, READ_LATENTS[codes_T.device.type] // (contexts * a.latents))
    read = torch.cat(
        [read_full_contexts(network, part, layers) for part in latents_CMD.split(size)]
    )
    newest_TD = read.transpose(0, 1).flatten(0, 1)[:targets]
    recent = network.recent_outputs(codes_T[None, a.context - a.recent : -1]) if a.recent else None
    distribution = network.head(newest_TD[None], recent)
    return network.head.likelihood.nats(distribution, codes_T[None, -targets:].long())[0]


def read_full_contexts(
    network: LatentTransformer, latents_GMD: Tensor, layers: "BufferedLayers"
) -> Tensor:
    """Return the newest outputs (G, m, D) of m contexts in each of G phases (G, N + m - 1, D)."""
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
            newest = network.transformer.newest_output(part.flatten(0, 1), layers.folded)
        else:
            newest = layers.newest_output_from(shared.outputs(part, first), 1)
        read.append(newest.unflatten(0, part.shape[:2]))
    return torch.cat(read, 1)


@torch.no_grad()
def nats_from_silence(network: LatentTransformer | SequenceModel, codes_T: Tensor) -> Tensor:
    """Return the nats (T,) of all codes (T,) of a signal that begins with silence, for any model.

    A latent Transformer predicts a code from the chunks that end right before it, one at least and
    N at most. The oldest may begin in the silence before the signal.
    """
    network.eval()
    if isinstance(network, SequenceModel):
        of_sequence: Tensor = network(codes_T[None], Targets("sequence", 1))[1]
        return of_sequence.flatten()
    a = network.architecture
    before = max(a.chunk, a.recent)
    padded_1T = functional.pad(codes_T.long(), (before, 0), value=a.levels // 2)[None]
    latents_TD = network.encoder.dense(padded_1T[:, before - a.chunk : -1])[0]
    # By phase: code t is predicted from the latents t, t - C, t - 2 C and so on.
    filled = functional.pad(latents_TD, (0, 0, 0, -len(codes_T) % a.chunk))
    latents_CMD = filled.unflatten(0, (-1, a.chunk)).transpose(0, 1)
    together = min(len(latents_CMD[0]), a.latents + SHARED_CONTEXTS - 1)
    size = max(1, GROUPED_LATENTS[codes_T.device.type] // together)
    layers = BufferedLayers(network.transformer, network.transformer.fold())
    parts = [list(_read_up_to_each(network, part, layers)) for part in latents_CMD.split(size)]
    read_CMD = torch.cat([torch.cat(pieces, 1) for pieces in parts])
    read_TD = read_CMD.transpose(0, 1).flatten(0, 1)[: len(codes_T)]
    recent = network.recent_outputs(padded_1T[:, before - a.recent : -1]) if a.recent else None
    distribution = network.head(read_TD[None], recent)
    return network.head.likelihood.nats(distribution, codes_T[None].long())[0]


def _read_up_to_each(
    network: LatentTransformer, latents_GMD: Tensor, layers: "BufferedLayers"
) -> Iterator[Tensor]:
    """Yield the outputs (G, m, D) at each of the latents of G phases (G, M, D), in order.

    A latent's context are the N latents up to it. A causal model computes the first N in one pass;
    in a bidirectional model each is a context of its own.
    """
    transformer, longest = network.transformer, network.architecture.latents
    first_GND = latents_GMD[:, :longest]
    if transformer.causal:
        yield transformer.states(first_GND, layers.folded)[-1]
    else:
        for end in range(1, first_GND.shape[1] + 1):
            yield transformer.newest_output(first_GND[:, :end], layers.folded)[:, None]
    for first in range(1, latents_GMD.shape[1] - longest + 1, SHARED_CONTEXTS):
        shared_GMD = latents_GMD[:, first : first + longest - 1 + SHARED_CONTEXTS]
        yield read_full_contexts(network, shared_GMD, layers)


class BufferedLayers:
    """The layers of a folded bidirectional model over whole contexts, without gradients.

    The results equal :meth:`Transformer.newest_output_from`, but buffers are reused: writing to new
    memory page by page takes longer than some of the products.
    """

    def __init__(self, transformer: Transformer, folded: Sequence[Folded] | None) -> None:
        self.folded = folded
        self._transformer = transformer
        self._buffers: dict[str, Tensor] = {}

    def buffer(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """Return a buffer of this shape, which the next call with the same name overwrites."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != shape:
            buffer = self._buffers[name] = like.new_empty(shape)
        return buffer

    def newest_output_from(self, x_BND: Tensor, first: int) -> Tensor:
        """Return the newest output (B, D) of the layers from ``first`` on for input (B, N, D)."""
        last = len(self._transformer.layers) - 1
        for number in range(first, last):
            x_BND = self._output(number, x_BND)
        return self._transformer.newest_output_from(x_BND, last, self.folded)

    def _output(self, number: int, x_BND: Tensor) -> Tensor:
        assert self.folded is not None
        folded = self.folded[number]
        rows_RD = x_BND.flatten(0, 1)
        query_RI = self.buffer("query", x_BND, len(rows_RD), len(folded.query))
        torch.addmm(folded.query_bias, rows_RD, folded.query.T, out=query_RI)
        query_BRD = query_RI.view(len(x_BND), -1, x_BND.shape[2])
        weights_BRN = self.buffer("weights", x_BND, *query_BRD.shape[:2], x_BND.shape[1])
        torch.bmm(query_BRD, x_BND.transpose(1, 2), out=weights_BRN)
        torch.softmax(weights_BRN, -1, out=weights_BRN)
        # The heads' outputs have the size of their queries, which are no longer needed.
        torch.bmm(weights_BRN, x_BND, out=query_BRD)
        read_RD = self.buffer("read", x_BND, *rows_RD.shape)
        torch.addmm(folded.output_bias, query_RI, folded.output.T, out=read_RD)
        return self.after_attention(number, x_BND, read_RD.view(x_BND.shape))

    def after_attention(self, number: int, x_BND: Tensor, read_BND: Tensor) -> Tensor:
        """Return :meth:`Layer.after_attention`; ``read_BND`` is overwritten."""
        layer = self._transformer.layers[number]
        assert isinstance(layer, Layer)
        up, _, down = layer.feed_forward
        assert isinstance(up, nn.Linear) and isinstance(down, nn.Linear)
        x_BND = layer.attention_norm(read_BND.add_(x_BND))
        rows_RD = x_BND.flatten(0, 1)
        hidden_RF = self.buffer("hidden", x_BND, len(rows_RD), len(up.weight))
        torch.addmm(up.bias, rows_RD, up.weight.T, out=hidden_RF).relu_()
        fed_RD = self.buffer("fed", x_BND, *rows_RD.shape)
        torch.addmm(down.bias, hidden_RF, down.weight.T, out=fed_RD)
        output: Tensor = layer.feed_forward_norm(fed_RD.view(x_BND.shape).add_(x_BND))
        return output


class _SharedFirstLayer:
    """The first layer over the contexts in each of G phases (G, M, D), M = N + m - 1.

    A score is ``(e_i + p_a) W (e_j + p_b)`` for latents e and positions p. None of its four
    products depends on both the context and the position in it, so a context only adds them.
    """

    def __init__(
        self, network: LatentTransformer, latents_GMD: Tensor, layers: BufferedLayers
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
        self.latents_GMHM = (query_GRD @ latents_GDM).unflatten(1, rows)
        self.query_GMHN = (query_GRD @ self.places_ND.T).unflatten(1, rows)
        self.key_GNHM = (query_RD @ latents_GDM).unflatten(1, rows)
        self.place_NHN = (query_RD @ self.places_ND.T).unflatten(0, rows)
        value_HDD = folded.output.unflatten(1, by_head).permute(1, 2, 0)
        self.values_GHMD = latents_GMD[:, None] @ value_HDD
        self.values_HND = self.places_ND @ value_HDD

    def outputs(self, contexts_GmND: Tensor, first: int) -> Tensor:
        """Return the layer's outputs (G m, N, D) for the contexts from number ``first`` on."""
        phases, contexts, latents, width = contexts_GmND.shape
        part = slice(first, first + contexts)
        scores = self._sum(
            "first weights",
            self._latent_products(first, contexts),
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
            out=self.layers.buffer("first read", x_BND, *x_BND.shape),
        )
        read_BND += self.folded.output_bias
        return self.layers.after_attention(0, x_BND, read_BND)

    def _latent_products(self, first: int, contexts: int) -> Tensor:
        """Return the products of latents with latents for each context: (G, m, N, H, N).

        Context w has those of the latents w to w + N - 1, on both axes at once.
        """
        phases, _, heads, _ = self.latents_GMHM.shape
        to_phase, to_query, to_head, _ = self.latents_GMHM.stride()
        products: Tensor = self.latents_GMHM.as_strided(
            (phases, contexts, self.latents, heads, self.latents),
            (to_phase, to_query + 1, to_query, to_head, 1),
            self.latents_GMHM.storage_offset() + first * (to_query + 1),
        )
        return products

    def _sum(self, name: str, overlapping: Tensor, other: Tensor) -> Tensor:
        """Return the sum in contiguous memory, which a sum of overlapping views would not have."""
        return torch.add(
            overlapping, other, out=self.layers.buffer(name, other, *overlapping.shape)
        )
