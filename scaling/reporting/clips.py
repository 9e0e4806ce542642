"""Audio clips that ``listen`` wrote into a study's folder, and the page of all of them."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.files import write_whole
from scaling.reporting.page import render

FOLDER, INDEX, PAGE = "listen", "clips.json", "listen.html"


@dataclass(frozen=True)
class Clip:
    """One clip: its name, the sentence under its player, and sound and picture as data URLs.

    ``kind`` is ``prompt``, ``anchor`` or ``continuation``, ``prompt`` the number of the prompt.
    ``nats`` is the run's loss on the true continuation (nats a sample). ``run``, ``temperature``
    and ``nats`` are None for recordings.
    """

    kind: str
    prompt: int
    name: str
    caption: str
    sound: str
    picture: str
    run: str | None
    temperature: float | None
    nats: float | None


def read_clips(folder: Path) -> list[Clip]:
    """Read the clips of a study in the order in which they were written; empty without any."""
    index = folder / FOLDER / INDEX
    if not index.exists():
        return []
    entries: list[dict[str, Any]] = json.loads(index.read_text())
    # The index has more fields than a page shows.
    shown = ("kind", "prompt", "name", "caption", "run", "temperature", "nats")
    return [
        Clip(
            sound=_url(index.parent / entry["file"], "audio/flac"),
            picture=_url(index.parent / entry["picture"], "image/png"),
            **{name: entry[name] for name in shown},
        )
        for entry in entries
    ]


def first_prompt_clips(clips: list[Clip]) -> list[Clip]:
    """Return the clips of the first prompt at the first temperature, for a report."""
    temperatures = [clip.temperature for clip in clips if clip.temperature is not None]
    return [
        clip for clip in clips if clip.prompt == 0 and clip.temperature in (None, *temperatures[:1])
    ]


def write_page(folder: Path) -> Path:
    """Write ``listen.html`` into a study's folder, with all clips and a blind comparison."""
    clips = read_clips(folder)
    prompts: dict[int, list[Clip]] = {}
    for clip in clips:
        prompts.setdefault(clip.prompt, []).append(clip)
    path = folder / PAGE
    study = {"study": folder.resolve().name, "kicker": "Longwave listening page"}
    write_whole(path, render("listen.html.j2", study | {"prompts": prompts}))
    return path


def _url(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
