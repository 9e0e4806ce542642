"""Configurations: what may be set, how YAML becomes it, what must fit together.

Imports nothing else of scaling.
"""
