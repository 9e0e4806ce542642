"""Turn audio files into windows of codes.

The modules in reading order: ``settings`` (the request), ``sources`` (the files, in folders,
archives and buckets: ``archives``, ``storage``), ``inventory`` (each file once, with its split:
``splits``), ``takes`` (files to recordings), ``convert`` (takes to a shard: ``audio``, ``augment``,
``level``, ``quantise``, ``shards``), ``summary`` (statistics of the codes: ``references``),
``manifest`` (the description of a prepared corpus) and ``prepare``, which calls them in turn.
Training reads with ``permutation`` and ``windows`` (targets and their order) and ``stream``
(windows to the workers). The package imports neither ``model`` nor ``scaling``.
"""
