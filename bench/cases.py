"""Table of the cases: the programs per client, the metric, its budget and the method of measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

HFMEDIA, FLOOR = "ours", "floor"
HUGGINGFACE_HUB, G4F, FAL_CLIENT, LITELLM = "huggingface_hub", "g4f", "fal-client", "LiteLLM"
MODULES = {HFMEDIA: "ours", FLOOR: "floor", HUGGINGFACE_HUB: "hub", G4F: "g4f", FAL_CLIENT: "fal", LITELLM: "litellm"}
INSTRUCTIONS = "instructions"  # metric that is counted, not timed
Medians = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One metric, for each client under comparison.

    ``commands`` maps a client to the module and arguments of its program; programs shared by several cases run once.
    ``metric`` is the metric's key in the program's output. ``is_within_budget`` checks hfmedia's median.
    """

    title: str
    method: str
    unit: str
    metric: str
    commands: dict[str, tuple[str, ...]]
    budget: str = ""
    is_within_budget: Callable[[Medians], bool] | None = None
    unsupported: dict[str, str] = field(default_factory=dict)  # client -> reason why it cannot run this case
    rounds: int = 5
    rounds_by_client: dict[str, int] = field(default_factory=dict)  # clients that run fewer rounds


def driver_commands(
    method: str, model: str, jobs: int, concurrency: int, prompt: str, *clients: str
) -> dict[str, tuple[str, ...]]:
    """Return the driver commands of the same work for several clients."""
    return {
        name: ("bench.driver", MODULES[name], method, model, str(jobs), str(concurrency), prompt) for name in clients
    }


def gateway_cases(quick: bool) -> dict[str, Case]:
    """Return the cases of the gateway and of the studio page."""
    both = {client: ("bench.gateway", MODULES[client], "both") for client in (FLOOR, LITELLM)}
    alone, concurrent = ({HFMEDIA: ("bench.gateway", "ours", metric), **both} for metric in ("alone", "crowd"))
    starts = {client: label for client, label in alone.items() if client != FLOOR}
    no_floor = {FLOOR: "no gateway"}
    first_load = {HFMEDIA: ("bench.page_load", "2" if quick else "10")}
    single_round = {LITELLM: 1, FLOOR: 1}  # each start takes half a minute
    return {
        "gateway-ready": Case(
            "gateway: start-up time", "from process start until the health check passes", "s",
            "ready", starts, "1.5 s", lambda medians: medians[HFMEDIA] <= 1.5, no_floor, 3, single_round,
        ),
        "gateway-idle": Case(
            "gateway: idle memory", "resident memory half a second after start-up", "MB", "idle", starts, "90 MB",
            lambda medians: medians[HFMEDIA] <= 90, no_floor, 3, single_round,
        ),
        "gateway-through": Case(
            "gateway: one request", "median of 100 requests by one client; hfmedia generates and stores the image, "
            "LiteLLM forwards a URL", "ms", "through", alone, rounds=3, rounds_by_client=single_round,
        ),
        "gateway-added": Case(
            "gateway: overhead per request", "median difference over 100 pairs, alternating: a request with and "
            "without the gateway (hfmedia: a library call; LiteLLM: its upstream API)", "ms", "added", starts, "5 ms",
            lambda medians: medians[HFMEDIA] <= 5, no_floor, 3, single_round,
        ),
        **{
            f"gateway-{metric}-{clients}": Case(
                f"gateway: {label}, {clients} clients",
                "20 kB images, each client sending one request after the other; "
                "one run", unit, f"{metric}-{clients}", concurrent, rounds=1,
            )
            for clients in (1, 16, 64, 256)
            for metric, label, unit in (("rate", "rate", "/s"), ("p50", "median", "ms"), ("p99", "99th percentile",
                "ms"))
        },
        "gateway-after": Case(
            "gateway: memory after all these requests", "resident memory", "MB", "after", concurrent, rounds=1,
            unsupported=no_floor,
        ),
        "gateway-grown": Case(
            "gateway: memory growth over 1,800 further requests", "resident memory; one hour's load, 16 clients", "MB",
            "grown", concurrent, rounds=1, unsupported={LITELLM: "skipped: takes another minute", **no_floor},
        ),
        "page-time": Case(
            "studio: first load in Chromium", "median of 10 loads with empty caches, from navigation until the "
            "page is loaded and its form is ready", "ms", "ms", first_load, "300 ms",
            lambda medians: medians[HFMEDIA] <= 300,
            rounds=1,
        ),
        "page-size": Case(
            "studio: transferred bytes", "all responses including headers, as counted by the browser", "kB", "kb",
            first_load,
            "100 kB", lambda medians: medians[HFMEDIA] <= 100, rounds=1,
        ),
    }  # fmt: skip


def all_cases(quick: bool) -> dict[str, Case]:
    """Return all cases but those of POLL_CASES; ``quick`` shrinks the long ones, whose budgets are then not judged."""
    clients = (HFMEDIA, FLOOR, HUGGINGFACE_HUB)
    job_count = 300 if quick else 1000
    prompts, events = ("500", ("0", "60000")) if quick else ("10000", ("0", "1000", "10000", "100000", "1000000"))
    videos = driver_commands("video", "bench/video", 100, 100, "a kite", HFMEDIA, FLOOR, HUGGINGFACE_HUB, FAL_CLIENT)
    thousand = driver_commands("video", "bench/video", job_count, job_count, "a kite", HFMEDIA, FLOOR)
    images = driver_commands("image", "bench/image", 100, 100, "a kite", HFMEDIA, FLOOR, HUGGINGFACE_HUB)
    images |= driver_commands("image", "bench/image", 20, 20, "a kite", G4F)  # sequential, so fewer jobs
    large_videos = driver_commands("video", "bench/film", 16, 16, "a kite", HFMEDIA, FLOOR, HUGGINGFACE_HUB, FAL_CLIENT)
    inline = driver_commands("image", "bench/inline", 1, 1, "a kite", HFMEDIA, FLOOR, HUGGINGFACE_HUB)
    staggered = driver_commands(
        "video", "bench/video", 20, 20, "a kite for {x} s", HFMEDIA, FLOOR, HUGGINGFACE_HUB, FAL_CLIENT
    )
    no_queue = {G4F: "no queue support"}
    images_only = {FAL_CLIENT: "queue only"}
    fewer_peer_rounds, g4f_rounds = {HUGGINGFACE_HUB: 1, FAL_CLIENT: 1}, {G4F: 2}  # slow, with little variation
    pause_method = "largest delay of a 5 ms ticker during the case above"
    ticks: dict[str, Case] = {
        f"pause-{name}": Case(
            f"longest event-loop pause, {label}", pause_method, "ms", "pause", commands, "25 ms",
            lambda medians: medians[HFMEDIA] <= 25, rounds=rounds, rounds_by_client=rounds_by_client,
        )
        for name, label, commands, rounds, rounds_by_client in (
            ("videos", "100 parallel videos", videos, 3, fewer_peer_rounds),
            ("images", "100 parallel images", images, 5, g4f_rounds),
            ("thousand", f"{job_count} parallel videos", thousand, 2, {FLOOR: 1}),
            ("films", "16 videos of 50 MB", large_videos, 3, fewer_peer_rounds), ("inline", "20 MB of base64", inline,
                5,
                {HUGGINGFACE_HUB: 3}),
        )
    }  # fmt: skip
    rates = {
        f"rate-{jobs}": Case(
            f"20 kB images, {jobs} in parallel",
            "images per second over 100 images, or over as many as run in parallel",
            "/s", "rate", driver_commands("image", "bench/small", max(100, jobs), jobs, "a kite", *clients),
            rounds=1 if jobs == job_count else 2,
            unsupported={G4F: "skipped: 20 s for 100, sequential", **images_only},
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
    own_and_floor = {
        client: import_commands[client] for client in (HFMEDIA, FLOOR)
    }  # the others would take another minute
    help_commands = {HFMEDIA: ("bench.start", "-m", "hfmedia", "--help"), FLOOR: ("bench.start", "-c", "pass")}
    count_method = "counted by valgrind in one run, including interpreter start-up"
    catalog_commands = {
        HFMEDIA: ("bench.catalog", "ours", "cold"),
        HUGGINGFACE_HUB: ("bench.catalog", "hub", "cold"),
    }
    catalog_commands |= {G4F: ("bench.catalog", "g4f", "cold")}
    return {
        "import": Case(
            "import hfmedia, on top of the bare interpreter",
            "process run time; the floor is a bare interpreter, which the budget subtracts",
            "ms", "wall", import_commands, "60 ms", lambda medians: medians[HFMEDIA] - medians[FLOOR] <= 60,
            rounds_by_client=import_rounds,
        ),
        "import-instructions": Case("import hfmedia, instructions", count_method, "M", INSTRUCTIONS, own_and_floor,
            rounds=1),
        "import-client": Case(
            "import hfmedia and access MediaClient", "as above, including everything that a first call imports",
            "ms", "wall", {**import_commands, HFMEDIA: ("bench.start", "-c", "import hfmedia; hfmedia.MediaClient")},
            rounds_by_client=import_rounds,
        ),
        "help": Case(
            "hfmedia --help, warm", "process run time", "ms", "wall", help_commands, "200 ms",
            lambda medians: medians[HFMEDIA] <= 200,
        ),
        "help-instructions": Case("hfmedia --help, instructions", count_method, "M", INSTRUCTIONS, help_commands,
            rounds=1),
        "videos": Case(
            "100 parallel video jobs of 2 s", "seconds from the first call to the last file, after one warm-up job",
            "s", "wall", videos, "2.3 s", lambda medians: medians[HFMEDIA] <= 2.3, no_queue, 3, fewer_peer_rounds,
        ),
        "thousand": Case(
            f"{job_count} parallel video jobs of 2 s", "as above", "s", "wall", thousand, "2.8 s",
            lambda medians: medians[HFMEDIA] <= 2.8, {HUGGINGFACE_HUB: "over a minute, extrapolated from 100",
            **no_queue}, 2, {FLOOR: 1},
        ),
        "thousand-memory": Case(
            f"{job_count} parallel video jobs: memory", "peak resident memory of the process", "MB", "peak", thousand,
            "120 MB",
            lambda medians: medians[HFMEDIA] <= 120, {HUGGINGFACE_HUB: "over a minute, extrapolated from 100",
            **no_queue}, 2, {FLOOR: 1},
        ),
        "image": Case(
            "CPU per 1 MB image by URL", "CPU time of the process per image, for 100 in parallel (g4f: 20), after one "
            "warm-up job", "ms", "cpu", images, "1.35 x floor, 0.5 x huggingface_hub",
            lambda medians: medians[HFMEDIA] <= min(1.35 * medians[FLOOR], 0.5 * medians[HUGGINGFACE_HUB]),
            images_only, rounds_by_client=g4f_rounds,
        ),
        "films": Case(
            "16 parallel videos of 50 MB: memory above idle", "peak resident memory minus that before the first call",
            "MB", "above", large_videos, "24 MB", lambda medians: medians[HFMEDIA] <= 24, no_queue, 3,
            fewer_peer_rounds,
        ),
        "inline": Case(
            "one image of 20 MB base64: memory above idle", "as above", "MB", "above", inline, "50 MB",
            lambda medians: medians[HFMEDIA] <= 50, {G4F: "URLs only", **images_only},
            rounds_by_client={HUGGINGFACE_HUB: 3},
        ),
        **ticks,
        **gateway_cases(quick),
        "lag": Case(
            "delay from completion at the provider to the file",
            "mean over 20 videos of 1.5 to 2.5 s, by a shared clock",
            "ms", "lag", staggered, rounds=2, unsupported=no_queue, rounds_by_client=fewer_peer_rounds,
        ),
        **rates,
        "growth": Case(
            "CPU of a job's six ledger entries", "200 parallel jobs in a ledger of the given length; one run",
            "ms", "growth", {HFMEDIA: ("bench.growth", *events)}, rounds=1,
            unsupported=dict.fromkeys((FLOOR, HUGGINGFACE_HUB, G4F, FAL_CLIENT), "no ledger"),
        ),
        "catalogue-cold": Case(
            "listing 50,000 models, cold", "a new process without a cache; g4f reads the first 1,000 only", "ms",
            "wall",
            catalog_commands, rounds=2,
        ),
        "catalogue-warm": Case(
            "listing 50,000 models, warm", "a new process with the previous one's cache; the other clients have none",
            "ms",
            "wall", {HFMEDIA: ("bench.catalog", "ours", "warm")}, rounds=2,
        ),
        "batch": Case(
            f"batch of {prompts} prompts, 20 kB images",
            "the command with concurrency 32, measured from outside; one run",
            "/s", "rate", {HFMEDIA: ("bench.batch", prompts)}, rounds=1,
        ),
        "batch-memory": Case(
            f"batch of {prompts} prompts: memory growth in its second half",
            "resident memory at the end minus that after half the files", "MB",
            "grown", {HFMEDIA: ("bench.batch", prompts)}, rounds=1,
        ),
    }  # fmt: skip


POLL_CASES = {
    "polls": Case(
        "requests to poll a 60 s job, no history", "status and result requests, counted by the provider", "", "polls",
        {}, "40", lambda medians: medians[HFMEDIA] <= 40, {G4F: "no queue support"}, 1,
    ),
    "polls-known": Case(
        "requests to poll a 60 s job, with one such job in the ledger",
        "as above, in a new process; the other clients keep no history", "", "known",
        {}, "15", lambda medians: medians[HFMEDIA] <= 15, {G4F: "no queue support"}, 1,
    ),
}  # fmt: skip
