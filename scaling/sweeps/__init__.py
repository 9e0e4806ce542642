"""Many runs under Ray Tune, and successive halving.

May import levels 1 to 5.
"""
