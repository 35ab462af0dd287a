"""Configurations measured on the GPU at hand, LADNET_AUTOTUNE=1, where measuring is made up."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is in the extra [dev]")

from ladnet_fast.ops import _triton

pytestmark = pytest.mark.skipif(_triton.INTERPRETED, reason="asks what holds without interpreter")


@pytest.fixture
def tuner(monkeypatch, tmp_path):
    """Return a function that asks for a choice, the times that are measured, and the file."""
    from ladnet_fast.kernels.locality_attention import autotune, configs

    offered = [configs.Config(64, n, 32, 4, 2) for n in (16, 32, 64)]
    times, measured = {16: 3.0, 32: 1.0, 64: 2.0}, []
    monkeypatch.setenv("LADNET_CACHE", str(tmp_path))
    monkeypatch.setattr(autotune, "_known", {})

    def measure(run):
        block = run.__self__.constexprs["BLOCK_N"]
        measured.append(block)
        if isinstance(times[block], Exception):
            raise times[block]
        return times[block]

    monkeypatch.setattr(autotune, "measure", measure)

    def ask(T=64, offered=offered, fresh=False):
        if fresh:
            autotune._known.clear()
        choose = autotune.chooser(
            lambda choose: {"forward": plan_with(choose)},
            lambda kernel, prior: offered,
            device="NVIDIA X100 80GB",
            problem=autotune.describe("bf16", 64, "padded", heads=2, T=T),
        )
        return choose("forward", "additive").block_n

    def plan_with(choose):
        from ladnet_fast.kernels.launch import Launch

        return Launch(None, (1,), {}, {"BLOCK_N": choose("forward", "additive").block_n}, 4, 2)

    return ask, times, measured, tmp_path / "triton-nvidia-x100-80gb.json"


def test_the_fastest_candidate_is_measured_once_and_kept(tuner):
    ask, _, measured, path = tuner
    assert ask() == 32
    assert measured == [16, 32, 64]
    assert ask(T=33) == ask(T=64, fresh=True) == 32  # the same power of two; another process
    assert len(measured) == 3
    assert ask(T=65) == 32
    assert len(measured) == 6
    (first, second) = json.loads(path.read_text()).items()
    assert first[1] == second[1]
    assert first[1]["milliseconds"] == 1.0
    for part in ("forward prior=additive bf16 d=64 padded", "T<=128", "triton=", "source="):
        assert part in first[0]


def test_where_there_is_no_choice_the_log_says_so_once(tuner, caplog):
    from ladnet_fast.kernels.locality_attention.configs import Config

    ask, _, measured, path = tuner
    with caplog.at_level("INFO", logger="ladnet_fast"):
        for _ in range(2):
            assert ask(T=77_777, offered=[Config(64, 16, 32, 4, 2)]) == 16
    assert not measured
    assert not path.exists()
    (record,) = caplog.records
    assert "one configuration is shipped, nothing to measure" in record.getMessage()


def test_what_does_not_fit_the_gpu_is_left_out(tuner):
    from triton.runtime.errors import OutOfResources

    ask, times, _, _ = tuner
    times[32] = OutOfResources(300_000, 200_000, "shared memory")
    assert ask() == 64
    times[16] = times[64] = times[32]
    with pytest.raises(RuntimeError, match="no configuration of 'forward'"):
        ask(T=1000)


@pytest.mark.parametrize(
    ("fault", "wins"),
    [
        (None, True),
        (lambda x: x.mul_(1 + 2**-9), True),  # a rounding
        (lambda x: x.mul_(1.1), False),
        (lambda x: x[..., -1:].fill_(torch.nan), False),  # a row that it leaves out
        (lambda x: x[..., :1].fill_(torch.inf), False),
        ("compile", False),
    ],
)
@pytest.mark.parametrize("wrong", ["out", "softmax_out", "lse"])
def test_specialised_warps_have_to_agree_before_they_are_measured(
    wrong, fault, wins, monkeypatch, tmp_path, caplog
):
    from ladnet_fast.kernels.launch import Launch
    from ladnet_fast.kernels.locality_attention import autotune
    from ladnet_fast.kernels.locality_attention.configs import Config

    monkeypatch.setenv("LADNET_CACHE", str(tmp_path))
    monkeypatch.setattr(autotune, "_known", {})
    monkeypatch.setattr(autotune, "measure", lambda run: float(not run.__self__.num_stages))
    plain, special = Config(64, 64, 0, 4, 0), Config(64, 64, 0, 4, 2, specialized="gluon")
    results = {
        "out": torch.empty(3, 8, dtype=torch.bfloat16),
        "softmax_out": torch.empty(3, 8, dtype=torch.bfloat16) if wrong == "softmax_out" else None,
        "lse": torch.empty(8),
    }
    truth = {name: torch.randn(x.shape) for name, x in results.items() if x is not None}
    truth["lse"][3] = torch.nan  # of inputs that hold NaN: nothing to compare

    class Kernel:
        def __init__(self, fault):
            self.fault = fault

        def __getitem__(self, grid):
            return self.fill

        def warmup(self, **given):
            if self.fault == "compile":
                raise RuntimeError("PassManager::run failed")

        def fill(self, num_warps, num_stages, **given):
            for name, values in truth.items():
                given[name].copy_(values)
            if self.fault is not None:
                self.fault(given[wrong])

    def plan(choose):
        config = choose("forward", "none")
        kernel = Kernel(fault if config == special else None)
        return {"forward": Launch(kernel, (1,), results, {}, 4, config.num_stages)}

    choose = autotune.chooser(
        plan, lambda kernel, prior: (plain, special), device="X", problem="p"
    )  # fmt: skip
    with caplog.at_level("WARNING", logger="ladnet_fast"):
        assert (choose("forward", "none") == special) == wins
    said = "does not compile (RuntimeError('PassManager" if fault == "compile" else "wrong results"
    assert (said in caplog.text) == ("so it is left out" in caplog.text) == (not wins)


def test_a_choice_that_is_no_longer_offered_is_measured_again(tuner):
    from ladnet_fast.kernels.locality_attention import configs

    ask, _, measured, _ = tuner
    ask()
    assert ask(offered=[configs.Config(64, n, 32, 8, 2) for n in (16, 64)]) == 64
    assert measured == [16, 32, 64, 16, 64]


def test_a_single_candidate_is_not_measured(tuner):
    from ladnet_fast.kernels.locality_attention import configs

    ask, _, measured, path = tuner
    assert ask(offered=[configs.Config(64, 16, 32, 4, 2)]) == 16
    assert not measured
    assert not path.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": {"config": {"x": 1}}}'])
def test_a_file_that_is_something_else_is_an_error_with_the_remedy(tuner, text):
    ask, _, _, path = tuner
    path.write_text(text)
    with pytest.raises(RuntimeError, match=r"is not what autotuning writes .* delete it"):
        ask()


@pytest.mark.parametrize(("milliseconds", "wins"), [(2.5, True), (3.5, False)])
def test_one_launch_is_chosen_where_it_takes_less_than_two(
    milliseconds, wins, monkeypatch, tmp_path
):
    from ladnet_fast.kernels.launch import Launch
    from ladnet_fast.kernels.locality_attention import autotune
    from ladnet_fast.kernels.locality_attention.configs import TWO_LAUNCHES, Config

    monkeypatch.setenv("LADNET_CACHE", str(tmp_path))
    monkeypatch.setattr(autotune, "_known", {})
    times = {"backward": milliseconds, "backward_keys": 2.0, "backward_queries": 1.0}
    monkeypatch.setattr(autotune, "measure", lambda run: times[run.__self__.kernel])
    joint = Config(64, 128, 0, 8, 2, queries_n=64)
    offered = {"backward": (joint, TWO_LAUNCHES)}

    def plan_with(choose):
        names = ["backward"]
        if choose("backward", "none") == TWO_LAUNCHES:
            names = ["backward_keys", "backward_queries"]
        chosen = [(name, choose(name, "none")) for name in names]
        return {name: Launch(name, (1,), {}, {"N": x.block_n}, 4, 2) for name, x in chosen}

    others = (Config(64, 64, 0, 8, 2), Config(64, 32, 0, 8, 2))
    choose = autotune.chooser(
        plan_with, lambda kernel, prior: offered.get(kernel, others), device="X", problem="p"
    )
    assert choose("backward", "none") == (joint if wins else TWO_LAUNCHES)
    # Each of two launches is then measured among its own candidates.
    assert set(plan_with(choose)) == (
        {"backward"} if wins else {"backward_keys", "backward_queries"}
    )
