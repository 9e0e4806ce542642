"""A run on disk: job, log, record, lease, study, model, cost.

May import level 1.
"""
