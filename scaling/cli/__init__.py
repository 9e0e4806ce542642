"""The command line: a module for each group of verbs, their tables, and the progress of runs.

May import every package.
"""
