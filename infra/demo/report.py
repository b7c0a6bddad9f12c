"""What the demo shows: progress while it runs, then the transcript. Plain lines where nobody watches a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from infra.demo.receiver import ReceivedWebhook

_COLORS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_BAR_WIDTH = 20
_PLAIN_STEP_PERCENT = 20  # how often a log hears of progress within one stage


@contextmanager
def step(console: Console, doing: str) -> Iterator[None]:
    """A spinner while the block runs, or one line in a log."""
    if console.is_terminal:
        with console.status(doing):
            yield
    else:
        console.print(f"{doing} …")
        yield


def follow(console: Console, states: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Show every state as it comes; the last one."""
    return _follow_live(console, states) if console.is_terminal else _follow_plain(console, states)


def _follow_live(console: Console, states: Iterable[dict[str, Any]]) -> dict[str, Any]:
    job: dict[str, Any] = {}
    columns = (TextColumn("{task.description:<14}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("queued", total=100)
        for job in states:
            progress.update(bar, description=_stage(job), completed=_percent(job))
    return job


def _follow_plain(console: Console, states: Iterable[dict[str, Any]]) -> dict[str, Any]:
    job: dict[str, Any] = {}
    shown = ("", 0)
    for job in states:
        stage, percent = _stage(job), _percent(job)
        if stage != shown[0] or percent >= shown[1] + _PLAIN_STEP_PERCENT:
            shown = (stage, percent)
            console.print(f"  {percent:3d} %  {stage}")
    return job


def _stage(job: dict[str, Any]) -> str:
    return str(job.get("stage", job["status"])).replace("_", " ")


def _percent(job: dict[str, Any]) -> int:
    return 100 if job["status"] == "completed" else int(job.get("progress", 0))


def show_result(console: Console, job: dict[str, Any]) -> None:
    """Speakers, every line with its time and speaker, and the summary."""
    labels = [speaker["label"] for speaker in job["speakers"]]
    colors = {label: _COLORS[index % len(_COLORS)] for index, label in enumerate(labels)}
    console.print()
    console.print(_speakers(job["speakers"], colors))
    console.print(_lines(job["segments"], colors))
    if not job["segments"]:
        console.print("No speech was found in this recording.")
    if job.get("summary"):
        console.print(Panel(Text(job["summary"]), title="Summary", title_align="left"))


def _speakers(speakers: list[dict[str, Any]], colors: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    total = sum(speaker["speaking_time"] for speaker in speakers) or 1.0
    for speaker in speakers:
        share = speaker["speaking_time"] / total
        table.add_row(
            Text(speaker["label"], style=f"bold {colors[speaker['label']]}"),
            Text(f"{speaker['speaking_time']:.1f} s", justify="right"),
            Text("━" * max(1, round(share * _BAR_WIDTH)), style=colors[speaker["label"]]),
            f"{share:.0%}",
        )
    return table


def _lines(segments: list[dict[str, Any]], colors: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_row()
    for segment in segments:
        speaker = segment.get("speaker", "")
        table.add_row(
            Text(clock(segment["start"]), style="dim"), Text(speaker, style=colors.get(speaker, "")), segment["text"]
        )
    table.add_row()
    return table


def show_receipt(console: Console, job: dict[str, Any], webhook: ReceivedWebhook) -> None:
    """Topics, what it cost, which engines did it, and the webhook that told us."""
    engine = job["engine"]
    names = [engine[part] for part in ("transcriber", "diarizer", "aligner", "summarizer") if engine.get(part)]
    event = webhook.headers.get("webhook-id", "without an id")
    rows = {
        "Topics": " · ".join(job.get("topics") or ["none"]),
        "Credits": f"{job['credits_used']:g} used for {job['duration_seconds']:.1f} s ({job['language']})",
        "Engines": ", ".join(dict.fromkeys(names)),
        "Webhook": f"{webhook.body.get('status')} for this job, {event}{', signed' if webhook.signed else ''}",
    }
    table = Table.grid(padding=(0, 3))
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value))
    for warning in job.get("warnings", []):
        table.add_row(Text("Warning", style="bold yellow"), Text(warning))
    console.print(table)


def clock(seconds: float) -> str:
    """Seconds as m:ss.d, with hours only where there are any."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours}:{minutes:02d}' if hours else minutes}:{tenths // 10:02d}.{tenths % 10}"
