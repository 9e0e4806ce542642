"""The work of one worker: loop, engine, batches, heartbeat, preemption, its record.

May import levels 1 to 3.
"""
