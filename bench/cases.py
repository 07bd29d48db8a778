"""The cases as one table: who runs what, which number is read, what it may be at most, and how it was taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

OURS, FLOOR = "ours", "floor"
HUB, G4F, FAL, LITELLM = "huggingface_hub", "g4f", "fal-client", "LiteLLM"
MODULES = {OURS: "ours", FLOOR: "floor", HUB: "hub", G4F: "g4f", FAL: "fal", LITELLM: "litellm"}
COUNT = "instructions"  # read of what is counted, and not timed
Middle = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One number, of each who is compared.

    ``run`` maps a name to the words of its program; programs that several cases share are run once. ``read`` is the
    number's name in what the program prints. ``ok`` judges ours beside the others.
    """

    about: str
    how: str
    unit: str
    read: str
    run: dict[str, tuple[str, ...]]
    budget: str = ""
    ok: Callable[[Middle], bool] | None = None
    cannot: dict[str, str] = field(default_factory=dict)  # who cannot do it, and why
    rounds: int = 5
    less: dict[str, int] = field(default_factory=dict)  # who runs fewer rounds than that


def driven(what: str, model: str, jobs: int, at_once: int, prompt: str, *who: str) -> dict[str, tuple[str, ...]]:
    """The same work for each of them."""
    return {name: ("bench.driver", MODULES[name], what, model, str(jobs), str(at_once), prompt) for name in who}


def served(quick: bool) -> dict[str, Case]:
    """The gateway's cases, and the page's."""
    both = {who: ("bench.gateway", MODULES[who], "both") for who in (FLOOR, LITELLM)}
    alone, crowd = ({OURS: ("bench.gateway", "ours", what), **both} for what in ("alone", "crowd"))
    starts = {who: words for who, words in alone.items() if who != FLOOR}
    no_floor = {FLOOR: "no gateway"}
    first = {OURS: ("bench.firstload", "2" if quick else "10")}
    once = {LITELLM: 1, FLOOR: 1}  # it needs half a minute for each start
    return {
        "gateway-ready": Case(
            "the gateway, from the start of its process until it is ready", "until its health is told to be good", "s",
            "ready", starts, "1.5 s", lambda middle: middle[OURS] <= 1.5, no_floor, 3, once,
        ),
        "gateway-idle": Case(
            "the gateway, idle memory", "resident memory half a second later", "MB", "idle", starts, "90 MB",
            lambda middle: middle[OURS] <= 90, no_floor, 3, once,
        ),
        "gateway-through": Case(
            "the gateway, a request", "median of 100 requests of one client; ours makes the picture and keeps the "
            "file, LiteLLM hands on an address", "ms", "through", alone, rounds=3, less=once,
        ),
        "gateway-added": Case(
            "the gateway, time added to a request", "median over 100 pairs, by turns: a request, and the same without "
            "the gateway (ours: a call of the library; LiteLLM: the API behind it)", "ms", "added", starts, "5 ms",
            lambda middle: middle[OURS] <= 5, no_floor, 3, once,
        ),
        **{
            f"gateway-{what}-{clients}": Case(
                f"the gateway, {words}, {clients} clients", "pictures of 20 kB, each client one after the other; one "
                "run", unit, f"{what}-{clients}", crowd, rounds=1,
            )
            for clients in (1, 16, 64, 256)
            for what, words, unit in (("rate", "rate", "/s"), ("p50", "median", "ms"), ("p99", "99th percentile", "ms"))
        },
        "gateway-after": Case(
            "the gateway, memory after all these requests", "resident memory", "MB", "after", crowd, rounds=1,
            cannot=no_floor,
        ),
        "gateway-grown": Case(
            "the gateway, memory grown over 1,800 requests more", "resident memory; an hour's worth, 16 clients", "MB",
            "grown", crowd, rounds=1, cannot={LITELLM: "left out: a minute more", **no_floor},
        ),
        "page-time": Case(
            "the studio's first load in Chromium", "median of 10 loads with nothing kept, from navigation until the "
            "page is loaded and its form ready", "ms", "ms", first, "300 ms", lambda middle: middle[OURS] <= 300,
            rounds=1,
        ),
        "page-size": Case(
            "the same, bytes", "all answers with their headers, as the browser counts them", "kB", "kb", first,
            "100 kB", lambda middle: middle[OURS] <= 100, rounds=1,
        ),
    }  # fmt: skip


def cases(quick: bool) -> dict[str, Case]:
    """All of them; ``quick`` makes the long ones small, and no budget of those is judged by it."""
    answering = (OURS, FLOOR, HUB)
    many = 300 if quick else 1000
    prompts, events = ("500", ("0", "60000")) if quick else ("10000", ("0", "1000", "10000", "100000", "1000000"))
    videos = driven("video", "bench/video", 100, 100, "a kite", OURS, FLOOR, HUB, FAL)
    thousand = driven("video", "bench/video", many, many, "a kite", OURS, FLOOR)
    images = driven("image", "bench/image", 100, 100, "a kite", OURS, FLOOR, HUB)
    images |= driven("image", "bench/image", 20, 20, "a kite", G4F)  # it makes one after the other, which takes long
    films = driven("video", "bench/film", 16, 16, "a kite", OURS, FLOOR, HUB, FAL)
    inline = driven("image", "bench/inline", 1, 1, "a kite", OURS, FLOOR, HUB)
    late = driven("video", "bench/video", 20, 20, "a kite for {x} s", OURS, FLOOR, HUB, FAL)
    no_queue = {G4F: "knows no queue"}
    images_only = {FAL: "the queue only"}
    peers_once, g4f_twice = {HUB: 1, FAL: 1}, {G4F: 2}  # they take long, and vary little
    longest = "how late a ticker of 5 ms came at worst while the case above ran"
    ticks: dict[str, Case] = {
        f"pause-{name}": Case(
            f"longest pause of the event loop, {words}", longest, "ms", "pause", run, "25 ms",
            lambda middle: middle[OURS] <= 25, rounds=rounds, less=less,
        )
        for name, words, run, rounds, less in (
            ("videos", "100 videos at once", videos, 3, peers_once),
            ("images", "100 images at once", images, 5, g4f_twice),
            ("thousand", f"{many} videos at once", thousand, 2, {FLOOR: 1}),
            ("films", "16 videos of 50 MB", films, 3, peers_once), ("inline", "20 MB of base64", inline, 5, {HUB: 3}),
        )
    }  # fmt: skip
    rates = {
        f"rate-{jobs}": Case(
            f"pictures of 20 kB, {jobs} side by side", "pictures finished a second, 100 or one for each line",
            "/s", "rate", driven("image", "bench/small", max(100, jobs), jobs, "a kite", *answering),
            rounds=1 if jobs == many else 2,
            cannot={G4F: "left out: it takes 20 s for 100, one after the other", **images_only},
        )
        for jobs in (1, 10, 100, many)
    }  # fmt: skip
    start = {OURS: ("bench.start", "-c", "import hfmedia"), FLOOR: ("bench.start", "-c", "pass")}
    imported = {HUB: 3, G4F: 3, FAL: 3}
    start |= {
        HUB: ("bench.start", "-c", "from huggingface_hub import AsyncInferenceClient"),
        G4F: ("bench.start", "-c", "from g4f.Provider import HuggingFaceMedia"),
        FAL: ("bench.start", "-c", "import fal_client"),
    }
    alone = {who: start[who] for who in (OURS, FLOOR)}  # a minute more for the others
    helped = {OURS: ("bench.start", "-m", "hfmedia", "--help"), FLOOR: ("bench.start", "-c", "pass")}
    counted = "counted by valgrind in one run, the interpreter's own start included"
    catalogue = {OURS: ("bench.catalogue", "ours", "cold"), HUB: ("bench.catalogue", "hub", "cold")}
    catalogue |= {G4F: ("bench.catalogue", "g4f", "cold")}
    return {
        "import": Case(
            "import hfmedia, beyond the bare interpreter", "a process from start to end, less one that does nothing",
            "ms", "wall", start, "60 ms", lambda middle: middle[OURS] - middle[FLOOR] <= 60,
            less=imported,
        ),
        "import-instructions": Case("the same, in instructions", counted, "M", COUNT, alone, rounds=1),
        "import-client": Case(
            "import hfmedia and name MediaClient, beyond the interpreter", "as above: with what a first call needs",
            "ms", "wall", {**start, OURS: ("bench.start", "-c", "import hfmedia; hfmedia.MediaClient")}, less=imported,
        ),
        "help": Case(
            "hfmedia --help, warm", "a process from start to end", "ms", "wall", helped, "200 ms",
            lambda middle: middle[OURS] <= 200,
        ),
        "help-instructions": Case("the same, in instructions", counted, "M", COUNT, helped, rounds=1),
        "videos": Case(
            "100 video jobs of 2 s, at once", "seconds from the first call to the last file, after one job as warm-up",
            "s", "wall", videos, "2.3 s", lambda middle: middle[OURS] <= 2.3, no_queue, 3, peers_once,
        ),
        "thousand": Case(
            f"{many} video jobs of 2 s in one process", "as above", "s", "wall", thousand, "2.8 s",
            lambda middle: middle[OURS] <= 2.8, {HUB: "over a minute, by its rate at 100", **no_queue}, 2, {FLOOR: 1},
        ),
        "thousand-memory": Case(
            "the same, memory", "peak of the process's resident memory", "MB", "peak", thousand, "120 MB",
            lambda middle: middle[OURS] <= 120, {HUB: "over a minute, by its rate at 100", **no_queue}, 2, {FLOOR: 1},
        ),
        "image": Case(
            "CPU of one image of 1 MB by URL", "CPU time of the process for 100 at once (g4f: 20), for each of them, "
            "after one as warm-up", "ms", "cpu", images, "1.35 x floor, 0.5 x huggingface_hub",
            lambda middle: middle[OURS] <= min(1.35 * middle[FLOOR], 0.5 * middle[HUB]), images_only, less=g4f_twice,
        ),
        "films": Case(
            "16 videos of 50 MB at once, memory above idle", "peak of resident memory less that before the first call",
            "MB", "above", films, "24 MB", lambda middle: middle[OURS] <= 24, no_queue, 3, peers_once,
        ),
        "inline": Case(
            "one image of 20 MB base64, memory above idle", "as above", "MB", "above", inline, "50 MB",
            lambda middle: middle[OURS] <= 50, {G4F: "reads addresses only", **images_only}, less={HUB: 3},
        ),
        **ticks,
        **served(quick),
        "lag": Case(
            "from the provider's done to the file", "mean over 20 videos of 1.5 to 2.5 s, by the clock both share",
            "ms", "lag", late, rounds=2, cannot=no_queue, less=peers_once,
        ),
        **rates,
        "growth": Case(
            "CPU of a job's six facts in the ledger", "200 jobs side by side in a ledger of so many events; one run",
            "ms", "growth", {OURS: ("bench.growth", *events)}, rounds=1,
            cannot=dict.fromkeys((FLOOR, HUB, G4F, FAL), "has no ledger"),
        ),
        "catalogue-cold": Case(
            "50,000 models listed, cold", "a new process with no cache; g4f reads the first 1,000 only", "ms", "wall",
            catalogue, rounds=2,
        ),
        "catalogue-warm": Case(
            "50,000 models listed, warm", "a new process, the cache of the one before; the peers have none", "ms",
            "wall", {OURS: ("bench.catalogue", "ours", "warm")}, rounds=2,
        ),
        "batch": Case(
            f"a batch of {prompts} prompts, pictures of 20 kB", "the command with 32 at once, from outside; one run",
            "/s", "rate", {OURS: ("bench.batch", prompts)}, rounds=1,
        ),
        "batch-memory": Case(
            "the same, memory grown in its second half", "resident memory at the end less that at half the files", "MB",
            "grown", {OURS: ("bench.batch", prompts)}, rounds=1,
        ),
    }  # fmt: skip


POLLED = {
    "polls": Case(
        "polls for a job of 60 s, nothing known", "requests counted by the provider, the result included", "", "polls",
        {}, "40", lambda middle: middle[OURS] <= 40, {G4F: "knows no queue"}, 1,
    ),
    "polls-known": Case(
        "the same, in a new process whose ledger has one such job", "as above; the others learn nothing", "", "known",
        {}, "15", lambda middle: middle[OURS] <= 15, {G4F: "knows no queue"}, 1,
    ),
}  # fmt: skip
