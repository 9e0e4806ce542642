"""A downscaled run under injected faults, on a cluster of this machine.

May import levels 1 to 5.
"""
