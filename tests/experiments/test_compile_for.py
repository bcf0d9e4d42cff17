"""Compiling for a device that is not here, the compiler itself replaced by that of the CPU which is."""

import json

import jax
import pytest

from cxrjax.models import registry
from experiments import _compile_programs, _compiled, _gpus, compile_for
from tests.models import toy

# A loop of three kernels that is gone through seven times, a kernel and a library call around it.
MODULE = """HloModule m

%body.2 (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %p = (s32[], f32[4]{0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[4]{0} get-tuple-element(%p), index=1
  %next = s32[] fusion(%i), kind=kLoop, calls=%add
  %g = (f32[4]{0}, s8[0]{0}) custom-call(%x, %x), custom_call_target="__cublas$lt$matmul"
  %y = f32[4]{0} copy(%x)
  ROOT %t = (s32[], f32[4]{0}) tuple(%next, %y)
}

ENTRY %main.3 (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %b = f32[4]{0} bitcast(%a)
  %wrapped = f32[4]{0} fusion(%b), kind=kLoop, calls=%other
  %w = (s32[], f32[4]{0}) while(%t0), condition=%cond, body=%body.2, backend_config={"known_trip_count":{"n":"7"}}
  %c = (f32[4]{0}, u8[0]{0}) custom-call(%wrapped), custom_call_target="__cudnn$convForward"
  ROOT %r = f32[4]{0} get-tuple-element(%c), index=0
}
"""


def test_kernels_by_hand():
    assert _compiled.kernels(MODULE) == 7 * 3 + 2


def test_shortest_times_by_hand():
    gpu = _gpus.GPUS["a100-sxm-80"]
    assert _gpus.shortest(gpu, "float32", 156e9, 1e6) == pytest.approx(1e-3)  # by TF32
    assert _gpus.shortest(gpu, "bfloat16", 156e9, 1e6) == pytest.approx(0.5e-3)
    assert _gpus.shortest(gpu, "float32", 156e9, 4.078e9) == pytest.approx(2e-3)  # traffic
    assert _gpus.of_kind("NVIDIA A100-SXM4-80GB") is gpu and _gpus.of_kind("cpu") is None


def test_a_description_says_what_the_table_does():
    lines = _gpus.GPUS["h100-sxm"].description().splitlines()
    for line in (
        "  core_count: 132",
        "  cuda_compute_capability { major: 9 minor: 0 }",
        "dnn_version_info { major: 9 minor: 10 }",
    ):
        assert line in lines
    assert "  shared_memory_per_block_optin: 232448" in lines  # 227 KiB, the CUDA programming guide


@pytest.fixture
def compiler_of_the_cpu(monkeypatch):
    monkeypatch.setitem(registry._MODELS, "toy", toy.MODEL)
    monkeypatch.setattr(_compiled, "prepare", lambda folder: "no packages")
    monkeypatch.setattr(_compiled, "device", lambda gpu: jax.devices()[0])


def run(tmp_path, *flags):
    arguments = ["--models=toy", "--dtypes=float32", "--batch_size=2", f"--out={tmp_path}", *flags]
    compile_for.main(arguments)
    return json.loads((tmp_path / "h100-sxm.json").read_text())["rows"]


def test_programs_are_read_off(compiler_of_the_cpu, tmp_path):
    trunk, step = run(tmp_path)
    assert trunk["flops"] > 2 * 18 * 18 * 25 * 3 * 6  # products of the first convolution, one of two images
    parameters = 4 * (5 * 5 * 3 * 6 + 6 + 9 * 6 * 6 + 6 + 6 * 2 + 2)
    assert step["aliased"] >= parameters  # the state is given up for the new one
    assert step["peak"] >= step["arguments"] >= 16 * 2 * 40 * 40 + parameters  # a call's pixels
    assert "Predicted by the compiler, not measured" in (tmp_path / "h100-sxm.md").read_text()


@pytest.mark.parametrize("flags", [["--memory_gb=0.00001"], []])
def test_what_has_no_room_or_does_not_compile_is_status_1(flags, compiler_of_the_cpu, tmp_path, monkeypatch, capsys):
    def broken(*arguments):
        raise jax.errors.JaxRuntimeError("INTERNAL: no tiles\nand more")

    if not flags:
        programs = _compile_programs.of
        monkeypatch.setattr(
            _compile_programs, "of", lambda *sizes: (p._replace(lower=broken) for p in programs(*sizes))
        )
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, *flags)
    assert stopped.value.code == 1
    assert ("GB of" if flags else "toy, trunk, batch 2, float32: INTERNAL: no tiles") in capsys.readouterr().err
