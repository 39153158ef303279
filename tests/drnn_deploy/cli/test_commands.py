"""What every command has, and what is refused before any work: places, names, options that would be ignored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drnn_core.gpu import compute_capability
from drnn_models.checkpoint import Checkpoint
from tests.drnn_deploy.cli.leaves import leaves
from tests.drnn_deploy.conftest import Command


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_every_command_has_the_short_options(command: Command, words: tuple[str, ...]) -> None:
    ran = command("drnn-deploy", *words, "-h")
    assert ran.code == 0
    for option in ("-q, --quiet", "-v, --verbose", "--version", "-h, --help"):
        assert option in ran.out
    assert command("drnn-deploy", *words, "--version").out.startswith("drnn-deploy, version ")


@pytest.mark.parametrize("words", [
    ("inspect", "LONG"), ("export", "LONG"), ("parity", "LONG"), ("lint", "LONG"), ("doctor", "--json", "LONG"),
    ("run", "BUNDLE", "--input", "LONG", "--output", "y.npy"), ("export", "MODEL", "--output", "LONG"),
])  # fmt: skip
def test_names_that_the_system_refuses_are_a_users_mistake(
    command: Command, model: Path, bundle: Path, words: tuple[str, ...]
) -> None:
    places = {"LONG": "a" * 300, "BUNDLE": bundle, "MODEL": model}
    ran = command("drnn-deploy", *(places.get(word, word) for word in words))
    assert ran.code == 2
    assert "File name too long" in ran.err


@pytest.mark.parametrize("words, says", [
    (("run", "BUNDLE", "--input", "INPUT", "--output", "y.npy", "--json", "./y.npy"), "--output and --json"),
    (("parity", "BUNDLE", "--html", "report", "--markdown", "report"), "--html and --markdown"),
    (("export", "MODEL", "--output", "made", "--json", "made"), "--output and --json"),
])  # fmt: skip
def test_two_results_are_not_written_to_one_place(
    command: Command, model: Path, bundle: Path, words: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    before = sorted(model.parent.iterdir())
    places = {"BUNDLE": bundle, "MODEL": model, "INPUT": bundle / "golden.npz"}
    ran = command("drnn-deploy", *(places.get(word, word) for word in words))
    assert (ran.code, f"{says} would both write" in ran.err) == (2, True)
    assert [path for path in sorted(model.parent.iterdir()) if path.name != Path(words[-1]).name] == before


def test_quiet_and_verbose_contradict_each_other(command: Command) -> None:
    ran = command("drnn-deploy", "doctor", "-q", "-v")
    assert (ran.code, "--quiet and --verbose contradict each other" in ran.err) == (2, True)


@pytest.mark.parametrize("words, asks", [
    (("exprot",), "Did you mean 'export'?"),
    (("data", "fecth", "x"), "Did you mean 'fetch'?"),
    (("train", "pixel-mnst"), "Did you mean 'pixel-mnist'?"),
    (("parity", "--task", "copy-memry"), "Did you mean 'copy-memory'?"),
    (("parity", "BUNDLE", "--runtime", "onnxruntime-cpuu"), "Did you mean 'onnxruntime-cpu'?"),
    (("evaluate", "BUNDLE", "--runtime", "torhc"), "Did you mean 'torch'?"),
    (("bench", "BUNDLE", "--contender", "torch-egaer"), "Did you mean 'torch-eager'?"),
    (("export", "MODEL", "--engine", "tensorrt-rxt"), "Did you mean 'tensorrt-rtx'?"),
    (("plan", "FOLDER/modle.pt"), "model.pt?"),
    (("inspect", "FOLDER/bundel"), "bundle?"),
])  # fmt: skip
def test_did_you_mean(command: Command, model: Path, bundle: Path, words: tuple[str, ...], asks: str) -> None:
    bundle = bundle.rename(model.parent / "bundle")
    there = {"MODEL": str(model), "BUNDLE": str(bundle)}
    typed = [there.get(word, word.replace("FOLDER", str(model.parent))) for word in words]
    ran = command("drnn-deploy", *typed)
    assert ran.code == 2
    assert asks in ran.err


@pytest.mark.parametrize("words, says", [
    (("export", "MODEL", "--chunk", "8"), "--chunk would be ignored: it needs --form chunk"),
    (("export", "MODEL", "--ring"), "--ring would be ignored: it needs --form chunk or --form step"),
    (("export", "MODEL", "--rate", "8000"), "--rate would be ignored: it needs --latency"),
    (("plan", "MODEL", "--rate", "8000"), "--rate would be ignored"),
    (("export", "MODEL", "--latency", "--throughput"), "--latency and --throughput are two goals"),
    (("plan", "MODEL", "--throughput", "--latency"), "--latency and --throughput are two goals"),
    (("export", "MODEL", "--engine", "none", "--compute-capability", "86"), "--compute-capability would be ignored"),
    (("export", "MODEL", "--engine", "none", "--tf32"), "--tf32 would be ignored"),
    (("export", "MODEL", "--quick", "--no-check"), "--quick and --no-check contradict each other"),
    (("export", "MODEL", "--quick", "--runtime", "torch"), "--runtime would be ignored"),
    (("export", "MODEL", "--no-check", "--atol", "1e-3"), "a tolerance would be ignored"),
    (("export", "MODEL", "--max-noise", "9", "--atol", "1e-3"), "two ways to say the same"),
    (("parity", "BUNDLE", "--max-slowdown", "2"), "--max-slowdown would be ignored: it needs --baseline"),
    (("parity", "BUNDLE", "--golden", "--reference-minutes", "2"), "--reference-minutes would be ignored"),
    (("stream", "sound.wav", "--rate", "8000"), "--rate would be ignored"),
    (("stream", "sound.wav", "--sample-format", "f32"), "--sample-format would be ignored"),
    (("import", "MODEL", "--steps", "3"), "--steps would be ignored: it needs --head last_k"),
])  # fmt: skip
def test_options_that_would_be_ignored_are_refused(
    command: Command, model: Path, bundle: Path, words: tuple[str, ...], says: str
) -> None:
    there, before = {"MODEL": model, "BUNDLE": bundle}, sorted(model.parent.iterdir())
    ran = command("drnn-deploy", *(there.get(word, word) for word in words))
    assert ran.code == 2
    assert says in ran.err
    assert sorted(model.parent.iterdir()) == before


@pytest.mark.parametrize(
    "text, meant",
    [
        *((text, "8.6") for text in ("8.6", "86", "sm_86", "SM86")),
        ("120", "12.0"),
        ("sm_120", "12.0"),
        ("12.1", "12.1"),
    ],
)
def test_ways_to_write_a_compute_capability(command: Command, model: Path, text: str, meant: str) -> None:
    assert compute_capability(text) == meant
    ran = command(model, "--compute-capability", text, "--engine", "none")
    assert "--compute-capability would be ignored" in ran.err


@pytest.mark.parametrize("text", ["banana", "8.65", "8", "99.9", "-8.6", "", "4.2", "8,6"])
@pytest.mark.parametrize("name", ["export", "lint"])
def test_nonsense_is_no_compute_capability(command: Command, model: Path, name: str, text: str) -> None:
    ran = command("drnn-deploy", name, model, "--compute-capability", text)
    assert ran.code == 2
    assert "is no compute capability" in ran.err


@pytest.mark.parametrize("name", ["inspect", "parity", "export", "lint"])
@pytest.mark.parametrize("place", ["folder", "missing"])
def test_a_place_that_holds_nothing_is_refused_with_json(
    command: Command, tmp_path: Path, name: str, place: str
) -> None:
    (tmp_path / "folder").mkdir()
    ran = command("drnn-deploy", name, tmp_path / place, "--json", "-")
    assert ran.code == 2
    failure = json.loads(ran.out)
    assert (failure["passed"], failure["exit_code"]) == (False, 2)
    assert failure["error"]["fix"]


@pytest.mark.parametrize("place", ["", "file/below", "file/below/far"])
@pytest.mark.parametrize("option", ["--json", "--html", "--junit", "--markdown"])
def test_a_place_where_nothing_can_be_written_is_refused_before_any_work(
    command: Command, bundle: Path, tmp_path: Path, option: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.setattr("drnn_deploy.matrix.run.check_path", lambda *_, **__: pytest.fail("it worked"))
    ran = command("drnn-deploy", "parity", bundle, option, tmp_path / place)
    assert ran.code == 2
    assert f"cannot write {tmp_path / place}".rstrip("/") in ran.err


def test_quick_and_no_check(command: Command, model: Path) -> None:
    out = model.parent / "bundle"
    ran = command(model, "--output", out, "--engine", "none", "--quick", "--json", "-")
    assert ran.code == 0
    assert [row["runtime"] for row in json.loads(ran.out)["rows"]] == ["reference", "onnxruntime-cpu"]
    ran = command(model, "--output", out, "--engine", "none", "--no-check")
    assert ran.code == 0
    *_, last, then = ran.out.splitlines()
    assert last == f"WROTE {model} -> {out}: not checked"
    assert then == f"next    to check it on every runtime: drnn-parity {out}"
    assert not (out / "parity.json").exists()
    assert command("drnn-deploy", "inspect", out).code == 0


def test_an_absolute_tolerance_of_an_export(command: Command, model: Path) -> None:
    words = (model, "--output", model.parent / "bundle", "--engine", "none", "--quick", "--json", "-")
    refused, taken = command(*words, "--atol", "0"), command(*words, "--atol", "1e-3", "--rtol", "1e-3")
    assert (refused.code, taken.code) == (1, 0)
    assert json.loads(taken.out)["tolerance"] == {"noise_multiple": 8.0, "atol": 1e-3, "rtol": 1e-3}


def test_training_goes_on_without_its_options(command: Command, tmp_path: Path, network: Checkpoint) -> None:
    out = tmp_path / "run"
    options = [
        word
        for entry in ("data.delay=3", "model.cell=rnn", "model.hidden=[4]", "model.dilations=[2]",
                      "training.iterations=3", "training.batch=2", "training.evaluate_every=3")
        for word in ("--set", entry)
    ]  # fmt: skip
    assert command("drnn-deploy", "train", "copy-memory", *options, "--output", out).code == 0
    (out / "model.pt").unlink()
    other = command("drnn-deploy", "train", "copy-memory", "--set", "seed=5", "--output", out, "--resume")
    assert (other.code, "belongs to a training with other settings" in other.err) == (2, True)
    assert command("drnn-deploy", "train", "--resume").code == 2
    ran = command("drnn-deploy", "train", "--resume", "--output", out)
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == f"next    drnn-export {out / 'model.pt'}"
    assert network.spec != json.loads((out / "log.json").read_text(encoding="utf-8"))["recipe"]["spec"]


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_json_holds_that_a_command_could_not_be_read(command: Command, words: tuple[str, ...], tmp_path: Path) -> None:
    has_json = "--json" in command("drnn-deploy", *words, "--help").out
    for typed in (("--json", "-"), ("--json=-",)):
        ran = command("drnn-deploy", *words, *typed, "--no-such-option")
        assert ran.code == 2 and "Error: " in ran.err
        if has_json:
            failure = json.loads(ran.out)
            assert (failure["passed"], failure["exit_code"]) == (False, 2)
            assert failure["error"]["message"] in ran.err
            assert failure["error"]["fix"] == f"Type: drnn-deploy {' '.join(words)} --help"
        else:
            assert ran.out == ""
    for place in (tmp_path, tmp_path / ("a" * 300), "\0"):
        ran = command("drnn-deploy", *words, "--json", place, "--no-such-option")
        assert (ran.code, ran.out) == (2, "")
    assert not list(tmp_path.iterdir())


def test_json_holds_that_memory_ran_out_or_a_package_is_not_here(
    command: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, code, says in (
        (MemoryError(), 2, "memory ran out"),
        (ModuleNotFoundError("x", name="soundfile"), 3, "needs soundfile"),
    ):
        monkeypatch.setattr("drnn_deploy.planner.plan.plan_checkpoint", raising(error))
        ran = command("drnn-deploy", "plan", model, "--json", "-")
        failure = json.loads(ran.out)
        assert (ran.code, failure["exit_code"]) == (code, code)
        assert says in failure["error"]["message"] and says in ran.err


def raising(error: Exception) -> Callable[..., Any]:
    def called(*_: Any, **__: Any) -> Any:
        raise error

    return called
