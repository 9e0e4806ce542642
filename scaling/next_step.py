"""What to type next, by what there is already."""

from pathlib import Path

from datasets.manifest import FILE_NAME as MANIFEST_NAME
from scaling.record import FILE_NAME as RECORD_NAME
from scaling.study import STUDY_NAME, read

PAGE_NAME = "report.html"


def next_step(here: Path) -> str:
    """A sentence for somebody who stands in the folder ``here`` and does not know what to do."""
    if not list(here.glob(f"data/*/{MANIFEST_NAME}")):
        return (
            "There is no corpus yet. Type `python -m scaling prepare "
            "configs/corpora/embedded.yaml` for the recording that ships with Longwave, or copy "
            "configs/corpora/folder.yaml for audio of your own."
        )
    studies = sorted(here.glob(f"runs/*/{STUDY_NAME}"), key=lambda path: path.stat().st_mtime)
    if not studies:
        return (
            "There is a corpus, and no study of it yet. Type `python -m scaling plan "
            "configs/sweeps/demo.yaml` to see what one costs, and `sweep` in place of `plan` to "
            "start it."
        )
    folder = studies[-1].parent
    named, page = folder.relative_to(here), folder / PAGE_NAME
    records = [path.stat().st_mtime for path in folder.glob(f"*/{RECORD_NAME}")]
    if not records or any(run.state not in ("finished", "pruned") for run in read(folder)):
        return f"Not every run of {named} is finished. Type `python -m scaling status {named}`."
    if not page.exists() or page.stat().st_mtime < max(records):
        return f"Every run of {named} is finished. Type `python -m scaling report {named}`."
    return (
        f"{named} has its report: open {named / PAGE_NAME}, or type `python -m scaling listen "
        f"{named}` to hear its runs."
    )
