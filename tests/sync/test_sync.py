"""Synchronous functions: the client's methods by the same names, with the sandbox, from every kind of program."""

from __future__ import annotations

import _thread
import asyncio
import inspect
import os
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path

import pytest

import hfmedia
from hfmedia.sandbox import Sandbox

IMAGE = "black-forest-labs/FLUX.1-schnell"
VIDEO = "Wan-AI/Wan2.2-T2V-A14B"
SLOW = f"{IMAGE}:fal-ai"
MAKING = ("text_to_image", "text_to_video", "image_to_image", "image_to_video", "generate")
DOORS = (*MAKING, "models", "mapping", "jobs", "resume", "cancel")


@pytest.mark.parametrize("name", DOORS)
def test_a_function_has_the_signature_of_the_method(name: str) -> None:
    """Same parameters, same order, same defaults, same types; only the word ``async`` is missing."""
    method = inspect.signature(getattr(hfmedia.MediaClient, name), eval_str=True)
    function = inspect.signature(getattr(hfmedia, name), eval_str=True)
    assert list(function.parameters.values()) == list(method.parameters.values())[1:]
    if name != "generate":
        assert function.return_annotation == method.return_annotation


def test_an_image_is_generated_and_stored(sandbox: Sandbox) -> None:
    """The first call of a new user."""
    media = hfmedia.text_to_image("a red fox", model=IMAGE, seed=7, width=256, height=256)
    assert (media.width, media.height, media.seed) == (256, 256, 7)
    assert media.path.stat().st_size == media.bytes
    assert sandbox.submissions[media.provider] == 1


def test_every_generating_function_generates(sandbox: Sandbox, tmp_path: Path) -> None:
    """Image and video, from a prompt and from an image, to the requested file."""
    picture = BytesIO()
    from PIL import Image

    Image.new("RGB", (64, 64), "orange").save(picture, "PNG")
    media_items = [
        hfmedia.text_to_video("waves", model=VIDEO, output=tmp_path / "waves.mp4"),
        hfmedia.image_to_image(
            picture.getvalue(), "autumn", model="black-forest-labs/FLUX.1-Kontext-dev", output=tmp_path / "autumn.jpg"
        ),
        hfmedia.image_to_video(
            picture.getvalue(), "it moves", model="Wan-AI/Wan2.2-I2V-A14B", output=tmp_path / "moves.mp4"
        ),
    ]
    assert [media.path.name for media in media_items] == ["waves.mp4", "autumn.jpg", "moves.mp4"]
    assert [media.mime.partition("/")[0] for media in media_items] == ["video", "image", "video"]


def test_events_arrive_and_one_client_remembers_all_jobs(sandbox: Sandbox) -> None:
    """The functions share one client: a job of one is listed by another."""
    events = list(hfmedia.generate("a fox", model=IMAGE, n=2, width=64, height=64))
    ready = [event for event in events if isinstance(event, hfmedia.MediaReady)]
    assert {event.index for event in ready} == {0, 1}
    assert isinstance(events[0], hfmedia.Started)
    assert {job.id for job in hfmedia.jobs()} == {event.job_id for event in ready}
    assert {job.state for job in hfmedia.jobs()} == {"stored"}


def test_a_stored_job_is_resumed_at_no_extra_cost(sandbox: Sandbox) -> None:
    """Its media is downloaded again from the provider."""
    media = hfmedia.text_to_image("a fox", model=SLOW, width=64, height=64)
    again = hfmedia.resume(media.job_id)
    assert again.data == media.data
    assert sandbox.submissions == {"fal-ai": 1}


def test_models_and_mapping_are_looked_up(sandbox: Sandbox) -> None:
    """Nothing is submitted for that."""
    assert VIDEO in {model.id for model in hfmedia.models("text-to-video")}
    assert hfmedia.mapping(VIDEO).mappings[0].provider == "fal-ai"
    assert not sandbox.submissions


def test_errors_come_out_typed(sandbox: Sandbox) -> None:
    """As from the client, from a call and from a generator alike."""
    with pytest.raises(hfmedia.InvalidRequestError, match="prompt is empty"):
        hfmedia.text_to_image(" ")
    with pytest.raises(hfmedia.ModelNotFoundError):
        hfmedia.text_to_image("a fox", model="acme/unknown")
    with pytest.raises(hfmedia.InvalidRequestError, match="n is 0"):
        list(hfmedia.generate("a fox", model=IMAGE, n=0))


async def test_functions_work_while_a_loop_is_running(sandbox: Sandbox) -> None:
    """As in a notebook."""
    assert asyncio.get_running_loop().is_running()
    assert hfmedia.text_to_image("a fox", model=IMAGE, width=64, height=64).width == 64


def test_an_interrupt_cancels_the_job_at_the_provider(sandbox: Sandbox) -> None:
    """Ctrl-C while waiting: KeyboardInterrupt here, and a cancelled job there."""
    sandbox.fault("fal-ai", "cold", seconds=3000)
    threading.Thread(target=_interrupt_when_accepted, args=(sandbox,), daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        hfmedia.text_to_video("waves", model=f"{VIDEO}:fal-ai")
    assert [job.state for job in hfmedia.jobs()] == ["cancelled"]
    assert [job.is_cancelled for job in sandbox.jobs.values()] == [True]


def _interrupt_when_accepted(sandbox: Sandbox) -> None:
    while not any(seen.kind == "poll" for seen in sandbox.requests):
        threading.Event().wait(0.01)
    _thread.interrupt_main()


def test_leaving_a_generator_cancels_running_jobs(sandbox: Sandbox) -> None:
    """``break`` is enough."""
    sandbox.fault("fal-ai", "cold", seconds=3000)
    events = hfmedia.generate("waves", model=f"{VIDEO}:fal-ai")
    for event in events:
        if isinstance(event, hfmedia.Queued):
            break
    events.close()
    assert [job.is_cancelled for job in sandbox.jobs.values()] == [True]


def test_a_job_is_cancelled_from_another_thread(sandbox: Sandbox) -> None:
    """The thread that waits for it receives a typed error."""
    sandbox.fault("fal-ai", "cold", seconds=3000)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            hfmedia.text_to_video("waves", model=f"{VIDEO}:fal-ai")
        except hfmedia.JobCancelledError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not [job for job in hfmedia.jobs() if job.state == "running"]:
        threading.Event().wait(0.01)
    job = hfmedia.cancel(hfmedia.jobs()[0].id)
    waiting.join(20)
    assert job.state == "cancelled"
    assert [type(error) for error in errors] == [hfmedia.JobCancelledError]


def test_the_environment_is_read_again_after_close(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next call uses the current environment."""
    hfmedia.text_to_image("a fox", model=IMAGE, width=64, height=64)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HFMEDIA_HOME", str(tmp_path / "another"))
    hfmedia.close()
    hfmedia.close()
    assert hfmedia.jobs() == []
    with pytest.raises(hfmedia.MissingAuthError):
        hfmedia.text_to_image("a fox", model=IMAGE)


PROGRAMS = {
    "one image": "import hfmedia; print(hfmedia.text_to_image('a fox', model=M, width=64, height=64).width)",
    "left running": (
        "import hfmedia\nevents = hfmedia.generate('a fox', model=M, n=3)\nprint(type(next(events)).__name__)"
    ),
    "thread left waiting": (
        "import hfmedia, threading, time\n"
        "threading.Thread(target=lambda: list(hfmedia.generate('waves', model=V)), daemon=True).start()\n"
        "while not [j for j in hfmedia.jobs() if j.state == 'running']: time.sleep(0.01)\n"
        "print('bye')"
    ),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
def test_a_program_ends_without_a_warning(program: str, sandbox: Sandbox) -> None:
    """Without an explicit close; nothing hangs, and no warning is printed."""
    sandbox.fault("fal-ai", "slow", times=None, step="poll", seconds=0.1)
    if "threading" in program:  # on a busy machine the job could complete before the program sees that it runs
        sandbox.fault("fal-ai", "cold", times=1, seconds=100)
    done = _run(f"M, V = {IMAGE!r}, {VIDEO + ':fal-ai'!r}\n{program}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_its_own_client(sandbox: Sandbox) -> None:
    """It does not use the parent's connections; both keep working without warnings."""
    done = _run(
        "import hfmedia, os, sys\n"
        f"make = lambda: hfmedia.text_to_image('a fox', model={IMAGE!r}, width=64, height=64)\n"
        "make()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    make(); print('child', len(hfmedia.jobs()), flush=True); sys.exit(0)\n"
        "print(os.waitpid(child, 0)[1], flush=True)\n"
        "make(); print('parent', len(hfmedia.jobs()))",
        "-W",
        "ignore:This process:DeprecationWarning",  # Python's own word on forking beside threads
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == ["child 2", "0", "parent 3", ""]  # one ledger for both


def _run(program: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *more, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
