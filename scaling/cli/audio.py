"""The verbs that make audio: continue a file, and continue held-out prompts with many runs."""

import time
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from scaling.cli.arguments import Out, Run, Seed, console, print_line
from scaling.cli.progress import progress_bars
from scaling.config.load import ConfigError

TopP = Annotated[
    float | None,
    Option(help="Draw from the likeliest codes of this joint probability, such as 0.9."),
]
MinP = Annotated[
    float | None,
    Option(
        help="Draw from codes with at least this share of the highest probability, such as 0.05."
    ),
]
TypicalP = Annotated[
    float | None,
    Option(help="Draw from codes of typical surprise with this joint probability, such as 0.9."),
]


def generate(
    run: Run,
    prompt: Annotated[
        Path | None, Option(help="Continue this audio file instead of silence, such as prompt.wav.")
    ] = None,
    seconds: Annotated[float, Option(help="Generate this many seconds of audio.")] = 1.0,
    temperature: Annotated[
        float, Option(help="Divide the logits by this, such as 0.8; 0 takes the likeliest code.")
    ] = 1.0,
    top_k: Annotated[
        int | None, Option(help="Draw from the k likeliest codes, such as 50.")
    ] = None,
    top_p: TopP = None,
    min_p: MinP = None,
    typical_p: TypicalP = None,
    seed: Seed = 0,
    batch: Annotated[int, Option(help="Generate this many continuations at once.")] = 1,
    silence: Annotated[
        float | None, Option(help="Stop after all were silent for this many seconds, such as 0.5.")
    ] = None,
    out: Out = None,
) -> None:
    """Continue an audio file or silence.

    Write WAV files and pictures of their spectrograms to --out, or to `generated` in the run's
    folder. Print the likeliest first.
    Ctrl-C stops early and keeps the audio made so far.
    """
    from model.sampling import Sampling
    from scaling.inference.continuation import GenerationRequest, continue_prompt, summary_lines
    from scaling.runs.trained_model import TrainedModel

    sampling = Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p
    )
    trained = TrainedModel.load(run)
    step = f"samples ({trained.record.corpus.rate:,}/s is real time)"
    begun = time.monotonic()
    with progress_bars(console) as show:
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
        list[Path], Argument(help="Name a study's folder, such as runs/demo, or folders of runs.")
    ],
    seconds: Annotated[float, Option(help="Let each run add this many seconds.")] = 1.0,
    temperatures: Annotated[
        str, Option(help="Generate at each of these, such as 0.8,1.0; 0 takes the likeliest code.")
    ] = "1.0",
    seed: Seed = 0,
    prompts: Annotated[int, Option(min=1, help="Take this many prompts of the test split.")] = 1,
    most: Annotated[
        int, Option(min=1, help="Take at most this many runs, the best per depth and context.")
    ] = 4,
) -> None:
    """Continue held-out prompts with the runs of a study.

    Write listen.html, and players for the study's report.
    """
    from scaling.inference.listen import ListeningRequest
    from scaling.inference.listen import listen as continue_all
    from scaling.reporting.clips import write_page

    try:
        drawn_at = tuple(float(one) for one in temperatures.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--temperatures is {temperatures!r}: write numbers, such as 0.8,1.0"
        ) from error
    asked = ListeningRequest(seconds, drawn_at, seed, prompts, most)
    with progress_bars(console) as show:
        index, skipped = continue_all(folders, asked, partial(show, "samples"))
    for sentence in skipped:
        print_line(f"left out: {sentence}")
    study = index.parent.parent
    print_line(write_page(study).resolve())
    print_line(f"{index}: python -m scaling report {study}")
