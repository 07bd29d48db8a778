"""Keys: what makes two lines the same job, held for any lines."""

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
        "strength": st.sampled_from([0.5, None, "x"]),
        "size": st.sampled_from(["64x64", "128x64"]),
    },
)


def lines(cells: list[dict[str, Any]]) -> list[Line]:
    """The lines that these cells make."""
    return [parse_line(number, some, {}) for number, some in enumerate(cells, 1)]


def keys(of: list[Line], folder: str = "/out", realm: str = "") -> list[str]:
    """The keys of all outputs of the lines, in order, as a batch gives them."""
    counts: Counter[bytes] = Counter()
    made: list[str] = []
    for line in of:
        print_ = fingerprint(line, folder=folder, namespace=realm)
        for _ in range(line.n):
            made.append(item_key(print_, counts[print_]))
            counts[print_] += 1
    return made


@given(st.lists(CELLS, max_size=12))
def test_every_output_has_a_key_of_its_own(cells: list[dict[str, Any]]) -> None:
    """Also those of identical lines."""
    made = keys(lines(cells))
    assert len(set(made)) == len(made)


@given(st.lists(CELLS, max_size=12).flatmap(lambda cells: st.tuples(st.just(cells), st.permutations(cells))))
def test_the_order_of_the_lines_changes_no_key(both: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """The same lines, shuffled, are the same jobs."""
    before, after = both
    assert sorted(keys(lines(before))) == sorted(keys(lines(after)))


@given(st.lists(CELLS, min_size=1, max_size=8), CELLS)
def test_a_line_more_keeps_all_the_others(cells: list[dict[str, Any]], more: dict[str, Any]) -> None:
    """Only what is new is new."""
    before, after = set(keys(lines(cells))), set(keys(lines([*cells, more])))
    assert before < after
    assert len(after - before) == more.get("n", 1)


@given(CELLS, st.permutations(["prompt", "seed", "guidance", "n", "strength", "size"]))
def test_the_order_of_the_columns_changes_no_key(cells: dict[str, Any], order: list[str]) -> None:
    """Nor does where a default was said."""
    shuffled = {name: cells[name] for name in order if name in cells}
    assert keys(lines([cells])) == keys(lines([shuffled]))


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"steps": 4}, {"num_inference_steps": "4"}),
    ({"guidance": 3}, {"guidance_scale": "3.0"}),
    ({"size": "64x64"}, {"width": 64, "height": 64}),
    ({"strength": 1}, {"extra": {"strength": 1}}),
    ({"n": 1}, {}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_wish_in_other_words_is_the_same_job(one: dict[str, Any], other: dict[str, Any]) -> None:
    """A CSV and the JSON made of it are the same batch."""
    assert keys(lines([{"prompt": "a", **one}])) == keys(lines([{"prompt": "a", **other}]))


CHANGED: list[dict[str, Any]] = [
    {"prompt": "b"}, {"seed": 1}, {"model": "a/b"}, {"model": "a/b:fal-ai"}, {"task": "text-to-video"}, {"x": 1},
    {"output": "fox.png"}, {"key": "7"}, {"negative": "n"}, {"width": 64},
]  # fmt: skip


def test_whatever_changes_in_a_line_makes_another_job() -> None:
    """And so do another folder and another realm."""
    line = {"prompt": "a"}
    made = [keys(lines([{**line, **change}])) for change in [{}, *CHANGED]]
    made += [keys(lines([line]), folder="/other"), keys(lines([line]), realm="sandbox")]
    assert len({key for some in made for key in some}) == len(CHANGED) + 3


def test_an_input_image_counts_by_its_bytes_and_its_name() -> None:
    """The folder in which it lies does not."""
    here, there = (parse_line(1, {"prompt": "a", "image": f"/{where}/fox.png"}, {}) for where in ("here", "there"))
    other = parse_line(1, {"prompt": "a", "image": "/here/dog.png"}, {})
    told = {"folder": "/out", "image": "digest"}
    assert fingerprint(here, **told) == fingerprint(there, **told)
    assert fingerprint(here, **told) != fingerprint(other, **told)
    assert fingerprint(here, **told) != fingerprint(here, folder="/out", image_digest="another")


def test_several_outputs_have_seeds_and_names_of_their_own() -> None:
    """Counting up from a seed; drawn from the key without one, the same at every start."""
    seeded = parse_line(1, {"prompt": "a", "seed": 7, "n": 3, "output": "a/fox.png"}, {})
    orders = [make_item(seeded, copy, b"p", copy) for copy in range(3)]
    assert [order.options["seed"] for order in orders] == [7, 8, 9]
    assert [order.output for order in orders] == output_names(seeded) == ["a/fox-1.png", "a/fox-2.png", "a/fox-3.png"]
    drawn = parse_line(1, {"prompt": "a", "n": 3}, {})
    seeds = [make_item(drawn, copy, b"p", copy).options.get("seed") for copy in range(3)]
    assert seeds[0] is None
    assert len(set(seeds)) == 3
    assert seeds == [make_item(drawn, copy, b"p", copy).options.get("seed") for copy in range(3)]


def test_one_output_keeps_the_name_it_was_given() -> None:
    """And has none where none was given."""
    assert output_names(parse_line(1, {"prompt": "a", "output": "fox.png"}, {})) == ["fox.png"]
    assert output_names(parse_line(1, {"prompt": "a"}, {})) == []
