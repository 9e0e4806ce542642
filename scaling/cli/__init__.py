"""The command line: one module for each group of verbs, the tables that they print, and progress.

May import every package.
"""
