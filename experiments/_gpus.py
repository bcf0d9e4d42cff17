"""GPUs as their makers describe them: what a compiler must know of one, and the speeds that no program can exceed.

Sources: NVIDIA H100 Tensor Core GPU Architecture (2022) and its data sheet; NVIDIA A100 Tensor Core GPU Architecture
(2020) and its data sheet; CUDA C++ Programming Guide, table of compute capabilities. Speeds are of dense products.
"""

from __future__ import annotations

import dataclasses

CUDA, CUDNN = "12.9.0", "9.10.0"  # versions that programs are compiled for
JAX_SHARE = 0.75  # of a GPU's memory that JAX takes for itself (XLA_PYTHON_CLIENT_MEM_FRACTION)


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One kind of GPU."""

    kind: str  # as its driver names it, and `jax.Device.device_kind`
    capability: tuple[int, int]  # compute capability
    cores: int  # streaming multiprocessors
    lanes: int  # float32 units of each
    ghz: float
    shared: int  # bytes of shared memory of each core; one block may have 1 KiB less
    l2: int  # bytes
    memory: int  # bytes
    bandwidth: float  # bytes/s
    tf32: float  # FLOP/s
    bfloat16: float
    float32: float  # without tensor cores

    def usable(self) -> int:
        """Bytes that JAX's programs have, as JAX comes."""
        return int(JAX_SHARE * self.memory)

    def description(self) -> str:
        """XLA's GpuTargetConfigProto as text."""
        numbers = {
            "threads_per_block_limit": 1024,
            "threads_per_warp": 32,
            "shared_memory_per_block": 49152,
            "shared_memory_per_core": self.shared,
            "threads_per_core_limit": 2048,
            "core_count": self.cores,
            "fpus_per_core": self.lanes,
            "block_dim_limit_x": 2**31 - 1,
            "block_dim_limit_y": 65535,
            "block_dim_limit_z": 65535,
            "memory_bandwidth": int(self.bandwidth),
            "l2_cache_size": self.l2,
            "clock_rate_ghz": self.ghz,
            "device_memory_size": self.memory,
            "shared_memory_per_block_optin": self.shared - 1024,
            "registers_per_core_limit": 65536,
            "registers_per_block_limit": 65536,
        }
        major, minor = self.capability
        words = {"driver_version": CUDA, "runtime_version": CUDA, "compile_time_toolkit_version": CUDA}
        lines = [f"  {name}: {value}" for name, value in numbers.items()]
        lines += [f'  {name}: "{value}"' for name, value in (words | {"dnn_version": CUDNN}).items()]
        lines.append(f"  cuda_compute_capability {{ major: {major} minor: {minor} }}")
        dnn = "major: {} minor: {}".format(*CUDNN.split("."))
        names = 'platform_name: "CUDA"', f'device_description_str: "{self.kind}"'
        return "\n".join(["gpu_device_info {", *lines, "}", f"dnn_version_info {{ {dnn} }}", *names])


GPUS = {
    "h100-sxm": Gpu(
        "NVIDIA H100 80GB HBM3", (9, 0), 132, 128, 1.98, 233_472, 52_428_800, 84_942_979_072, 3.352e12,
        tf32=494.7e12, bfloat16=989.4e12, float32=66.9e12,
    ),
    "a100-sxm-80": Gpu(
        "NVIDIA A100-SXM4-80GB", (8, 0), 108, 64, 1.41, 167_936, 41_943_040, 85_174_583_296, 2.039e12,
        tf32=156e12, bfloat16=312e12, float32=19.5e12,
    ),
}  # fmt: skip


def of_kind(kind: str) -> Gpu | None:
    """The GPU that a driver names so; None: it is not in the table."""
    return next((gpu for gpu in GPUS.values() if gpu.kind == kind), None)


def shortest(gpu: Gpu, dtype: str, flops: float, bytes_moved: float) -> float:
    """Seconds that a program takes at least (the roofline): its arithmetic at the speed of a product of that dtype,
    float32 by TF32, or its traffic, whichever is longer."""
    return max(flops / (gpu.bfloat16 if dtype == "bfloat16" else gpu.tf32), bytes_moved / gpu.bandwidth)
