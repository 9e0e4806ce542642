"""The verbs that make audio: continue a file, and continue held-out prompts with many runs."""

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.arguments import Run, console, print_line
from scaling.config.load import ConfigError


def generate(
    run: Run,
    prompt: Annotated[
        Path | None,
        typer.Option(help="Continue this audio file, such as prompt.wav. The default is silence."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Generate this many seconds of audio.")] = 1.0,
    temperature: Annotated[
        float,
        typer.Option(help="Divide the logits by this, such as 0.8; 0 takes the likeliest code."),
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(help="Draw from the k likeliest codes alone, such as 50.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Draw from the likeliest codes of this joint probability, such as 0.9."),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(
            help="Draw from codes with at least this share of the highest probability, such as "
            "0.05."
        ),
    ] = None,
    typical_p: Annotated[
        float | None,
        typer.Option(
            help="Draw from codes whose surprise is closest to the entropy, with this joint "
            "probability, such as 0.9."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed the random numbers.")] = 0,
    batch: Annotated[int, typer.Option(help="Generate this many continuations at once.")] = 1,
    silence: Annotated[
        float | None,
        typer.Option(help="Stop after all have been silent for this many seconds, such as 0.5."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write to this folder, such as heard. The default is `generated` in the run's "
            "folder."
        ),
    ] = None,
) -> None:
    """Continue an audio file or silence.

    Write WAV files and pictures of their spectrograms, and print the likeliest continuation first.
    Ctrl-C stops early and keeps the audio made so far.
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
            partial(show, step),
        )
    for line in summary_lines(written):
        print_line(line)
    took = time.monotonic() - begun
    print_line(
        f"{made:.4g} s of audio{'' if batch == 1 else ' each'} in {took:.4g} s: "
        f"{batch * made / took:.3g} times real time"
    )


def listen(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Name a study's folder, such as runs/demo, or folders of runs."),
    ],
    seconds: Annotated[float, typer.Option(help="Let each run add this many seconds.")] = 1.0,
    temperatures: Annotated[
        str,
        typer.Option(
            help="Generate at each of these temperatures, such as 0.8,1.0; 0 takes the likeliest "
            "code."
        ),
    ] = "1.0",
    seed: Annotated[
        int, typer.Option(help="Seed the random numbers, with the same seed for every run.")
    ] = 0,
    prompts: Annotated[
        int, typer.Option(min=1, help="Take this many prompts from the test split.")
    ] = 1,
    most: Annotated[
        int,
        typer.Option(
            min=1, help="Take at most this many runs of a study, the best per depth and context."
        ),
    ] = 4,
) -> None:
    """Continue held-out prompts with the runs of a study.

    Write listen.html, and players for the study's report.
    """
    from scaling.cli.progress import bars
    from scaling.inference.listen import ListeningRequest
    from scaling.inference.listen import listen as continue_all
    from scaling.reporting.clips import write_page

    try:
        drawn_at = tuple(float(one) for one in temperatures.split(","))
    except ValueError as error:
        raise ConfigError(
            [f"temperatures is {temperatures!r}: write numbers, such as 0.8,1.0"]
        ) from error
    asked = ListeningRequest(seconds, drawn_at, seed, prompts, most)
    with bars(console) as show:
        index, skipped = continue_all(folders, asked, partial(show, "samples"))
    for sentence in skipped:
        print_line(f"left out: {sentence}")
    study = index.parent.parent
    print_line(write_page(study).resolve())
    print_line(f"{index}: python -m scaling report {study}")
