"""Uses of a finished run: continuations, listening pages, export.

May import levels 1 to 4.
"""
