"""Speedup of each fast path of the paper's model over the naive way, on this machine.

The naive way is a direct implementation of the paper: each target has a window of the full context,
all its chunks pass the convolutions at once, and every latent has keys and values. Only unused
queries are left out. Dropout is off. The module needs neither Ray nor DeepSpeed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor

from model import accounting
from model.architecture import Architecture
from model.inference.dense import SHARED_CONTEXTS, dense_nats
from model.inference.generation import CudaGraphStep, Step, compile_step
from model.inference.streams import Streams
from model.network import LatentTransformer
from model.sampling import Sampling, Uniforms, draw
from model.targets import Targets
from scaling.benchmarks.timing import (
    Benchmark,
    Progress,
    Timed,
    matmul_ceiling,
    one_thread,
    side_by_side,
)
from scaling.common.terminal import table_of_pairs

CONTEXT = 128_000
REPEATS = 3
LONG_REPEATS = 2
STEPS = 200
LONG_PHASES = 250
"""Phases per window of the mode `samples` at long contexts; all of them would take minutes."""


@dataclass(frozen=True)
class BenchRow:
    """Comparison of two ways: the work, its times, and its share of the matrix-product rate."""

    what: str
    context: int
    unit: str
    timed: Timed
    of_ceiling: float | None


@dataclass(frozen=True)
class Bench(Benchmark):
    """All comparisons on one machine."""

    ceilings: dict[str, float]
    rows: list[BenchRow]

    def table(self) -> Table:
        """Return the comparisons as a table for a terminal."""
        clock = "wall time" if torch.cuda.is_available() else "CPU time of one thread"
        ceilings = ", ".join(f"{k} {v / 1e9:,.0f} GFLOP/s" for k, v in self.ceilings.items())
        rows = [
            (
                ("work", row.what),
                ("context", f"{row.context:,}"),
                ("speedup", f"{row.timed.ratio:,.1f}"),
                ("range", f"{row.timed.lowest:,.1f} to {row.timed.highest:,.1f}"),
                ("per second", f"{1 / row.timed.fast_seconds:,.1f} {row.unit}"),
                ("naive per second", f"{1 / row.timed.naive_seconds:,.2f}"),
                ("of ceiling", "" if row.of_ceiling is None else f"{row.of_ceiling:.0%}"),
                ("peak memory", f"{row.timed.peak_bytes / 2**30:.2f} GiB"),
            )
            for row in self.rows
        ]
        return table_of_pairs(
            f"{self.hardware['processor']}, GPUs: {self.hardware['gpus']}; {clock}; "
            f"matrix product: {ceilings}",
            rows,
        )


def measure(progress: Progress) -> Bench:
    """Measure every row; call ``progress(done, total)`` after each."""
    with one_thread():
        ceilings = {
            "float32": matmul_ceiling(torch.float32, _device()),
            "bfloat16": matmul_ceiling(torch.bfloat16, _device()),
        }
        cases = list(_cases())
        rows = []
        for case in cases:
            rows.append(case(ceilings))
            progress(len(rows), len(cases))
    return Bench(*Benchmark.machine(), ceilings, rows)


Case = Callable[[dict[str, float]], BenchRow]


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _network(context: int, attention: str = "bidirectional") -> LatentTransformer:
    """Return the paper's model without dropout, at any context."""
    quiet = {"dropout": 0.0, "encoder_dropout": 0.0, "head_dropout": 0.0, "token_drop": 0.0}
    torch.manual_seed(0)
    architecture = Architecture(context=context, attention=attention, **quiet)  # type: ignore[arg-type]
    return LatentTransformer(architecture).to(_device())


def _naive(network: LatentTransformer) -> LatentTransformer:
    """Return the same model with its products in the plain order, without the fast paths."""
    plain = _network(network.architecture.context)
    plain.encoder.stack.cached_runs = None
    plain.transformer.latents_are_keys = False
    for layer in plain.transformer.attentions():
        layer.latents_are_keys = False
    return plain


def _codes(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(_device())


def _training(
    network: LatentTransformer, targets: Targets, positions: int, dtype: torch.dtype
) -> tuple[Callable[[], None], int]:
    """Return the forward and backward pass on one window, and its number of targets."""
    window = _codes(1, targets.samples(positions, network.architecture))

    def step() -> None:
        network.zero_grad()
        with torch.autocast(_device(), dtype, enabled=dtype != torch.float32):
            loss, _ = network(window, targets)
        loss.backward()

    return step, positions * targets.phases


def _cases() -> Iterator[Case]:
    """Yield all comparisons, in the order of the table."""
    for context, last in ((128_000, (64, 256)), (512_000, (64,)), (1_024_000, (256,))):
        latents = context // 2_000
        for positions in last:
            yield _training_case(context, "bidirectional", Targets("last", 2_000), positions)
        yield _training_case(context, "causal", Targets("chunks", 2_000), latents)
        phases = 2_000 if context == CONTEXT else LONG_PHASES
        yield _training_case(context, "causal", Targets("samples", 2_000, phases), latents)
    yield _evaluation_case
    for attention in ("bidirectional", "causal"):
        for batch in (1, 16):
            yield _generation_case(attention, batch, compiled=False)
    if _device() == "cpu":
        for attention, batch in (("bidirectional", 1), ("causal", 1), ("causal", 16)):
            yield _generation_case(attention, batch, compiled=True)
    yield _precision_case("bidirectional", Targets("last", 2_000), 64)
    yield _precision_case("causal", Targets("chunks", 2_000), 64)


def _training_case(context: int, attention: str, targets: Targets, positions: int) -> Case:
    def case(ceilings: dict[str, float]) -> BenchRow:
        network = _network(context, attention)
        alone = accounting.naive_targets(network.architecture)
        naive, _ = _training(_naive(network), alone, 1, torch.float32)
        fast, count = _training(network, targets, positions, torch.float32)
        # Long windows take minutes, and shorter ones before them have warmed the same code.
        long = context > CONTEXT
        repeats = REPEATS if not long else 1 if targets.mode == "samples" else LONG_REPEATS
        timed = side_by_side(naive, 1, fast, count, repeats, warm=not long)
        detail = {
            "last": f"{positions} a window",
            "chunks": "every chunk",
            "samples": f"{targets.phases} of 2000 phases",
        }[targets.mode]
        share = _share(network, targets, positions, timed, ceilings["float32"])
        return BenchRow(f"train {targets.mode}, {detail}", context, "targets", timed, share)

    return case


def _share(
    network: LatentTransformer, targets: Targets, positions: int, timed: Timed, ceiling: float
) -> float:
    """Return the share of the matrix-product rate that the fast way of training reaches."""
    operations, _ = accounting.training_operations_per_target(
        network.architecture, targets, positions
    )
    return operations / timed.fast_seconds / ceiling


def _evaluation_case(_ceilings: dict[str, float]) -> BenchRow:
    network = _network(CONTEXT).eval()
    plain = _naive(network).eval()
    alone = accounting.naive_targets(network.architecture)
    window = _codes(1, CONTEXT + 1)
    block = SHARED_CONTEXTS * network.architecture.chunk
    values = dense_nats(network, _codes(CONTEXT + (REPEATS + 2) * block).split(block))
    # The first block costs more, because its context is encoded with it.
    next(values)
    with torch.no_grad():
        timed = side_by_side(
            lambda: plain(window, alone), 1, lambda: next(values), block, REPEATS, warm=False
        )
    return BenchRow("evaluate every sample, bidirectional", CONTEXT, "samples", timed, None)


def _generation_case(attention: str, batch: int, *, compiled: bool) -> Case:
    def case(_ceilings: dict[str, float]) -> BenchRow:
        network = _network(CONTEXT, attention).eval()
        streams = Streams(network, _codes(batch, network.architecture.chunk))
        _pretend_full(streams)
        step: Step = streams.step
        if _device() == "cuda":
            step = CudaGraphStep(streams)
        elif compiled:
            step = compile_step(streams)
        sampling, uniforms = Sampling(), Uniforms(0, batch)
        state = {"codes": _codes(batch).long()}

        def fast() -> None:
            with torch.no_grad():
                for _ in range(STEPS):
                    logits = step(state["codes"])
                    state["codes"] = draw(logits, uniforms.step().to(logits.device), sampling)

        plain = _naive(network).eval()
        window, alone = _codes(1, CONTEXT + 1), accounting.naive_targets(network.architecture)

        def naive() -> None:
            with torch.no_grad():
                logits = plain.logits(window, alone)[:, 0, 0]
                draw(logits, torch.zeros(1), sampling)

        timed = side_by_side(naive, 1, fast, STEPS * batch, REPEATS)
        how = " compiled" if compiled else ""
        return BenchRow(
            f"generate {attention}, batch {batch}{how}", CONTEXT, "samples", timed, None
        )

    return case


def _pretend_full(streams: Streams) -> None:
    """Set the streams to a full context without such a prompt: steps then have their full cost."""
    streams.clock.fill_(CONTEXT)
    streams.pushed = CONTEXT
    for tensor in streams.state:
        if tensor.is_floating_point():
            # Memory that was never written is read from a single page of zeros, which is faster.
            tensor.add_(0.01)


def _precision_case(attention: str, targets: Targets, positions: int) -> Case:
    """Compare bfloat16 products with float32 ones in the same model."""

    def case(ceilings: dict[str, float]) -> BenchRow:
        network = _network(CONTEXT, attention)
        whole, count = _training(network, targets, positions, torch.float32)
        half, _ = _training(network, targets, positions, torch.bfloat16)
        timed = side_by_side(whole, count, half, count, REPEATS)
        share = _share(network, targets, positions, timed, ceilings["bfloat16"])
        work = f"train {targets.mode} in bfloat16 (naive: float32)"
        return BenchRow(work, CONTEXT, "targets", timed, share)

    return case
