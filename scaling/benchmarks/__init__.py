"""Measurements of the model's fast paths, of the stream, and of worker processes.

May import levels 1 to 4.
"""
