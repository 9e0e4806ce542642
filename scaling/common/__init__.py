"""Paths, versions, hardware, polling and tables of a terminal.

Imports nothing else of scaling.
"""
