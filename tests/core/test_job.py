"""The life of a job: what the table allows, and that its facts can be written down and read again."""

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


# How to come into each state, by the shortest way.
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
    """And every state has a row."""
    assert replay(history(*SHORTEST_PATHS[state])).state == state
    assert set(TRANSITIONS) == set(STATES) == set(SHORTEST_PATHS)


# What must never be possible, state by state; written here apart from the table.
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
def test_a_fact_leads_where_the_table_says_or_is_impossible(state: State, kind: type[LedgerEntry]) -> None:
    """All states by all facts."""
    job = replay(history(*SHORTEST_PATHS[state]))
    if kind in TRANSITIONS[state]:
        assert apply_entry(job, entry(kind, timestamp=99.0)).state == TRANSITIONS[state][kind]
    else:
        with pytest.raises(InvalidTransitionError, match=f"job j1 is {state}"):
            apply_entry(job, entry(kind, timestamp=99.0))


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_left_only_for_those_it_may_be_left_for(state: State) -> None:
    """The edges, said a second time."""
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


def test_sending_begins_from_ready_alone_and_only_by_saying_so() -> None:
    """Nothing is bought without the fact that says that it is about to be."""
    into = {(state, kind) for state, row in TRANSITIONS.items() for kind, to in row.items() if to == "submitting"}
    assert into == {("routed", SubmittingEntry)}
    assert {state for state, row in TRANSITIONS.items() if SubmittingEntry in row} == {"routed"}


def test_a_send_cannot_simply_be_cancelled() -> None:
    """What is on its way may be bought: it is accepted, made, refused, doubted or broken first."""
    assert set(TRANSITIONS["submitting"]) == {AcceptedEntry, CompletedEntry, RejectedEntry, InDoubtEntry, FailedEntry}


def reachable(start: State, without: Iterable[type[LedgerEntry]]) -> set[State]:
    """Every state that can follow, by any facts but these."""
    found, edge = {start}, [start]
    while edge:
        for kind, to in TRANSITIONS[edge.pop()].items():
            if kind not in set(without) and to not in found:
                found.add(to)
                edge.append(to)
    return found


def test_a_doubt_is_never_sent_again_unless_it_is_resolved() -> None:
    """There is no way from doubt to sending that goes around the word of a person."""
    assert "submitting" not in reachable("in_doubt", without=[ResolvedEntry])
    assert "submitting" in reachable("in_doubt", without=[])
    assert ResolvedEntry not in {kind for state, row in TRANSITIONS.items() if state != "in_doubt" for kind in row}


def test_what_was_accepted_is_never_sent_again() -> None:
    """From running and finished no facts at all lead back to sending."""
    for state in ("running", "completed", "stored"):
        assert "submitting" not in reachable(state, without=[])  # type: ignore[arg-type]


def test_a_doubt_can_be_dropped() -> None:
    """Then the job is over, and says so; resending makes it ready, and nothing more."""
    doubt = replay(history(RoutedEntry, SubmittingEntry, InDoubtEntry))
    dropped = apply_entry(doubt, entry(ResolvedEntry, decision="drop"))
    assert (dropped.state, dropped.error) == ("failed", "dropped by the user")
    again = apply_entry(doubt, entry(ResolvedEntry, decision="resend"))
    assert (again.state, again.error, again.attempts) == ("routed", None, 1)


def test_a_job_is_the_fold_of_its_facts() -> None:
    """Every field comes from a fact."""
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


def test_attempts_are_counted_whatever_number_the_fact_names() -> None:
    """The count is of submissions begun, all providers together."""
    facts = [
        entry(CreatedEntry),
        entry(RoutedEntry),
        entry(SubmittingEntry, attempt=1),
        entry(RejectedEntry),
        entry(RoutedEntry),
        entry(SubmittingEntry, attempt=1),
    ]
    assert replay(facts).attempts == 2


def test_a_result_read_twice_warns_once() -> None:
    """The provider is asked again when a link has expired; its warnings are the same ones."""
    assert replay(history(RoutedEntry, SubmittingEntry, AcceptedEntry, CompletedEntry, CompletedEntry)).warnings == (
        "w",
        "m",
    )


def test_another_route_forgets_the_handle_and_warnings_of_the_first() -> None:
    """They belong to the provider that refused."""
    job = replay([*history(RoutedEntry, SubmittingEntry, RejectedEntry), entry(RoutedEntry, warnings=("other",))])
    assert (job.warnings, job.handle) == (("other",), None)


@pytest.mark.parametrize(
    "facts",
    [
        [],
        [entry(RoutedEntry)],
        [entry(CreatedEntry), entry(CreatedEntry)],
        [entry(CreatedEntry), entry(RoutedEntry, job_id="j2")],
        [entry(CreatedEntry), entry(SubmittingEntry)],
    ],
)
def test_facts_that_contradict_the_table_are_no_job(facts: list[LedgerEntry]) -> None:
    """The ledger or the engine is wrong, and going on might pay twice."""
    with pytest.raises(InvalidTransitionError):
        replay(facts)


def test_every_fact_has_a_tag_of_its_own() -> None:
    """Two facts with one tag could not be told apart in a file."""
    tags = [kind.__struct_config__.tag for kind in ENTRY_TYPES]
    assert len(set(tags)) == len(tags) == len(SAMPLES)
    assert all(isinstance(tag, str) for tag in tags)
    assert {kind.__struct_config__.tag_field for kind in ENTRY_TYPES} == {"fact"}


words = st.text(max_size=20)
times = st.floats(0, 4e9)
numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
optional_size = st.none() | st.integers(16, 16_384)
images = st.builds(InputImage, url=st.none() | words, mime=st.none() | words, name=st.none() | words,
                   width=optional_size, height=optional_size)  # fmt: skip
requests = st.builds(
    GenerationRequest, task=st.sampled_from(TASKS), model=words, prompt=st.none() | words, image=st.none() | images,
    width=optional_size, height=optional_size, aspect_ratio=st.none() | st.sampled_from(ASPECT_RATIOS),
    resolution=st.none() | words, seed=st.none() | st.integers(0, 2**64 - 1), seconds=st.none() | numbers,
    guidance_scale=st.none() | numbers, negative_prompt=st.none() | words, fps=st.none() | st.integers(1, 240),
    extra=st.dictionaries(words, plain, max_size=3),
)  # fmt: skip
routes = st.builds(
    Route,
    provider=words,
    provider_id=words,
    model=words,
    task=st.sampled_from(TASKS),
    base_url=words,
    credential=words,
    via=st.sampled_from(["router", "direct"]),
    lora=st.none() | st.builds(Lora, repo=words, path=st.none() | words),
)
handles = st.builds(JobHandle, id=words, stage=words, job_path=st.none() | words)
costs = st.builds(Cost, amount=numbers, unit=words)
outputs = st.lists(
    st.builds(
        Output,
        url=st.none() | words,
        mime=st.none() | words,
        width=st.none() | st.integers(0, 9999),
        nsfw=st.booleans(),
    ),
    max_size=3,
).map(tuple)
timings = st.dictionaries(words, numbers, max_size=2)
warnings = st.lists(words, max_size=2).map(tuple)
kinds = st.sampled_from(get_args(FailureKind))
status = st.none() | st.integers(100, 599)
common: dict[str, Any] = {"job_id": words, "timestamp": times}
facts = st.one_of(
    st.builds(CreatedEntry, **common, request=requests, index=st.integers(0, 99)),
    st.builds(RoutedEntry, **common, route=routes, request=requests, warnings=warnings),
    st.builds(SubmittingEntry, **common, attempt=st.integers(1, 99)),
    st.builds(AcceptedEntry, **common, handle=handles),
    st.builds(RejectedEntry, **common, kind=kinds, message=words, status=status),
    st.builds(InDoubtEntry, **common, message=words),
    st.builds(ResolvedEntry, **common, decision=st.sampled_from(["resend", "drop"])),
    # a provider may tell a seed beyond 64 bits
    st.builds(CompletedEntry, **common, outputs=outputs, seed=st.none() | st.integers(-(2**80), 2**80), cost=st.none() | costs,
              timings=timings, warnings=warnings),
    st.builds(StoredEntry, **common, media=st.dictionaries(words, plain, max_size=3)),
    st.builds(FailedEntry, **common, kind=words, message=words, status=status),
    st.builds(CancelledEntry, **common, provider_confirmed=st.none() | st.booleans(), message=words),
)  # fmt: skip


@given(facts)
def test_every_fact_survives_being_written_down(one: LedgerEntry) -> None:
    """As JSON and back through the one union of all facts, nothing is lost and nothing is added."""
    assert msgspec.json.decode(msgspec.json.encode(one), type=AnyEntry) == one


@given(routes, handles)
def test_routes_and_handles_of_yesterday_are_as_good_as_fresh_ones(route: Route, handle: JobHandle) -> None:
    """They are data; a credential is there by its name only."""
    assert msgspec.json.decode(msgspec.json.encode(route), type=Route) == route
    assert msgspec.json.decode(msgspec.json.encode(handle), type=JobHandle) == handle


def test_a_fact_from_a_newer_hfmedia_can_still_be_read() -> None:
    """Fields that are unknown here are passed over; a fact that is unknown is an error, never patience."""
    newer = {"fact": "sending", "job_id": "j1", "timestamp": 1.0, "attempt": 1, "mood": "good"}
    assert msgspec.json.decode(msgspec.json.encode(newer), type=AnyEntry) == entry(SubmittingEntry, timestamp=1.0)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode({**newer, "fact": "dreamt"}), type=AnyEntry)


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


@pytest.mark.parametrize("wish", INLINE_REQUESTS, ids=range(len(INLINE_REQUESTS)))
def test_inline_media_of_a_wish_is_never_written_down(wish: GenerationRequest) -> None:
    """Neither an image's bytes nor a data: URI, however it is spelled and wherever it hides."""
    written = msgspec.json.encode(entry(CreatedEntry, request=strip_inline_media(wish)))
    assert len(written) < 500
    assert MEDIA.encode() not in written
    decoded = msgspec.json.decode(written, type=AnyEntry)
    assert isinstance(decoded, CreatedEntry)
    assert decoded.request.model == "a/b"


def test_what_is_no_media_is_written_down_as_it_is() -> None:
    """Links, names, digests and plain parameters stay; the wish itself is not touched."""
    wish = GenerationRequest(
        task="image-to-video",
        model="a/b",
        image=InputImage(url="https://a/fox.png", name="fox", sha256="00"),
        extra={"style": "data driven", "n": 1, "loras": [{"path": "a/b", "scale": 0.5}]},
    )
    assert strip_inline_media(wish) == wish
    assert strip_inline_media(REQUEST) == REQUEST
    inline = INLINE_REQUESTS[0]
    assert (strip_inline_media(inline).image or InputImage()).name == "fox.png"
    assert inline.image is not None
    assert inline.image.data == MEDIA.encode()


def test_inline_outputs_go_to_their_file_and_not_into_the_ledger() -> None:
    """Links stay; the number of outputs and their hints stay too."""
    told = (
        Output(url="https://a/1.png", nsfw=True),
        Output(data=MEDIA.encode(), mime="image/png"),
        Output(url=f"data:image/png;base64,{MEDIA}", width=8),
        Output(url=f"\nDATA:image/png;base64,{MEDIA}"),
    )
    assert strip_inline_outputs(told) == (
        Output(url="https://a/1.png", nsfw=True),
        Output(mime="image/png"),
        Output(width=8),
        Output(),
    )
    assert MEDIA.encode() not in msgspec.json.encode(entry(CompletedEntry, outputs=strip_inline_outputs(told)))


@given(st.binary(min_size=24, max_size=200), words)
def test_no_bytes_of_media_survive_into_a_fact(data: bytes, name: str) -> None:
    """Whatever the bytes are: as base64, which is how JSON would hold them, they are not there."""
    wish = GenerationRequest(
        task="image-to-image", model="a/b", image=InputImage(data=data, name=name), extra={"mask": data}
    )
    slim = strip_inline_media(wish)
    assert slim.image is not None
    assert slim.image.data is None
    assert msgspec.json.encode(data).strip(b'"') not in msgspec.json.encode(slim)


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (Cost(0.04), "$0.04"),
        (Cost(2.0), "$2"),
        (Cost(0.0), "$0"),
        (Cost(0.00325), "$0.00325"),
        (Cost(3.0, "fal-units"), "3 fal-units"),
    ],
)
def test_a_cost_is_told_with_its_unit(cost: Cost, words: str) -> None:
    """As the provider reported it."""
    assert str(cost) == words


def test_begin_and_fold_agree() -> None:
    """A job of one fact."""
    assert create_job(entry(CreatedEntry, timestamp=3.0)) == replay([entry(CreatedEntry, timestamp=3.0)])
