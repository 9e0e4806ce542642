"""Audio files to windows of codes: find, read, quantise, shard, refer, enumerate, stream.

A reader follows the modules in this order: ``settings`` (what is asked), ``sources`` (which files,
in folders, archives and buckets: ``archives``, ``storage``), ``inventory`` (each once, with its
split: ``splits``), ``takes`` (what becomes a recording), ``convert`` (takes to a shard: ``audio``,
``augment``, ``level``, ``quantise``, ``shards``), ``summary`` (what the codes hold:
``references``), ``manifest`` (what a prepared corpus says of itself) and ``prepare``, which calls
them in turn; then ``permutation`` and ``windows`` (which targets are seen, and in which order) and
``stream`` (windows to the workers).
"""
