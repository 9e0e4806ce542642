"""From a table of numbers to a law with intervals; without runs and records.

May import level 1.
"""
