"""Models trained on equal budgets and scored alike, in one table and page.

May import levels 1 to 6.
"""
