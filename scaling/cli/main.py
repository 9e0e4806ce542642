"""The program: all verbs in one application, and the next step for a newcomer.

Every verb imports its modules itself, so that help, plan and report start without PyTorch and Ray.
"""

from collections.abc import Callable
from pathlib import Path

import typer

from scaling.cli import audio, corpora, design, fit, machine, models, plan, studies
from scaling.cli.arguments import print_line

PAGE_NAME = "report.html"

app = typer.Typer(
    name="python -m scaling",
    help="Longwave: measure how raw-audio next-sample models scale with context, chunk and depth.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def begin(context: typer.Context) -> None:
    """Show the verbs and the next step."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        print_line(f"\n{next_step(Path.cwd())}")


VERBS: tuple[Callable[..., None], ...] = (
    *(corpora.prepare, corpora.verify, corpora.describe),
    *(design.design, design.power, plan.plan),
    *(studies.train, studies.sweep, studies.compare, studies.status, studies.report, fit.fit),
    *(models.evaluate, models.probe, models.forecast, models.export),
    *(audio.generate, audio.listen),
    *(machine.doctor, machine.bench, machine.rehearse),
)
for verb in VERBS:
    app.command()(verb)


def next_step(here: Path) -> str:
    """Return a sentence with the next command to type in the folder `here`."""
    from datasets.manifest import FILE_NAME as MANIFEST_NAME
    from scaling.runs.record import FILE_NAME as RECORD_NAME
    from scaling.runs.study import STUDY_NAME, read_states

    if not list(here.glob(f"data/*/{MANIFEST_NAME}")):
        return (
            "There is no corpus yet. Run `python -m scaling prepare "
            "configs/corpora/embedded.yaml` for the recording that ships with Longwave, or copy "
            "configs/corpora/folder.yaml for audio of your own."
        )
    studies = sorted(here.glob(f"runs/*/{STUDY_NAME}"), key=lambda path: path.stat().st_mtime)
    if not studies:
        return (
            "There is a corpus, and no study of it yet. Run `python -m scaling plan "
            "configs/sweeps/demo.yaml` to see what one costs, and `sweep` in place of `plan` to "
            "start it."
        )
    folder = studies[-1].parent
    named, page = folder.relative_to(here), folder / PAGE_NAME
    records = [path.stat().st_mtime for path in folder.glob(f"*/{RECORD_NAME}")]
    if not records or any(run.state not in ("finished", "pruned") for run in read_states(folder)):
        return f"Not every run of {named} is finished. Run `python -m scaling status {named}`."
    if not page.exists() or page.stat().st_mtime < max(records):
        return f"Every run of {named} is finished. Run `python -m scaling report {named}`."
    return (
        f"{named} has its report: open {named / PAGE_NAME}, or run `python -m scaling listen "
        f"{named}` to hear its runs."
    )
