"""Paths, environment, polling and the table of a terminal.

Imports nothing else of scaling.
"""
