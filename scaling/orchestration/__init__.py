"""The driver of a run: start, restarts, supervision, worker count.

May import levels 1 to 4.
"""
