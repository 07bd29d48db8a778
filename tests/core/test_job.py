"""Job state machine: the transitions that the table allows, and entries that survive being stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfmedia.core.job import (
    STATES,
    TERMINAL_STATES,
    TRANSITIONS,
    AcceptedEntry,
    AnyEntry,
    CancelledEntry,
    CompletedEntry,
    CreatedEntry,
    FailedEntry,
    InDoubtEntry,
    InvalidTransitionError,
    LedgerEntry,
    RejectedEntry,
    ResolvedEntry,
    RoutedEntry,
    State,
    StoredEntry,
    SubmittingEntry,
    apply_entry,
    create_job,
    replay,
    strip_inline_media,
    strip_inline_outputs,
)
from hfmedia.core.protocol import Cost, FailureKind, JobHandle, Lora, Output, Route
from hfmedia.core.request import TASKS, GenerationRequest, InputImage
from hfmedia.core.sizes import ASPECT_RATIOS

ENTRY_TYPES: tuple[type[LedgerEntry], ...] = get_args(AnyEntry)
REQUEST = GenerationRequest(task="text-to-image", model="a/b", prompt="a red fox", seed=7)
ROUTE = Route(provider="fal-ai", provider_id="fal-ai/flux", model="a/b", task="text-to-image",
              base_url="https://router.huggingface.co/fal-ai", credential="HF_TOKEN")  # fmt: skip
OUTPUTS = (Output(url="https://fal.media/x.png", mime="image/png"),)

SAMPLES: dict[type[LedgerEntry], dict[str, Any]] = {
    CreatedEntry: {"request": REQUEST, "index": 2},
    RoutedEntry: {"route": ROUTE, "request": REQUEST, "warnings": ("w",)},
    SubmittingEntry: {"attempt": 1},
    AcceptedEntry: {"handle": JobHandle("r1")},
    RejectedEntry: {"kind": "rate_limited", "message": "too many", "status": 429},
    InDoubtEntry: {"message": "the line broke"},
    ResolvedEntry: {"decision": "resend"},
    CompletedEntry: {"outputs": OUTPUTS, "seed": 9, "cost": Cost(0.01), "warnings": ("m",)},
    StoredEntry: {"media": {"files": [{"path": "fox.png"}]}},
    FailedEntry: {"kind": "generation_failed", "message": "no"},
    CancelledEntry: {"provider_confirmed": True},
}


def entry(kind: type[LedgerEntry], timestamp: float = 0.0, job_id: str = "j1", **fields: Any) -> Any:
    """An entry of this type, with sample fields."""
    return kind(job_id=job_id, timestamp=timestamp, **{**SAMPLES[kind], **fields})


def history(*kinds: type[LedgerEntry]) -> list[Any]:
    """Entries of one job, one second apart."""
    return [entry(kind, timestamp=float(at)) for at, kind in enumerate((CreatedEntry, *kinds))]


# Shortest path to each state.
SHORTEST_PATHS: dict[State, tuple[type[LedgerEntry], ...]] = {
    "created": (),
    "routed": (RoutedEntry,),
    "submitting": (RoutedEntry, SubmittingEntry),
    "in_doubt": (RoutedEntry, SubmittingEntry, InDoubtEntry),
    "running": (RoutedEntry, SubmittingEntry, AcceptedEntry),
    "completed": (RoutedEntry, SubmittingEntry, AcceptedEntry, CompletedEntry),
    "stored": (RoutedEntry, SubmittingEntry, AcceptedEntry, CompletedEntry, StoredEntry),
    "failed": (FailedEntry,),
    "cancelled": (CancelledEntry,),
}


@pytest.mark.parametrize("state", STATES)
def test_every_state_can_be_reached(state: State) -> None:
    """Every state has a row too."""
    assert replay(history(*SHORTEST_PATHS[state])).state == state
    assert set(TRANSITIONS) == set(STATES) == set(SHORTEST_PATHS)


# The allowed successors of each state, written here independently of the table.
ALLOWED_SUCCESSORS: dict[State, set[State]] = {
    "created": {"routed", "failed", "cancelled"},
    "routed": {"routed", "submitting", "failed", "cancelled"},
    "submitting": {"running", "completed", "routed", "in_doubt", "failed"},
    "in_doubt": {"running", "completed", "routed", "failed"},
    "running": {"running", "completed", "failed", "cancelled"},
    "completed": {"completed", "stored", "failed", "cancelled"},
    "stored": {"stored"},
    "failed": set(),
    "cancelled": set(),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", ENTRY_TYPES)
def test_an_entry_leads_to_the_state_in_the_table_or_is_rejected(state: State, kind: type[LedgerEntry]) -> None:
    """All states by all entry types."""
    job = replay(history(*SHORTEST_PATHS[state]))
    if kind in TRANSITIONS[state]:
        assert apply_entry(job, entry(kind, timestamp=99.0)).state == TRANSITIONS[state][kind]
    else:
        with pytest.raises(InvalidTransitionError, match=f"job j1 is {state}"):
            apply_entry(job, entry(kind, timestamp=99.0))


@pytest.mark.parametrize("state", STATES)
def test_a_state_has_only_its_allowed_successors(state: State) -> None:
    """The edges, stated a second time."""
    assert set(TRANSITIONS[state].values()) == ALLOWED_SUCCESSORS[state]


def test_an_ended_job_stays_ended() -> None:
    """Nothing leads out; only a stored file may be stored again, because it was missing."""
    assert set(TERMINAL_STATES) == {"stored", "failed", "cancelled"}
    for state in TERMINAL_STATES:
        assert set(TRANSITIONS[state].values()) <= {state}
        assert replay(history(*SHORTEST_PATHS[state])).is_terminal
    assert not any(
        replay(history(*SHORTEST_PATHS[state])).is_terminal for state in STATES if state not in TERMINAL_STATES
    )


def test_submitting_starts_only_from_routed_and_only_with_its_entry() -> None:
    """Nothing is submitted without the entry that announces it."""
    into = {(state, kind) for state, row in TRANSITIONS.items() for kind, to in row.items() if to == "submitting"}
    assert into == {("routed", SubmittingEntry)}
    assert {state for state, row in TRANSITIONS.items() if SubmittingEntry in row} == {"routed"}


def test_a_submission_in_progress_cannot_be_cancelled() -> None:
    """It may be billed: first it is accepted, completed, rejected, in doubt or failed."""
    assert set(TRANSITIONS["submitting"]) == {AcceptedEntry, CompletedEntry, RejectedEntry, InDoubtEntry, FailedEntry}


def reachable(start: State, without: Iterable[type[LedgerEntry]]) -> set[State]:
    """Return every state that can follow without entries of these types."""
    reached, edge = {start}, [start]
    while edge:
        for kind, to in TRANSITIONS[edge.pop()].items():
            if kind not in set(without) and to not in reached:
                reached.add(to)
                edge.append(to)
    return reached


def test_a_job_in_doubt_is_never_sent_again_unless_it_is_resolved() -> None:
    """No path from in_doubt to submitting avoids the decision of a person."""
    assert "submitting" not in reachable("in_doubt", without=[ResolvedEntry])
    assert "submitting" in reachable("in_doubt", without=[])
    assert ResolvedEntry not in {kind for state, row in TRANSITIONS.items() if state != "in_doubt" for kind in row}


def test_what_was_accepted_is_never_sent_again() -> None:
    """From running, completed and stored no entries at all lead back to submitting."""
    for state in ("running", "completed", "stored"):
        assert "submitting" not in reachable(state, without=[])  # type: ignore[arg-type]


def test_a_job_in_doubt_can_be_dropped_or_resent() -> None:
    """Dropped, it has failed and says so; resent, it is routed again and nothing more."""
    in_doubt = replay(history(RoutedEntry, SubmittingEntry, InDoubtEntry))
    dropped = apply_entry(in_doubt, entry(ResolvedEntry, decision="drop"))
    assert (dropped.state, dropped.error) == ("failed", "dropped by the user")
    again = apply_entry(in_doubt, entry(ResolvedEntry, decision="resend"))
    assert (again.state, again.error, again.attempts) == ("routed", None, 1)


def test_a_job_is_the_replay_of_its_entries() -> None:
    """Every field comes from an entry."""
    job = replay(
        [
            *history(
                RoutedEntry,
                SubmittingEntry,
                RejectedEntry,
                RoutedEntry,
                SubmittingEntry,
                AcceptedEntry,
                CompletedEntry,
                StoredEntry,
            )
        ]
    )
    assert (job.state, job.attempts, job.rejections) == ("stored", 2, ("too many",))
    assert (job.index, job.created_at, job.updated_at, job.submitted_at) == (2, 0.0, 8.0, 5.0)
    assert (job.request, job.route, job.handle) == (REQUEST, ROUTE, JobHandle("r1"))
    assert (job.outputs, job.seed, job.cost) == (OUTPUTS, 9, Cost(0.01))
    assert (job.media, job.warnings, job.error) == ({"files": [{"path": "fox.png"}]}, ("w", "m"), None)


def test_attempts_are_counted_whatever_number_the_entry_has() -> None:
    """The count is of started submissions, for all providers together."""
    entries = [
        entry(CreatedEntry),
        entry(RoutedEntry),
        entry(SubmittingEntry, attempt=1),
        entry(RejectedEntry),
        entry(RoutedEntry),
        entry(SubmittingEntry, attempt=1),
    ]
    assert replay(entries).attempts == 2


def test_a_result_read_twice_warns_once() -> None:
    """The result is fetched again when a URL has expired; its warnings are the same."""
    assert replay(history(RoutedEntry, SubmittingEntry, AcceptedEntry, CompletedEntry, CompletedEntry)).warnings == (
        "w",
        "m",
    )


def test_another_route_clears_the_handle_and_warnings_of_the_first() -> None:
    """They belong to the provider that rejected the request."""
    job = replay([*history(RoutedEntry, SubmittingEntry, RejectedEntry), entry(RoutedEntry, warnings=("other",))])
    assert (job.warnings, job.handle) == (("other",), None)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [entry(RoutedEntry)],
        [entry(CreatedEntry), entry(CreatedEntry)],
        [entry(CreatedEntry), entry(RoutedEntry, job_id="j2")],
        [entry(CreatedEntry), entry(SubmittingEntry)],
    ],
)
def test_entries_that_contradict_the_table_are_an_error(entries: list[LedgerEntry]) -> None:
    """The ledger or the engine is wrong, and continuing might pay twice."""
    with pytest.raises(InvalidTransitionError):
        replay(entries)


def test_every_entry_type_has_its_own_tag() -> None:
    """Two types with one tag could not be distinguished in a file."""
    tags = [kind.__struct_config__.tag for kind in ENTRY_TYPES]
    assert len(set(tags)) == len(tags) == len(SAMPLES)
    assert all(isinstance(tag, str) for tag in tags)
    assert {kind.__struct_config__.tag_field for kind in ENTRY_TYPES} == {"fact"}


texts = st.text(max_size=20)
times = st.floats(0, 4e9)
numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
optional_size = st.none() | st.integers(16, 16_384)
images = st.builds(InputImage, url=st.none() | texts, mime=st.none() | texts, name=st.none() | texts,
                   width=optional_size, height=optional_size)  # fmt: skip
requests = st.builds(
    GenerationRequest, task=st.sampled_from(TASKS), model=texts, prompt=st.none() | texts, image=st.none() | images,
    width=optional_size, height=optional_size, aspect_ratio=st.none() | st.sampled_from(ASPECT_RATIOS),
    resolution=st.none() | texts, seed=st.none() | st.integers(0, 2**64 - 1), seconds=st.none() | numbers,
    guidance_scale=st.none() | numbers, negative_prompt=st.none() | texts, fps=st.none() | st.integers(1, 240),
    extra=st.dictionaries(texts, plain, max_size=3),
)  # fmt: skip
routes = st.builds(
    Route,
    provider=texts,
    provider_id=texts,
    model=texts,
    task=st.sampled_from(TASKS),
    base_url=texts,
    credential=texts,
    via=st.sampled_from(["router", "direct"]),
    lora=st.none() | st.builds(Lora, repo=texts, path=st.none() | texts),
)
handles = st.builds(JobHandle, id=texts, stage=texts, job_path=st.none() | texts)
costs = st.builds(Cost, amount=numbers, unit=texts)
outputs = st.lists(
    st.builds(
        Output,
        url=st.none() | texts,
        mime=st.none() | texts,
        width=st.none() | st.integers(0, 9999),
        nsfw=st.booleans(),
    ),
    max_size=3,
).map(tuple)
timings = st.dictionaries(texts, numbers, max_size=2)
warnings = st.lists(texts, max_size=2).map(tuple)
kinds = st.sampled_from(get_args(FailureKind))
status = st.none() | st.integers(100, 599)
common: dict[str, Any] = {"job_id": texts, "timestamp": times}
entries = st.one_of(
    st.builds(CreatedEntry, **common, request=requests, index=st.integers(0, 99)),
    st.builds(RoutedEntry, **common, route=routes, request=requests, warnings=warnings),
    st.builds(SubmittingEntry, **common, attempt=st.integers(1, 99)),
    st.builds(AcceptedEntry, **common, handle=handles),
    st.builds(RejectedEntry, **common, kind=kinds, message=texts, status=status),
    st.builds(InDoubtEntry, **common, message=texts),
    st.builds(ResolvedEntry, **common, decision=st.sampled_from(["resend", "drop"])),
    # a provider may report a seed beyond 64 bits
    st.builds(CompletedEntry, **common, outputs=outputs, seed=st.none() | st.integers(-(2**80), 2**80),
              cost=st.none() | costs, timings=timings, warnings=warnings),
    st.builds(StoredEntry, **common, media=st.dictionaries(texts, plain, max_size=3)),
    st.builds(FailedEntry, **common, kind=texts, message=texts, status=status),
    st.builds(CancelledEntry, **common, provider_confirmed=st.none() | st.booleans(), message=texts),
)  # fmt: skip


@given(entries)
def test_every_entry_survives_being_stored(stored: LedgerEntry) -> None:
    """As JSON and back through the union of all types, nothing is lost and nothing is added."""
    assert msgspec.json.decode(msgspec.json.encode(stored), type=AnyEntry) == stored


@given(routes, handles)
def test_stored_routes_and_handles_equal_the_originals(route: Route, handle: JobHandle) -> None:
    """They are data; a credential is included only by name."""
    assert msgspec.json.decode(msgspec.json.encode(route), type=Route) == route
    assert msgspec.json.decode(msgspec.json.encode(handle), type=JobHandle) == handle


def test_an_entry_from_a_newer_release_can_still_be_decoded() -> None:
    """Unknown fields are ignored; an unknown entry type is an error."""
    newer = {"fact": "sending", "job_id": "j1", "timestamp": 1.0, "attempt": 1, "priority": "high"}
    assert msgspec.json.decode(msgspec.json.encode(newer), type=AnyEntry) == entry(SubmittingEntry, timestamp=1.0)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode({**newer, "fact": "unknown"}), type=AnyEntry)


MEDIA = "iVBORw0KGgo" * 50
INLINE_REQUESTS: list[GenerationRequest] = [
    GenerationRequest(
        task="image-to-image", model="a/b", image=InputImage(data=MEDIA.encode(), mime="image/png", name="fox.png")
    ),
    GenerationRequest(
        task="image-to-image", model="a/b", image=InputImage(url=f"data:image/png;base64,{MEDIA}", sha256="00")
    ),
    GenerationRequest(task="image-to-image", model="a/b", image=InputImage(url=f" DATA:image/png;base64,{MEDIA}")),
    GenerationRequest(task="text-to-video", model="a/b", extra={"last_image": f"data:image/png;base64,{MEDIA}"}),
    GenerationRequest(task="text-to-video", model="a/b", extra={"images": [{"url": f"Data:image/png;base64,{MEDIA}"}]}),
    GenerationRequest(
        task="text-to-video", model="a/b", extra={"image": MEDIA.encode(), "deep": {"er": (bytearray(MEDIA.encode()),)}}
    ),
]


@pytest.mark.parametrize("request_", INLINE_REQUESTS, ids=range(len(INLINE_REQUESTS)))
def test_inline_media_of_a_request_is_never_stored(request_: GenerationRequest) -> None:
    """Neither bytes nor a data: URI, in any spelling and at any depth."""
    stored = msgspec.json.encode(entry(CreatedEntry, request=strip_inline_media(request_)))
    assert len(stored) < 500
    assert MEDIA.encode() not in stored
    assert msgspec.json.decode(stored, type=AnyEntry).request.model == "a/b"


def test_everything_but_inline_media_is_stored_unchanged() -> None:
    """URLs, names, digests and plain parameters stay; the request itself is not modified."""
    request = GenerationRequest(
        task="image-to-video",
        model="a/b",
        image=InputImage(url="https://a/fox.png", name="fox", sha256="00"),
        extra={"style": "data driven", "n": 1, "loras": [{"path": "a/b", "scale": 0.5}]},
    )
    assert strip_inline_media(request) == request
    assert strip_inline_media(REQUEST) == REQUEST
    inline = INLINE_REQUESTS[0]
    assert (strip_inline_media(inline).image or InputImage()).name == "fox.png"
    assert inline.image is not None
    assert inline.image.data == MEDIA.encode()


def test_inline_outputs_go_to_their_file_and_not_into_the_ledger() -> None:
    """URLs, the number of outputs and their hints stay."""
    outputs = (
        Output(url="https://a/1.png", nsfw=True),
        Output(data=MEDIA.encode(), mime="image/png"),
        Output(url=f"data:image/png;base64,{MEDIA}", width=8),
        Output(url=f"\nDATA:image/png;base64,{MEDIA}"),
    )
    assert strip_inline_outputs(outputs) == (
        Output(url="https://a/1.png", nsfw=True),
        Output(mime="image/png"),
        Output(width=8),
        Output(),
    )
    assert MEDIA.encode() not in msgspec.json.encode(entry(CompletedEntry, outputs=strip_inline_outputs(outputs)))


@given(st.binary(min_size=24, max_size=200), texts)
def test_no_media_bytes_are_stored_in_an_entry(data: bytes, name: str) -> None:
    """Not even as base64, which is how JSON would encode them."""
    request = GenerationRequest(
        task="image-to-image", model="a/b", image=InputImage(data=data, name=name), extra={"mask": data}
    )
    stripped = strip_inline_media(request)
    assert stripped.image is not None
    assert stripped.image.data is None
    assert msgspec.json.encode(data).strip(b'"') not in msgspec.json.encode(stripped)


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Cost(0.04), "$0.04"),
        (Cost(2.0), "$2"),
        (Cost(0.0), "$0"),
        (Cost(0.00325), "$0.00325"),
        (Cost(3.0, "fal-units"), "3 fal-units"),
    ],
)
def test_a_cost_is_formatted_with_its_unit(cost: Cost, text: str) -> None:
    """As the provider reported it."""
    assert str(cost) == text


def test_create_job_and_replay_agree() -> None:
    """For a job of one entry."""
    assert create_job(entry(CreatedEntry, timestamp=3.0)) == replay([entry(CreatedEntry, timestamp=3.0)])
