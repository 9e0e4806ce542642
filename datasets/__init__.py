"""Audio files to windows of codes: read, quantise, split, shard, refer, enumerate, stream.

A reader follows the modules in this order: ``audio`` (file to mono float blocks), ``quantise``
(float to 8-bit codes), ``splits`` (which samples are held out), ``shards`` (codes on disk),
``references`` (the plain predictors every loss is read against), ``manifest`` (what a prepared
corpus holds), ``convert`` (one file through all of these), ``prepare`` (the Ray Data job over the
files), ``permutation`` and ``windows`` (which targets are seen, and in which order), ``stream``
(windows to the workers).
"""
