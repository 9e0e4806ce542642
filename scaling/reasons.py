"""Why workers stop after a step: by number, so that they can agree by their sums."""

NONE, ENDING, DRAINING, ROOM, SPENT = range(5)
SENTENCES = (
    "",
    "a worker was told to end (SIGTERM)",
    "a node is being taken away",
    "there is room for more workers",
    "what cluster.max_dollars allows is spent",
)
"""What each number means; where several are given, the highest counts."""
