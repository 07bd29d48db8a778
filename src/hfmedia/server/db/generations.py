"""Generations: one API call to the gateway each, with its spec and its outputs, and the table that stores them.

A spec is plain data, so that it can be run again after a restart; image bytes are in ``jobs.input_store``.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct, field, structs

from hfmedia.core.errors import InvalidRequestError
from hfmedia.core.idempotency import output_key, parse_output_key
from hfmedia.core.job import Job, strip_inline_media
from hfmedia.core.request import GenerationRequest, InputImage, Task

from .api_keys import KeyLimits
from .budgets import dollars, enforce_limits, month_of, to_micro_usd
from .connection import DatabaseConnections, dump_json

OutputKind = Literal["image", "video"]
Api = Literal["images", "videos", "jobs", "sdapi"]
JOB_KEY_PREFIX = "gateway/"  # prefix of the idempotency keys of the gateway's jobs in the ledger
PAGE_SIZE = 100  # generations read at once by iter_generations
SELECT_GENERATIONS = (
    "SELECT g.body, g.idempotency_key, g.deleted_outputs, c.status, c.reserved_micro, c.micro_usd "
    "FROM generations g LEFT JOIN charges c ON c.id = g.id "
)

FINGERPRINT_PREFIX = "2:"  # of fingerprints without warnings; earlier ones have no prefix


class GenerationSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to generate, in the terms of ``MediaClient.generate``.

    ``model`` is a model spec (``org/name:provider``); None: the default of the task. ``task`` None: the model's own.
    ``options`` has the names of ``options.VideoGenerationOptions`` except ``model``, ``seed``, ``timeout`` and
    ``output``; ``seeds`` holds the seed of each output, None where the provider chooses.
    """

    prompt: str | None = None
    model: str | None = None
    task: Task | None = None
    n: int = 1
    seed: int | None = None
    seeds: tuple[int | None, ...] = ()
    image: InputImage | None = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def default_task(self) -> Task:
        """The task whose default model runs a spec without a model."""
        return self.task or ("image-to-image" if self.image else "text-to-image")

    def seed_of(self, index: int) -> int | None:
        """Return the seed of one output."""
        return self.seeds[index] if index < len(self.seeds) else self.seed

    def without_inline_image(self) -> GenerationSpec:
        """Return the spec without image bytes, as it is stored."""
        stripped = strip_inline_media(
            GenerationRequest(task="image-to-image", model="", image=self.image, extra=self.options)
        )
        return structs.replace(self, image=stripped.image, options=stripped.extra)


class Generation(Struct, frozen=True, kw_only=True):
    """One API call that produces ``n`` jobs. Amounts are in USD, times in unix seconds.

    Attributes:
        id: IDs sort by creation time.
        caller_id: the API key; empty on a gateway without keys, ``hf:…`` for a caller whose own token pays.
        kind: kind of the outputs, for the limits.
        api: API through which it was requested.
        response_context: JSON data that this API needs to render the response again.
        idempotency_key: chosen by the caller; ``fingerprint`` detects its reuse for a different request.
        bill_to: organization to bill.
        uses_caller_token: the caller's own HF token pays; it is not stored, so only the caller can supply it again.
        reserved_usd: reserved for it; charged_usd: its cost, None while unknown.
        is_settled: it has ended, so that its reservation is no longer needed.
        deleted_outputs: indexes of the outputs that their owner deleted, and when.
    """

    id: str
    caller_id: str
    kind: OutputKind
    created_at: float
    n: int
    api: Api
    spec: GenerationSpec
    response_context: dict[str, Any] = field(default_factory=dict[str, Any])
    idempotency_key: str | None = None
    fingerprint: str = ""
    bill_to: str | None = None
    uses_caller_token: bool = False
    reserved_usd: float = 0.0
    charged_usd: float | None = None
    is_settled: bool = False
    deleted_outputs: dict[int, float] = field(default_factory=dict[int, float])

    def job_key(self, index: int) -> str:
        """Return the idempotency key of one output's job in the ledger."""
        return output_key(f"{JOB_KEY_PREFIX}{self.id}", index)

    @property
    def is_durable(self) -> bool:
        """True if it still runs after a restart: its caller can ask for its jobs later."""
        return self.api in ("videos", "jobs") or self.idempotency_key is not None


def parse_job_key(key: str | None) -> tuple[str, int] | None:
    """Return generation ID and output index of a job's key in the ledger; None if the job is not the gateway's."""
    if key is None or not key.startswith(JOB_KEY_PREFIX):
        return None
    return parse_output_key(key.removeprefix(JOB_KEY_PREFIX))


def output_index(job: Job) -> int:
    """Return the index of a gateway job within its generation."""
    return (parse_job_key(job.idempotency_key) or ("", 0))[1]


def fingerprint_of(spec: GenerationSpec, api: Api, response_context: dict[str, Any]) -> str:
    """Return a digest of everything requested, which detects an idempotency key reused for a different request.

    Warnings do not count: their wording changes between versions.
    """
    context = {name: value for name, value in response_context.items() if name != "warnings"}
    payload = msgspec.json.encode(
        [api, structs.replace(spec, seeds=()).without_inline_image(), context], order="deterministic"
    )
    return FINGERPRINT_PREFIX + hashlib.sha256(payload).hexdigest()


def _is_same_request(existing: Generation, repeated: Generation) -> bool:
    if existing.fingerprint.startswith(FINGERPRINT_PREFIX):
        return existing.fingerprint == repeated.fingerprint
    # Stored by a version whose fingerprints hashed the wording of warnings: compare the requests themselves, except for
    # the model, which is stored resolved, and the parameters that this version did not have.
    return existing.api == repeated.api and _identity(existing.spec) == _identity(repeated.spec.without_inline_image())


def _identity(spec: GenerationSpec) -> tuple[Any, ...]:
    options = {name: value for name, value in spec.options.items() if name not in ("strength", "quality")}
    return spec.prompt, spec.n, spec.seed, spec.image, options


class IdempotencyConflictError(InvalidRequestError):
    """An idempotency key was reused for a different request; nothing was sent."""

    def __init__(self) -> None:
        message = "this idempotency key was already used for a different request; use a new key for a new request"
        super().__init__(f"{message}, or repeat the first request unchanged")


class GenerationRepository(DatabaseConnections):
    """The table ``generations``, and the reservations in ``charges``."""

    def reserve(self, generation: Generation, limits: KeyLimits, *, now: float) -> Generation:
        """Store a generation and reserve its cost; return the earlier one if its idempotency key exists already.

        Raises:
            QuotaExceededError: a limit does not allow it; nothing was stored.
            IdempotencyConflictError: the earlier one was a different request.
        """
        reserved_micro = to_micro_usd(generation.reserved_usd)
        images, videos = (generation.n, 0) if generation.kind == "image" else (0, generation.n)
        stored = structs.replace(generation, spec=generation.spec.without_inline_image())
        with self._write_transaction() as connection:
            existing = _find_existing(connection, generation)
            if existing is not None:
                return existing
            enforce_limits(connection, generation.caller_id, limits,
                           images=images, videos=videos, micro_usd=reserved_micro, now=now)  # fmt: skip
            connection.execute(
                "INSERT INTO generations (id, caller_id, kind, api, created_at, idempotency_key, fingerprint, "
                "deleted_outputs, body) VALUES (?, ?, ?, ?, ?, ?, ?, '{}', ?)",
                (generation.id, generation.caller_id, generation.kind, generation.api, generation.created_at,
                 generation.idempotency_key, generation.fingerprint, dump_json(stored)),
            )  # fmt: skip
            connection.execute(
                "INSERT INTO charges (id, caller_id, counted_at, status, reserved_micro, micro_usd, images, videos) "
                "VALUES (?, ?, ?, 'reserved', ?, ?, ?, ?)",
                (generation.id, generation.caller_id, now, reserved_micro, reserved_micro, images, videos),
            )
        return generation

    def add_warnings(self, generation_id: str, warnings: Sequence[str]) -> None:
        """Append warnings to a generation, de-duplicated; an unknown one is ignored."""
        with self._write_transaction() as connection:
            row = connection.execute("SELECT body FROM generations WHERE id = ?", (generation_id,)).fetchone()
            if row is None:
                return
            generation = msgspec.json.decode(row[0], type=Generation)
            context = generation.response_context
            merged = list(dict.fromkeys((*context.get("warnings", ()), *warnings)))
            body = dump_json(structs.replace(generation, response_context={**context, "warnings": merged}))
            connection.execute("UPDATE generations SET body = ? WHERE id = ?", (body, generation_id))

    def release_idempotency_key(self, generation_id: str) -> None:
        """Release the idempotency key of a generation of which nothing was billed, so that it can be tried again."""
        with self._write_transaction() as connection:
            connection.execute("UPDATE generations SET idempotency_key = NULL WHERE id = ?", (generation_id,))

    def generation(self, generation_id: str) -> Generation | None:
        """Return the generation with this ID."""
        row = self._row(f"{SELECT_GENERATIONS} WHERE g.id = ?", generation_id)
        return _generation_from_row(row) if row else None

    def generations(
        self,
        caller_id: str | None,
        *,
        kind: OutputKind | None = None,
        api: Api | None = None,
        after: str | None = None,
        before: str | None = None,
        deleted: bool = False,
        limit: int | None = 100,
        newest_first: bool = True,
    ) -> list[Generation]:
        """Return the generations of a caller (None: of all), sorted by age.

        ``after`` and ``before`` are IDs of generations that bound the list in its own order; an unknown ID is placed by
        its own value, since IDs sort by age. ``deleted``: only those with a deleted output.
        """
        conditions, parameters = ["1"], list[Any]()
        for column, value in (("caller_id", caller_id), ("kind", kind), ("api", api)):
            if value is not None:
                conditions.append(f"g.{column} = ?")
                parameters.append(value)
        if deleted:
            conditions.append("g.deleted_outputs != '{}'")
        after_operator, before_operator = ("<", ">") if newest_first else (">", "<")
        for cursor, comparison in ((after, after_operator), (before, before_operator)):
            if cursor is not None:
                cursor_row = self._row("SELECT created_at, id FROM generations WHERE id = ?", cursor)
                conditions.append(f"(g.created_at, g.id) {comparison} (?, ?)" if cursor_row else f"g.id {comparison} ?")
                parameters += cursor_row or (cursor,)
        direction = "DESC" if newest_first else "ASC"
        query = (
            f"{SELECT_GENERATIONS} WHERE {' AND '.join(conditions)} "
            f"ORDER BY g.created_at {direction}, g.id {direction} LIMIT ?"
        )
        row_limit = -1 if limit is None else max(0, limit)
        return [_generation_from_row(row) for row in self._rows(query, *parameters, row_limit)]

    def iter_generations(
        self,
        caller_id: str | None,
        *,
        kind: OutputKind | None = None,
        api: Api | None = None,
        after: str | None = None,
        deleted: bool = False,
        newest_first: bool = True,
    ) -> Iterator[list[Generation]]:
        """Iterate over the pages of ``generations`` after a cursor, to its end; each page is one query."""
        while page := self.generations(
            caller_id, kind=kind, api=api, after=after, deleted=deleted, limit=PAGE_SIZE, newest_first=newest_first
        ):
            yield page
            if len(page) < PAGE_SIZE:
                return
            after = page[-1].id

    def unsettled(self) -> list[Generation]:
        """Return the generations that have not ended, oldest first."""
        query = f"{SELECT_GENERATIONS} WHERE c.status = 'reserved' ORDER BY g.created_at, g.id"
        return [_generation_from_row(row) for row in self._rows(query)]

    def mark_deleted(self, generation_id: str, index: int, deleted_at: float | None) -> None:
        """Record when an output was deleted by its owner; None restores it."""
        with self._write_transaction() as connection:
            row = connection.execute(
                "SELECT deleted_outputs FROM generations WHERE id = ?", (generation_id,)
            ).fetchone()
            if row is None:
                return
            deleted = msgspec.json.decode(row[0], type=dict[int, float])
            deleted.pop(index, None)
            if deleted_at is not None:
                deleted[index] = deleted_at
            connection.execute(
                "UPDATE generations SET deleted_outputs = ? WHERE id = ?", (dump_json(deleted), generation_id)
            )

    def purge(self, before: float) -> list[Generation]:
        """Delete the generations from before this time that have ended, and return them.

        Their charges remain until their month is over.
        """
        this_month = month_of(self.clock()).starts_at
        with self._write_transaction() as connection:
            condition = "g.created_at < ? AND coalesce(c.status, '') <> 'reserved'"
            rows = connection.execute(f"{SELECT_GENERATIONS} WHERE {condition}", (before,)).fetchall()
            purged = [_generation_from_row(row) for row in rows]
            connection.executemany("DELETE FROM generations WHERE id = ?", [(generation.id,) for generation in purged])
            connection.execute(
                "DELETE FROM charges WHERE counted_at < ? "
                "AND NOT EXISTS (SELECT 1 FROM generations WHERE generations.id = charges.id)",
                (min(before, this_month),),
            )
        return purged


def _find_existing(connection: sqlite3.Connection, generation: Generation) -> Generation | None:
    """Return the stored generation with the same ID, or with the same idempotency key of the same caller.

    Runs within the transaction that stores the generation, so that no other one is stored in between.
    """
    row = connection.execute(
        f"{SELECT_GENERATIONS} WHERE g.id = ? OR (g.caller_id = ? AND g.idempotency_key = ?)",
        (generation.id, generation.caller_id, generation.idempotency_key),
    ).fetchone()
    if row is None:
        return None
    existing = _generation_from_row(row)
    if not _is_same_request(existing, generation):
        raise IdempotencyConflictError
    return existing


def _generation_from_row(row: Any) -> Generation:
    """Return a generation with its current columns, which replace the values at its creation."""
    body, idempotency_key, deleted_outputs, status, reserved_micro, micro_usd = row
    generation = msgspec.json.decode(body, type=Generation)
    return structs.replace(
        generation,
        idempotency_key=idempotency_key,
        deleted_outputs=msgspec.json.decode(deleted_outputs, type=dict[int, float]),
        reserved_usd=generation.reserved_usd if reserved_micro is None else dollars(reserved_micro),
        is_settled=status != "reserved",
        charged_usd=dollars(micro_usd) if status == "charged" else None,
    )
