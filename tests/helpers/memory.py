"""The peak of the CPU memory that a piece of work allocates."""

from itertools import accumulate

from torch.profiler import ProfilerActivity, profile


def peak_bytes(work):
    """Return the most bytes that torch's CPU allocator gives out during ``work``, beyond the start.

    Unlike resident memory, this has no constant part, and counts memory that is never touched.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = profiler.profiler.kineto_results.events()
    taken = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    return max(accumulate(change for _, change in sorted(taken, key=lambda pair: pair[0])))
