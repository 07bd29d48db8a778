"""Keys of batch items: which lines are the same job, for arbitrary lines."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfmedia.batch.columns import Line, parse_line
from hfmedia.batch.items import fingerprint, item_key, make_item, output_names

CELLS = st.fixed_dictionaries(
    {"prompt": st.sampled_from(["a fox", "a whale", "a bear"])},
    optional={
        "seed": st.integers(0, 3),
        "guidance": st.sampled_from([1, 2.5]),
        "n": st.integers(1, 3),
        "shift": st.sampled_from([0.5, None, "x"]),
        "strength": st.sampled_from([0.5, 1]),
        "size": st.sampled_from(["64x64", "128x64"]),
    },
)


def lines(cells: list[dict[str, Any]]) -> list[Line]:
    """The lines of these cells."""
    return [parse_line(number, row, {}) for number, row in enumerate(cells, 1)]


def keys(parsed: list[Line], folder: str = "/out", namespace: str = "") -> list[str]:
    """The keys of all outputs of the lines, in order, as a batch gives them."""
    counts: Counter[bytes] = Counter()
    result: list[str] = []
    for line in parsed:
        digest = fingerprint(line, folder=folder, namespace=namespace)
        for _ in range(line.n):
            result.append(item_key(digest, counts[digest]))
            counts[digest] += 1
    return result


@given(st.lists(CELLS, max_size=12))
def test_every_output_has_a_key_of_its_own(cells: list[dict[str, Any]]) -> None:
    """Also those of identical lines."""
    item_keys = keys(lines(cells))
    assert len(set(item_keys)) == len(item_keys)


@given(st.lists(CELLS, max_size=12).flatmap(lambda cells: st.tuples(st.just(cells), st.permutations(cells))))
def test_the_order_of_the_lines_changes_no_key(both: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """The same lines, shuffled, are the same jobs."""
    before, after = both
    assert sorted(keys(lines(before))) == sorted(keys(lines(after)))


@given(st.lists(CELLS, min_size=1, max_size=8), CELLS)
def test_one_more_line_keeps_the_keys_of_all_others(cells: list[dict[str, Any]], more: dict[str, Any]) -> None:
    """Only what is new is new."""
    before, after = set(keys(lines(cells))), set(keys(lines([*cells, more])))
    assert before < after
    assert len(after - before) == more.get("n", 1)


@given(CELLS, st.permutations(["prompt", "seed", "guidance", "n", "shift", "strength", "size"]))
def test_the_order_of_the_columns_changes_no_key(cells: dict[str, Any], order: list[str]) -> None:
    """Nor does the position of a default."""
    shuffled = {name: cells[name] for name in order if name in cells}
    assert keys(lines([cells])) == keys(lines([shuffled]))


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"steps": 4}, {"num_inference_steps": "4"}),
    ({"guidance": 3}, {"guidance_scale": "3.0"}),
    ({"size": "64x64"}, {"width": 64, "height": 64}),
    ({"strength": 1}, {"extra": {"strength": 1}}),
    ({"n": 1}, {}),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_the_same_request_in_another_notation_is_the_same_job(first: dict[str, Any], second: dict[str, Any]) -> None:
    """A CSV file and its JSON Lines equivalent are the same batch."""
    assert keys(lines([{"prompt": "a", **first}])) == keys(lines([{"prompt": "a", **second}]))


CHANGED: list[dict[str, Any]] = [
    {"prompt": "b"}, {"seed": 1}, {"model": "a/b"}, {"model": "a/b:fal-ai"}, {"task": "text-to-video"}, {"x": 1},
    {"output": "fox.png"}, {"key": "7"}, {"negative": "n"}, {"width": 64},
]  # fmt: skip


def test_any_change_of_a_line_is_another_job() -> None:
    """And so are another folder and another namespace."""
    line = {"prompt": "a"}
    groups = [keys(lines([{**line, **change}])) for change in [{}, *CHANGED]]
    groups += [keys(lines([line]), folder="/other"), keys(lines([line]), namespace="sandbox")]
    assert len({key for group in groups for key in group}) == len(CHANGED) + 3


def test_an_input_image_counts_by_its_bytes_and_its_name() -> None:
    """Its folder does not count."""
    left, right = (parse_line(1, {"prompt": "a", "image": f"/{folder}/fox.png"}, {}) for folder in ("left", "right"))
    other = parse_line(1, {"prompt": "a", "image": "/left/dog.png"}, {})
    known = {"folder": "/out", "image_digest": "digest"}
    assert fingerprint(left, **known) == fingerprint(right, **known)
    assert fingerprint(left, **known) != fingerprint(other, **known)
    assert fingerprint(left, **known) != fingerprint(left, folder="/out", image_digest="another")


def test_several_outputs_have_distinct_seeds_and_names() -> None:
    """Counting up from a seed; without one derived from the key, the same in every run."""
    seeded = parse_line(1, {"prompt": "a", "seed": 7, "n": 3, "output": "a/fox.png"}, {})
    items = [make_item(seeded, copy, b"p", copy) for copy in range(3)]
    assert [item.options["seed"] for item in items] == [7, 8, 9]
    assert [item.output for item in items] == output_names(seeded) == ["a/fox-1.png", "a/fox-2.png", "a/fox-3.png"]
    seedless = parse_line(1, {"prompt": "a", "n": 3}, {})
    seeds = [make_item(seedless, copy, b"p", copy).options.get("seed") for copy in range(3)]
    assert seeds[0] is None
    assert len(set(seeds)) == 3
    assert seeds == [make_item(seedless, copy, b"p", copy).options.get("seed") for copy in range(3)]


def test_one_output_keeps_its_name() -> None:
    """And has none where the line sets none."""
    assert output_names(parse_line(1, {"prompt": "a", "output": "fox.png"}, {})) == ["fox.png"]
    assert output_names(parse_line(1, {"prompt": "a"}, {})) == []
