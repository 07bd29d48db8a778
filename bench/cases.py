"""The cases as one table: who runs what, which number is read, what it may be at most, and how it was taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

HFMEDIA, FLOOR = "ours", "floor"
HUGGINGFACE_HUB, G4F, FAL_CLIENT, LITELLM = "huggingface_hub", "g4f", "fal-client", "LiteLLM"
MODULES = {HFMEDIA: "ours", FLOOR: "floor", HUGGINGFACE_HUB: "hub", G4F: "g4f", FAL_CLIENT: "fal", LITELLM: "litellm"}
INSTRUCTIONS = "instructions"  # read of what is counted, and not timed
Medians = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One number, of each who is compared.

    ``run`` maps a name to the words of its program; programs that several cases share are run once. ``read`` is the
    number's name in what the program prints. ``ok`` judges ours beside the others.
    """

    title: str
    method: str
    unit: str
    metric: str
    commands: dict[str, tuple[str, ...]]
    budget: str = ""
    is_within_budget: Callable[[Medians], bool] | None = None
    unsupported: dict[str, str] = field(default_factory=dict)  # who cannot do it, and why
    rounds: int = 5
    rounds_by_client: dict[str, int] = field(default_factory=dict)  # who runs fewer rounds than that


def driver_commands(
    method: str, model: str, jobs: int, at_once: int, prompt: str, *clients: str
) -> dict[str, tuple[str, ...]]:
    """The same work for each of them."""
    return {name: ("bench.driver", MODULES[name], method, model, str(jobs), str(at_once), prompt) for name in clients}


def gateway_cases(quick: bool) -> dict[str, Case]:
    """The gateway's cases, and the page's."""
    both = {client: ("bench.gateway", MODULES[client], "both") for client in (FLOOR, LITELLM)}
    alone, concurrent = ({HFMEDIA: ("bench.gateway", "ours", metric), **both} for metric in ("alone", "crowd"))
    starts = {client: label for client, label in alone.items() if client != FLOOR}
    no_floor = {FLOOR: "no gateway"}
    first_load = {HFMEDIA: ("bench.page_load", "2" if quick else "10")}
    single_round = {LITELLM: 1, FLOOR: 1}  # it needs half a minute for each start
    return {
        "gateway-ready": Case(
            "the gateway, from the start of its process until it is ready", "until its health is told to be good", "s",
            "ready", starts, "1.5 s", lambda middle: middle[HFMEDIA] <= 1.5, no_floor, 3, single_round,
        ),
        "gateway-idle": Case(
            "the gateway, idle memory", "resident memory half a second later", "MB", "idle", starts, "90 MB",
            lambda middle: middle[HFMEDIA] <= 90, no_floor, 3, single_round,
        ),
        "gateway-through": Case(
            "the gateway, a request", "median of 100 requests of one client; ours makes the picture and keeps the "
            "file, LiteLLM hands on an address", "ms", "through", alone, rounds=3, rounds_by_client=single_round,
        ),
        "gateway-added": Case(
            "the gateway, time added to a request", "median over 100 pairs, by turns: a request, and the same without "
            "the gateway (ours: a call of the library; LiteLLM: the API behind it)", "ms", "added", starts, "5 ms",
            lambda middle: middle[HFMEDIA] <= 5, no_floor, 3, single_round,
        ),
        **{
            f"gateway-{metric}-{clients}": Case(
                f"the gateway, {label}, {clients} clients", "pictures of 20 kB, each client one after the other; one "
                "run", unit, f"{metric}-{clients}", concurrent, rounds=1,
            )
            for clients in (1, 16, 64, 256)
            for metric, label, unit in (("rate", "rate", "/s"), ("p50", "median", "ms"), ("p99", "99th percentile", "ms"))
        },
        "gateway-after": Case(
            "the gateway, memory after all these requests", "resident memory", "MB", "after", concurrent, rounds=1,
            unsupported=no_floor,
        ),
        "gateway-grown": Case(
            "the gateway, memory grown over 1,800 requests more", "resident memory; an hour's worth, 16 clients", "MB",
            "grown", concurrent, rounds=1, unsupported={LITELLM: "left out: a minute more", **no_floor},
        ),
        "page-time": Case(
            "the studio's first load in Chromium", "median of 10 loads with nothing kept, from navigation until the "
            "page is loaded and its form ready", "ms", "ms", first_load, "300 ms", lambda middle: middle[HFMEDIA] <= 300,
            rounds=1,
        ),
        "page-size": Case(
            "the same, bytes", "all answers with their headers, as the browser counts them", "kB", "kb", first_load,
            "100 kB", lambda middle: middle[HFMEDIA] <= 100, rounds=1,
        ),
    }  # fmt: skip


def all_cases(quick: bool) -> dict[str, Case]:
    """All of them; ``quick`` makes the long ones small, and no budget of those is judged by it."""
    clients = (HFMEDIA, FLOOR, HUGGINGFACE_HUB)
    job_count = 300 if quick else 1000
    prompts, events = ("500", ("0", "60000")) if quick else ("10000", ("0", "1000", "10000", "100000", "1000000"))
    videos = driver_commands("video", "bench/video", 100, 100, "a kite", HFMEDIA, FLOOR, HUGGINGFACE_HUB, FAL_CLIENT)
    thousand = driver_commands("video", "bench/video", job_count, job_count, "a kite", HFMEDIA, FLOOR)
    images = driver_commands("image", "bench/image", 100, 100, "a kite", HFMEDIA, FLOOR, HUGGINGFACE_HUB)
    images |= driver_commands(
        "image", "bench/image", 20, 20, "a kite", G4F
    )  # it makes one after the other, which takes long
    films = driver_commands("video", "bench/film", 16, 16, "a kite", HFMEDIA, FLOOR, HUGGINGFACE_HUB, FAL_CLIENT)
    inline = driver_commands("image", "bench/inline", 1, 1, "a kite", HFMEDIA, FLOOR, HUGGINGFACE_HUB)
    staggered = driver_commands(
        "video", "bench/video", 20, 20, "a kite for {x} s", HFMEDIA, FLOOR, HUGGINGFACE_HUB, FAL_CLIENT
    )
    no_queue = {G4F: "knows no queue"}
    images_only = {FAL_CLIENT: "the queue only"}
    fewer_peer_rounds, g4f_rounds = {HUGGINGFACE_HUB: 1, FAL_CLIENT: 1}, {G4F: 2}  # they take long, and vary little
    pause_method = "how late a ticker of 5 ms came at worst while the case above ran"
    ticks: dict[str, Case] = {
        f"pause-{name}": Case(
            f"longest pause of the event loop, {label}", pause_method, "ms", "pause", commands, "25 ms",
            lambda middle: middle[HFMEDIA] <= 25, rounds=rounds, rounds_by_client=rounds_by_client,
        )
        for name, label, commands, rounds, rounds_by_client in (
            ("videos", "100 videos at once", videos, 3, fewer_peer_rounds),
            ("images", "100 images at once", images, 5, g4f_rounds),
            ("thousand", f"{job_count} videos at once", thousand, 2, {FLOOR: 1}),
            ("films", "16 videos of 50 MB", films, 3, fewer_peer_rounds), ("inline", "20 MB of base64", inline, 5, {HUGGINGFACE_HUB: 3}),
        )
    }  # fmt: skip
    rates = {
        f"rate-{jobs}": Case(
            f"pictures of 20 kB, {jobs} side by side", "pictures finished a second, 100 or one for each line",
            "/s", "rate", driver_commands("image", "bench/small", max(100, jobs), jobs, "a kite", *clients),
            rounds=1 if jobs == job_count else 2,
            unsupported={G4F: "left out: it takes 20 s for 100, one after the other", **images_only},
        )
        for jobs in (1, 10, 100, job_count)
    }  # fmt: skip
    import_commands = {HFMEDIA: ("bench.start", "-c", "import hfmedia"), FLOOR: ("bench.start", "-c", "pass")}
    import_rounds = {HUGGINGFACE_HUB: 3, G4F: 3, FAL_CLIENT: 3}
    import_commands |= {
        HUGGINGFACE_HUB: ("bench.start", "-c", "from huggingface_hub import AsyncInferenceClient"),
        G4F: ("bench.start", "-c", "from g4f.Provider import HuggingFaceMedia"),
        FAL_CLIENT: ("bench.start", "-c", "import fal_client"),
    }
    own_and_floor = {client: import_commands[client] for client in (HFMEDIA, FLOOR)}  # a minute more for the others
    help_commands = {HFMEDIA: ("bench.start", "-m", "hfmedia", "--help"), FLOOR: ("bench.start", "-c", "pass")}
    count_method = "counted by valgrind in one run, the interpreter's own start included"
    catalog_commands = {
        HFMEDIA: ("bench.catalog", "ours", "cold"),
        HUGGINGFACE_HUB: ("bench.catalog", "hub", "cold"),
    }
    catalog_commands |= {G4F: ("bench.catalog", "g4f", "cold")}
    return {
        "import": Case(
            "import hfmedia, beyond the bare interpreter", "a process from start to end, less one that does nothing",
            "ms", "wall", import_commands, "60 ms", lambda middle: middle[HFMEDIA] - middle[FLOOR] <= 60,
            rounds_by_client=import_rounds,
        ),
        "import-instructions": Case("the same, in instructions", count_method, "M", INSTRUCTIONS, own_and_floor, rounds=1),
        "import-client": Case(
            "import hfmedia and name MediaClient, beyond the interpreter", "as above: with what a first call needs",
            "ms", "wall", {**import_commands, HFMEDIA: ("bench.start", "-c", "import hfmedia; hfmedia.MediaClient")}, rounds_by_client=import_rounds,
        ),
        "help": Case(
            "hfmedia --help, warm", "a process from start to end", "ms", "wall", help_commands, "200 ms",
            lambda middle: middle[HFMEDIA] <= 200,
        ),
        "help-instructions": Case("the same, in instructions", count_method, "M", INSTRUCTIONS, help_commands, rounds=1),
        "videos": Case(
            "100 video jobs of 2 s, at once", "seconds from the first call to the last file, after one job as warm-up",
            "s", "wall", videos, "2.3 s", lambda middle: middle[HFMEDIA] <= 2.3, no_queue, 3, fewer_peer_rounds,
        ),
        "thousand": Case(
            f"{job_count} video jobs of 2 s in one process", "as above", "s", "wall", thousand, "2.8 s",
            lambda middle: middle[HFMEDIA] <= 2.8, {HUGGINGFACE_HUB: "over a minute, by its rate at 100", **no_queue}, 2, {FLOOR: 1},
        ),
        "thousand-memory": Case(
            "the same, memory", "peak of the process's resident memory", "MB", "peak", thousand, "120 MB",
            lambda middle: middle[HFMEDIA] <= 120, {HUGGINGFACE_HUB: "over a minute, by its rate at 100", **no_queue}, 2, {FLOOR: 1},
        ),
        "image": Case(
            "CPU of one image of 1 MB by URL", "CPU time of the process for 100 at once (g4f: 20), for each of them, "
            "after one as warm-up", "ms", "cpu", images, "1.35 x floor, 0.5 x huggingface_hub",
            lambda middle: middle[HFMEDIA] <= min(1.35 * middle[FLOOR], 0.5 * middle[HUGGINGFACE_HUB]), images_only, rounds_by_client=g4f_rounds,
        ),
        "films": Case(
            "16 videos of 50 MB at once, memory above idle", "peak of resident memory less that before the first call",
            "MB", "above", films, "24 MB", lambda middle: middle[HFMEDIA] <= 24, no_queue, 3, fewer_peer_rounds,
        ),
        "inline": Case(
            "one image of 20 MB base64, memory above idle", "as above", "MB", "above", inline, "50 MB",
            lambda middle: middle[HFMEDIA] <= 50, {G4F: "reads addresses only", **images_only}, rounds_by_client={HUGGINGFACE_HUB: 3},
        ),
        **ticks,
        **gateway_cases(quick),
        "lag": Case(
            "from the provider's done to the file", "mean over 20 videos of 1.5 to 2.5 s, by the clock both share",
            "ms", "lag", staggered, rounds=2, unsupported=no_queue, rounds_by_client=fewer_peer_rounds,
        ),
        **rates,
        "growth": Case(
            "CPU of a job's six facts in the ledger", "200 jobs side by side in a ledger of so many events; one run",
            "ms", "growth", {HFMEDIA: ("bench.growth", *events)}, rounds=1,
            unsupported=dict.fromkeys((FLOOR, HUGGINGFACE_HUB, G4F, FAL_CLIENT), "has no ledger"),
        ),
        "catalogue-cold": Case(
            "50,000 models listed, cold", "a new process with no cache; g4f reads the first 1,000 only", "ms", "wall",
            catalog_commands, rounds=2,
        ),
        "catalogue-warm": Case(
            "50,000 models listed, warm", "a new process, the cache of the one before; the peers have none", "ms",
            "wall", {HFMEDIA: ("bench.catalog", "ours", "warm")}, rounds=2,
        ),
        "batch": Case(
            f"a batch of {prompts} prompts, pictures of 20 kB", "the command with 32 at once, from outside; one run",
            "/s", "rate", {HFMEDIA: ("bench.batch", prompts)}, rounds=1,
        ),
        "batch-memory": Case(
            "the same, memory grown in its second half", "resident memory at the end less that at half the files", "MB",
            "grown", {HFMEDIA: ("bench.batch", prompts)}, rounds=1,
        ),
    }  # fmt: skip


POLL_CASES = {
    "polls": Case(
        "polls for a job of 60 s, nothing known", "requests counted by the provider, the result included", "", "polls",
        {}, "40", lambda middle: middle[HFMEDIA] <= 40, {G4F: "knows no queue"}, 1,
    ),
    "polls-known": Case(
        "the same, in a new process whose ledger has one such job", "as above; the others learn nothing", "", "known",
        {}, "15", lambda middle: middle[HFMEDIA] <= 15, {G4F: "knows no queue"}, 1,
    ),
}  # fmt: skip
