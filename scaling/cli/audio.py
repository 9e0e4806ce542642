"""The verbs that make audio: continue a file, let a study be heard."""

import time
from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.arguments import console
from scaling.cli.models import Run
from scaling.config.load import ConfigError


def generate(
    run: Run,
    prompt: Annotated[
        Path | None, typer.Option(help="An audio file to continue; without it, silence.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Seconds to add.")] = 1.0,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest code.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Only the k likeliest codes.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Only the likeliest codes of this joint probability.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Only codes of this share of the likeliest's probability.")
    ] = None,
    typical_p: Annotated[
        float | None, typer.Option(help="Only codes of typical surprise, of this probability.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 0,
    batch: Annotated[int, typer.Option(help="Continuations at once.")] = 1,
    silence: Annotated[
        float | None, typer.Option(help="End after so many seconds in which all are silent.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A folder; without it the run's `generated`.")
    ] = None,
) -> None:
    """Continuations of an audio file or of silence: WAV files with pictures of their spectrograms.

    The likeliest is named first. Ctrl-C ends them early, and what is there is kept.
    """
    from model.sampling import Sampling
    from scaling.cli.progress import bars
    from scaling.inference.continuation import GenerationRequest, continue_prompt, summary_lines
    from scaling.runs.trained_model import TrainedModel

    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p
    )
    trained = TrainedModel.load(run)
    step = f"samples ({trained.record.corpus.rate:,}/s is real time)"
    begun = time.monotonic()
    with bars(console) as show:
        written, made = continue_prompt(
            trained,
            prompt,
            GenerationRequest(seconds, sampling, seed, batch, silence),
            out or run / "generated",
            lambda done, total: show(step, done, total),
        )
    for line in summary_lines(written):
        console.print(line, markup=False, soft_wrap=True, highlight=False)
    took = time.monotonic() - begun
    console.print(
        f"{made:.4g} s of audio{'' if batch == 1 else ' each'} in {took:.4g} s: "
        f"{batch * made / took:.3g} times real time",
        soft_wrap=True,
        highlight=False,
    )


def listen(
    folders: Annotated[
        list[Path], typer.Argument(help="A study's folder, such as runs/demo, or runs' folders.")
    ],
    seconds: Annotated[float, typer.Option(help="Seconds that each run adds.")] = 1.0,
    temperatures: Annotated[
        str, typer.Option(help="Such as 0.8,1.0; 0 takes the likeliest.")
    ] = "1.0",
    seed: Annotated[int, typer.Option(help="Of the random numbers, the same for every run.")] = 0,
    prompts: Annotated[int, typer.Option(min=1, help="Places of the test split.")] = 1,
    most: Annotated[
        int, typer.Option(min=1, help="Runs of a study, the best of each depth and context.")
    ] = 4,
) -> None:
    """Let runs continue held-out prompts: listen.html, and the players of the study's report."""
    from scaling.cli.progress import bars
    from scaling.inference.listen import ListeningRequest
    from scaling.inference.listen import listen as continue_all
    from scaling.reporting.clips import write_page

    try:
        drawn_at = tuple(float(one) for one in temperatures.split(","))
    except ValueError as error:
        raise ConfigError(
            [f"temperatures is {temperatures!r}: write numbers, as 0.8,1.0"]
        ) from error
    asked = ListeningRequest(seconds, drawn_at, seed, prompts, most)
    with bars(console) as show:
        index, skipped = continue_all(
            folders, asked, lambda done, total: show("samples", done, total)
        )
    for sentence in skipped:
        console.print(f"left out: {sentence}", markup=False, highlight=False, soft_wrap=True)
    study = index.parent.parent
    console.print(str(write_page(study).resolve()), soft_wrap=True, highlight=False)
    console.print(f"{index}: python -m scaling report {study}", soft_wrap=True, highlight=False)
