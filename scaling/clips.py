"""The audio of a report: what ``listen`` wrote into the study's folder, ready for a page."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER, INDEX = "listen", "clips.json"


@dataclass(frozen=True)
class Clip:
    """One player: what is heard, the sentence under it, and the sound as a data URL.

    ``kind`` is ``prompt``, ``anchor`` or ``continuation``. ``run`` and ``nats`` (the run's loss on
    the true continuation) are None where there is none.
    """

    kind: str
    name: str
    caption: str
    sound: str
    run: str | None
    nats: float | None


def clips_of(folder: Path) -> list[Clip]:
    """The clips of a study in the order in which they were written; none where there are none."""
    index = folder / FOLDER / INDEX
    if not index.exists():
        return []
    told: list[dict[str, Any]] = json.loads(index.read_text())
    return [
        Clip(
            kind=one["kind"],
            name=one["name"],
            caption=one["caption"],
            sound=_url(folder / FOLDER / one["file"]),
            run=one["run"],
            nats=one["nats"],
        )
        for one in told
    ]


def _url(path: Path) -> str:
    return "data:audio/flac;base64," + base64.b64encode(path.read_bytes()).decode()
