"""Checkpoints with a manifest, written beside the run, for any ZeRO stage.

May import levels 1 and 2.
"""
