"""A run made small and struck by faults on a cluster of this machine.

May import levels 1 to 5.
"""
