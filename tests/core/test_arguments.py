"""Arguments are what annotations say, or refused with the fix; right ones go through as they are."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.arguments import checked_arguments, checked_fields, named_fields
from drnn_core.errors import InputError

if TYPE_CHECKING:
    Unknown = int


@checked_arguments
def taken(
    path: Path | str = "p",
    only_path: Path = Path("q"),
    sizes: tuple[int, ...] = (),
    three: tuple[int, int, int] | None = None,
    rate: float = 1.0,
    flag: bool = False,
    mode: Literal["fast", "slow"] = "fast",
    names: Sequence[str] = (),
    table: dict[str, int] | None = None,
    like: Mapping[str, int] | None = None,
    array: NDArray[Any] | None = None,
    call: Callable[[], None] | None = None,
    anything: Any = None,
    thing: object = None,
    unknown: Unknown = 0,
    *more: int,
    **others: str,
) -> dict[str, Any]:
    return {**locals()}


RIGHT: dict[str, list[Any]] = {
    "path": ["a", Path("a")], "only_path": [Path("a")], "sizes": [(), (1, 2)], "three": [None, (1, 2, 3)],
    "rate": [1, 0.5, np.float64(2)], "flag": [True], "mode": ["slow"], "names": [(), ("a",), ["a", "b"]],
    "table": [{}, {"a": 1}], "like": [{}], "array": [None, np.ones(2)], "call": [print], "anything": [1, "a", None],
    "thing": [1, [None]], "unknown": [0, "a"], "others": ["a"], "x": [5],
}  # fmt: skip
WRONG: list[tuple[str, Any, str, str]] = [
    ("path", 5, "a path, got 5", "Give a path, as text or as a pathlib.Path."),
    ("sizes", 5, "a tuple or list (a whole number each), got 5", "Give a tuple or list (a whole number each)."),
    ("sizes", (1, "a"), "got (1, 'a')", "Give"),
    ("sizes", (True,), "got (True,)", "Give"),
    ("three", (1, 2), "3 values, each a whole number or None, got (1, 2)", "Give 3 values"),
    ("rate", "2.5", "a number, got '2.5'", "Write rate=2.5"),
    ("rate", True, "a number, got True", "Give a number."),
    ("flag", 1, "True or False, got 1", "Give True or False."),
    ("mode", "fsat", "one of 'fast', 'slow', got 'fsat'", "Did you mean 'fast'?"),
    ("mode", None, "got None", "Choose from: 'fast', 'slow'."),
    ("names", "abc", "a tuple or list (text each), got 'abc'", "Write names=('abc',)"),
    ("names", ["a", 1], "got ['a', 1]", "Give"),
    ("table", [1], "a dictionary or None, got [1]", "Give a dictionary or None."),
    ("like", 3, "a dictionary or None, got 3", "Give"),
    ("array", [1.0], "an array or None, got [1.0]", "Give an array or None."),
    ("call", 5, "a function or None, got 5", "Give a function or None."),
]


@pytest.mark.parametrize("name, value", [(name, value) for name, values in RIGHT.items() for value in values])
def test_right_arguments_go_through(name: str, value: Any) -> None:
    made = taken(**{name: value})
    assert (made["others"] if name in ("others", "x") else made)[name] is value


def test_lists_become_tuples_and_text_a_path_where_only_those_are_taken() -> None:
    made = taken(only_path="a", sizes=[1, 2], names=["a"])  # type: ignore[arg-type]
    assert (made["only_path"], made["sizes"], made["names"]) == (Path("a"), (1, 2), ["a"])


@pytest.mark.parametrize("name, value, says, fix", WRONG)
def test_wrong_arguments_are_refused(name: str, value: Any, says: str, fix: str) -> None:
    with pytest.raises(InputError) as refused:
        taken(**{name: value})
    assert refused.value.message.startswith(f"taken: {name} must be ")
    assert says in refused.value.message
    assert refused.value.fix.startswith(fix)


def test_every_checked_annotation_has_a_wrong_value() -> None:
    assert {name for name, *_ in WRONG} == set(RIGHT) - {"only_path", "anything", "thing", "unknown", "others", "x"}


@settings(max_examples=30)
@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers() | st.text()))
def test_any_value_is_taken_or_an_input_error(value: Any) -> None:
    for name in RIGHT:
        with contextlib.suppress(InputError):
            taken(**{name: value})


def test_missing_and_unknown_arguments_name_the_others() -> None:
    @checked_arguments
    def two(first: int, second: int) -> int:
        return first + second

    assert two(1, second=2) == 3
    for arguments, says, fix in (
        ({"first": 1}, "missing a required argument: 'second'", "It takes: first, second."),
        ({"first": 1, "secnd": 2}, "missing a required argument: 'second'", "Did you mean 'second'?"),
        ({"first": 1, "second": 2, "x": 3}, "unexpected keyword argument 'x'", "It takes: first, second."),
    ):
        with pytest.raises(InputError, match=says) as refused:
            two(**arguments)
        assert refused.value.fix == fix


@pytest.mark.parametrize("name, value, fix", [
    ("count", "12", "Write count=12"), ("count", "007", "Write count=7"), ("count", "3.5", "Give a whole number."),
    ("count", "²", "Give a whole number."), ("share", "0.5", "Write share=0.5"), ("share", "1e-3", "Write share=0.001"),
    ("share", "nan", "Give a number."), ("share", "²", "Give a number."),
])  # fmt: skip
def test_advice_on_text_in_the_place_of_a_number_can_be_taken(name: str, value: str, fix: str) -> None:
    @checked_arguments
    def take(count: int = 0, share: float = 0.0) -> None: ...

    with pytest.raises(InputError) as refused:
        take(**{name: value})  # type: ignore[arg-type]
    assert refused.value.fix == fix


def test_numbers_of_numpy_are_taken_as_pythons() -> None:
    @checked_arguments
    def take(count: int, share: float | None = None) -> tuple[object, ...]:
        return count, share

    taken = take(np.int64(3), np.float32(0.5))  # type: ignore[arg-type]
    assert taken == (3, 0.5) and [*map(type, taken)] == [int, float]
    with pytest.raises(InputError, match=r"count must be a whole number, got 0\.5"):
        take(np.float32(0.5))  # type: ignore[arg-type]


def test_context_managers_are_refused_before_they_are_entered() -> None:
    @checked_arguments
    @contextlib.contextmanager
    def opened(count: int) -> Iterator[int]:
        yield count

    with opened(3) as count:
        assert count == 3
    with pytest.raises(InputError, match="count must be a whole number, got 'a'"):
        opened("a")  # type: ignore[arg-type]


class Verbs(Protocol):
    def go(self) -> None: ...

    def stay(self) -> None: ...


class OneVerb:
    def go(self) -> None: ...


def test_a_protocol_takes_whatever_is_no_plain_data() -> None:
    @checked_arguments
    def run(verbs: Verbs, more: Sequence[Verbs] = ()) -> None: ...

    run(OneVerb(), [OneVerb()])  # type: ignore[arg-type, list-item]
    for wrong in ("go", 5, None, Path("go"), [OneVerb()]):
        with pytest.raises(InputError, match="verbs must be a Verbs"):
            run(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="more must be a tuple or list"):
        run(OneVerb(), ["go"])  # type: ignore[arg-type, list-item]


def test_dataclasses_check_their_fields() -> None:
    @checked_fields
    @dataclasses.dataclass(frozen=True)
    class Both:
        count: int
        names: tuple[str, ...] = ()

    @named_fields
    @dataclasses.dataclass(frozen=True)
    class Named:
        count: int

    assert dataclasses.replace(Both(1, ["a"]), count=2) == Both(2, ("a",))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"Both: count must be a whole number, got '1'"):
        Both("1")  # type: ignore[arg-type]
    assert Named("1").count == "1"  # type: ignore[arg-type]
    for cls in (Both, Named):
        with pytest.raises(InputError, match="got an unexpected keyword argument 'cout'") as refused:
            cls(1, cout=1)  # type: ignore[call-arg]
        assert refused.value.fix == "Did you mean 'count'?"
