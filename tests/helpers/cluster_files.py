"""Facts about the cluster files for several tests."""

import re

from tests.helpers.clone import CLONE


def pinned(name: str) -> str:
    found = re.search(rf"^{name}==(.+)$", (CLONE / "constraints.txt").read_text(), re.MULTILINE)
    return found.group(1)


# Values that exist nowhere: identifiers of zeros, and words in capitals.
PLACEHOLDER = re.compile(r"\b(?:ami|subnet|sg|vpc|fs)-0{8,}\b|\bYOUR-[A-Z-]+\b|\b123456789012\b")
SECRETS = re.compile(
    r"\bAKIA[0-9A-Z]{16}\b|aws_secret_access_key|PRIVATE KEY|RAY_AUTH_TOKEN=|\b[0-9a-f]{64}\b",
    re.IGNORECASE,
)
