"""Ray's cluster and its nodes: connection, token, checks of a machine and of a cluster.

May import level 1.
"""
