"""From run records to series and the laws of a study.

May import levels 1 and 2.
"""
