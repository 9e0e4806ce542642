"""Checkpoints with a manifest, written in the background, for any ZeRO stage.

May import levels 1 and 2.
"""
