"""What ``listen`` wrote into a study's folder, ready for a page; and a page of nothing else."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.files import replacing
from scaling.reporting.page import render

FOLDER, INDEX, PAGE = "listen", "clips.json", "listen.html"


@dataclass(frozen=True)
class Clip:
    """One player: what is heard, the sentence under it, sound and picture as data URLs.

    ``kind`` is ``prompt``, ``anchor`` or ``continuation``, ``prompt`` the number of the prompt.
    ``run``, ``temperature`` and ``nats`` (the run's loss on the true continuation) are None where
    there is none.
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
    """The clips of a study in the order in which they were written; none where there are none."""
    index = folder / FOLDER / INDEX
    if not index.exists():
        return []
    told: list[dict[str, Any]] = json.loads(index.read_text())
    return [
        Clip(
            sound=_url(folder / FOLDER / one["file"], "audio/flac"),
            picture=_url(folder / FOLDER / one["picture"], "image/png"),
            **{
                name: one[name]
                for name in ("kind", "prompt", "name", "caption", "run", "temperature", "nats")
            },
        )
        for one in told
    ]


def first_prompt_clips(clips: list[Clip]) -> list[Clip]:
    """Those of the first prompt at the first temperature: what a report has room for."""
    temperatures = [clip.temperature for clip in clips if clip.temperature is not None]
    return [
        clip for clip in clips if clip.prompt == 0 and clip.temperature in (None, *temperatures[:1])
    ]


def write_page(folder: Path) -> Path:
    """Write ``listen.html`` into a study's folder: all clips, and a blind comparison of them."""
    clips = read_clips(folder)
    prompts: dict[int, list[Clip]] = {}
    for clip in clips:
        prompts.setdefault(clip.prompt, []).append(clip)
    path = folder / PAGE
    content = {"study": folder.resolve().name, "kicker": "Longwave listening page"}
    with replacing(path) as partial:
        partial.write_text(render("listen.html.j2", {**content, "prompts": prompts}))
    return path


def _url(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
