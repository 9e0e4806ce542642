"""Facts of a healthy machine, which tests of checks change one by one."""

from scaling.cluster.machine import MachineFacts, own_versions

GIB = 2**30


def healthy(**changes) -> MachineFacts:
    """Return the facts of a machine that is fit for a run, with these changes."""
    reference = own_versions()
    facts = {
        "reference": reference,
        "executable": "/usr/bin/python3",
        "versions": reference.versions,
        "files": reference.files,
        "foreign": [],
        "cores": 8,
        "memory_available": 16 * GIB,
        "memory_total": 32 * GIB,
        "free": {"/tmp": 50 * GIB},
        "shared_memory": 16 * GIB,
        "gpus": [],
        "gpu_error": None,
        "stale_locks": [],
        "token": "/root/.ray/auth_token",
        "token_mode": 0o600,
        "token_named": False,
        "address": None,
    }
    return MachineFacts(**facts | changes)
