"""The plan for one request: which routes, in which order, and what there is to know about that.

Pure, but for what it is told of experience; what cannot be routed is refused with all that is known.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from hfmedia.core.answers import Lora, Route
from hfmedia.core.errors import ModelNotSupportedError
from hfmedia.core.mapping import Mapping, Model
from hfmedia.core.request import Choice, Policy, Task
from hfmedia.providers import provider as provider_named
from hfmedia.settings import Settings

from .credentials import Way, missing, unnamed, ways
from .memory import Health, Observed

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # a provider's name becomes part of an address


class Plan(Struct, frozen=True):
    """The routes to try, in order, at least one; and a sentence for whatever a user may wonder about."""

    routes: tuple[Route, ...]
    notes: tuple[str, ...] = ()


def routes(
    choice: Choice,
    task: Task,
    model: Model,
    settings: Settings,
    *,
    health: Health | None = None,
    known: Observed | None = None,
) -> Plan:
    """The plan for a choice of model and provider or policy, for a task, with these settings.

    Raises:
        ModelNotSupportedError: no live provider, not for this task, or not the provider named; it says who does what.
        MissingAuthError: no credential opens a way to any of them; it says how to get one.
    """
    able, notes = _able(_live(choice, task, model), task)
    if not able:
        raise ModelNotSupportedError(
            f"{model.id} has no provider for {task} that can be used: {'; '.join(notes)}", model=model.id
        )
    names = [one.provider for one in able]
    if settings.token and settings.token.foreign and choice.provider is None:
        raise unnamed(model.id, [name for name in names if settings.own_address(name, task)] or names)
    open_ways = {name: found for name in names if (found := ways(settings, name, task))}
    if not open_ways:
        raise missing(settings, model.id, names, task)
    closed = [name for name in names if name not in open_ways]
    if closed:
        notes.append(f"{_listed(closed)} skipped: there is a credential for other providers only")
    notes += [
        f"{name} should be asked directly, but its own key is not there; it is asked through the router"
        for name, (way, *_) in open_ways.items()
        if name in settings.direct and way.via == "router"
    ]
    ordered, told = _ordered(
        [one for one in able if one.provider in open_ways], choice.policy, model, known or Observed()
    )
    awake, rested = _rested(ordered, health or Health())
    first = [_route(one, open_ways[one.provider][0], model, task) for one in awake]
    then = [_route(one, way, model, task) for one in awake for way in open_ways[one.provider][1:]]
    return Plan((*first, *then), (*notes, *told, *rested))


def _live(choice: Choice, task: Task, model: Model) -> list[Mapping]:
    """The live mappings to choose from, one of each provider; ModelNotSupportedError when there is none."""
    live = {one.provider: one for one in reversed(model.live(task))}
    found = [live[name] for name in dict.fromkeys(one.provider for one in model.mappings) if name in live]
    if choice.provider is None:
        if found:
            return found
        raise ModelNotSupportedError(
            f"no provider is live for {task} with {model.id}. {_state(model, task)}", model=model.id
        )
    if choice.provider in live:
        return [live[choice.provider]]
    name = choice.provider
    mine = [one for one in model.mappings if one.provider == name]
    same = [one for one in mine if one.task == task]
    if same:
        what = f"{name} serves {model.id}, but not now: it is {_status(same[0])}"
    elif mine:
        what = f"{name} serves {model.id} for {_listed({one.task for one in mine})}, not for {task}"
    else:
        near = difflib.get_close_matches(name, [one.provider for one in model.mappings], n=1)
        what = f"{name} does not serve {model.id}" + (f" (did you mean {near[0]}?)" if near else "")
    raise ModelNotSupportedError(f"{what}. {_state(model, task)}", model=model.id, provider=name)


def _state(model: Model, task: Task) -> str:
    """Who serves the model for what, and how they are."""
    if not model.mappings:
        return "The Hub lists no provider for it at all"
    here = [f"{one.provider} ({_status(one)})" for one in model.mappings if one.task == task]
    others: dict[str, list[str]] = {}
    for one in model.mappings:
        if one.task != task:
            others.setdefault(one.task, []).append(one.provider if one.live else f"{one.provider} ({_status(one)})")
    said = [f"For {task} there {_are(here)}"] if here else []
    said += [f"for {other} there {_are(names)}" for other, names in others.items()]
    text = "; ".join(said)
    return text[0].upper() + text[1:]


def _status(one: Mapping) -> str:
    return {"live": "live", "staging": "staging: not open to everybody yet", "error": "failing the Hub's checks"}.get(
        one.status, one.status
    )


def _able(live: Sequence[Mapping], task: Task) -> tuple[list[Mapping], list[str]]:
    """Those that hfmedia can speak to for this task, and a note on each other."""
    able: list[Mapping] = []
    notes: list[str] = []
    for one in live:
        if not _NAME.fullmatch(one.provider):
            notes.append(f"{one.provider[:64]!r} skipped: this cannot be the name of a provider")
        elif task not in provider_named(one.provider).tasks:
            notes.append(f"{one.provider} skipped: hfmedia does not know how it does {task}")
        else:
            able.append(one)
    return able, notes


def _ordered(
    found: Sequence[Mapping], policy: Policy | None, model: Model, known: Observed
) -> tuple[list[Mapping], list[str]]:
    """By the policy: what is known best first, what is not known after it in the mapping's order; and a note on it."""
    if policy not in ("fastest", "cheapest") or len(found) < 2:
        return list(found), []
    ranked = [(_rank(one, policy, model.id, known), one) for one in found]
    best = [(rank, one) for rank, one in ranked if rank is not None]
    unknown = [one for rank, one in ranked if rank is None]
    about = "speed" if policy == "fastest" else "price"
    if not best:
        return list(found), [f"{policy}: nothing is known of their {about} yet, so the Hub's order stands"]
    best.sort(key=lambda pair: pair[0][:2])
    note = f"{policy}: known are " + ", ".join(f"{one.provider} ({rank[2]})" for rank, one in best)
    if unknown:
        note += f"; nothing is known of {_names(one.provider for one in unknown)}, asked after those"
    return [one for _, one in best] + unknown, [note]


def _rank(one: Mapping, policy: Policy, model: str, known: Observed) -> tuple[int, float, str] | None:
    """Where a provider stands, lower is better, and why; None when nothing is known.

    What was seen here is about this very task, so it goes before what the Hub tells.
    """
    if policy == "fastest":
        seconds = known.seconds(one.provider, model)
        if seconds is not None:
            return 0, seconds, f"{seconds:.1f} s seen here"
        return None if one.speed is None else (1, -one.speed, "by the Hub's word")
    dollars = known.dollars(one.provider, model)
    if dollars is not None:
        return 0, dollars, f"${dollars:.4f} seen here"
    return None if one.price is None else (1, one.price, "by the Hub's word")


def _rested(found: Sequence[Mapping], health: Health) -> tuple[list[Mapping], list[str]]:
    """Those that failed a moment ago after all others, and a note on each that had to give way."""
    rests = {one.provider: health.resting(one.provider) for one in found}
    awake = [one for one in found if not rests[one.provider]]
    tired = [one for one in found if rests[one.provider]]
    if not awake or not tired:
        return list(found), []
    return awake + tired, [
        f"{one.provider} failed a moment ago and is asked last for {max(1, round(rests[one.provider]))} s more"
        for one in tired
    ]


def _route(one: Mapping, way: Way, model: Model, task: Task) -> Route:
    lora = Lora(repo=model.id, path=one.weights) if one.weights or one.adapter == "lora" else None
    return Route(
        provider=one.provider,
        provider_id=one.provider_id,
        model=model.id,
        task=task,
        base_url=way.base_url,
        credential=way.credential,
        via=way.via,
        lora=lora,
    )


def _names(names: Iterable[str]) -> str:
    """``a, b and c``."""
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} and {last}" if most else last


def _listed(names: Iterable[str]) -> str:
    return _names(sorted(names))


def _are(names: Sequence[str]) -> str:
    return f"{'is' if len(names) == 1 else 'are'} {_names(names)}"
