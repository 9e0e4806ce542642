"""Ray's cluster and its nodes: connection, token, doctor, preflight.

May import level 1.
"""
