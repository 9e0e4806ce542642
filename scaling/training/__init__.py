"""The work of one worker: loop, engine, data, heartbeat, record.

May import levels 1 to 3.
"""
