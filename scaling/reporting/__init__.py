"""Figures, pages and texts of a study or a corpus, with their templates.

May import levels 1 to 3.
"""
