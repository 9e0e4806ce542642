"""What a model costs: parameters and floating-point operations, by formula and by part.

Plain Python, so that a plan needs no torch. The tests hold the parameter counts against the built
module and the operations against torch's own counter.
"""

from model.architecture import LINEAR_ORDER, RECENT_CHANNELS, RECENT_KERNEL, Architecture


def parameters(architecture: Architecture) -> dict[str, int]:
    """Trainable parameters of each part of the model."""
    a = architecture
    inner = a.heads * a.head_size
    encoder = 0
    incoming = 1
    for filters in a.filters:
        encoder += a.kernel * incoming * filters + filters
        incoming = filters
    encoder += incoming * a.encoder_lengths[-1] * a.width + a.width
    attention = 3 * (a.width * inner + inner) + inner * a.width + a.width
    feed_forward = 2 * a.width * a.feed_forward + a.feed_forward + a.width
    counts = {
        "encoder": encoder,
        "transformer": a.layers * (attention + feed_forward + 4 * a.width),
        "head": a.width * a.hidden + a.hidden + a.hidden * a.outputs + a.outputs,
    }
    if a.recent:
        counts["recent"] = (
            RECENT_KERNEL * RECENT_CHANNELS * a.recent_filters
            + RECENT_KERNEL * a.recent_filters**2
            + 2 * a.recent_filters
            + a.recent_filters * a.recent_lengths[2] * a.width
            + a.width
        )
        counts["linear"] = LINEAR_ORDER + 2
    return counts


def forward_operations(architecture: Architecture, targets: int) -> dict[str, float]:
    """Forward operations (2 a multiply-add) for one window of ``targets`` targets a chunk apart.

    Counts the matrix products and convolutions, as torch's counter does. The encoder runs on the
    ``N + n - 1`` chunks that the targets share; the Transformer on N latents for each target, its
    last layer for the newest latent only.
    """
    a = architecture
    inner = a.heads * a.head_size
    chunk = 0
    incoming = 1
    for filters, length in zip(a.filters, a.encoder_lengths[1:], strict=True):
        chunk += a.kernel * incoming * filters * length
        incoming = filters
    chunk += incoming * a.encoder_lengths[-1] * a.width
    projections = 2 * a.width * inner
    keys_values = a.latents * projections
    per_query = projections + 2 * a.latents * inner + 2 * a.width * a.feed_forward
    queries = (a.layers - 1) * a.latents + 1
    multiply_adds = {
        "encoder": (a.latents + targets - 1) * chunk,
        "transformer": targets * (a.layers * keys_values + queries * per_query),
        "head": targets * (a.width * a.hidden + a.hidden * a.outputs),
    }
    if a.recent:
        _, middle, last = a.recent_lengths
        multiply_adds["recent"] = targets * (
            RECENT_KERNEL * RECENT_CHANNELS * a.recent_filters * middle
            + RECENT_KERNEL * a.recent_filters**2 * last
            + a.recent_filters * last * a.width
        )
        multiply_adds["linear"] = targets * LINEAR_ORDER * (a.recent_lengths[0] + 1)
    return {part: 2.0 * count for part, count in multiply_adds.items()}


def training_operations(architecture: Architecture, targets: int) -> float:
    """Forward and backward operations of one window: three times the forward ones.

    The backward pass of a product costs two products of its size (Kaplan et al. 2020,
    arXiv 2001.08361, section 2.1).
    """
    return 3 * sum(forward_operations(architecture, targets).values())
