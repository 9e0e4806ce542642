"""Cost, memory, throughput and designs of sweeps, before a run starts; without torch and Ray.

May import levels 1 and 2.
"""
