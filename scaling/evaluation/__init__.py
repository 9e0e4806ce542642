"""Scores of a model: protocols, validation, clustered errors, paired differences, probe.

May import levels 1 and 2.
"""
