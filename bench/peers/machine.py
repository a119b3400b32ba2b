"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

FLAGS = (
    "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "asimddp", "i8mm",
)
PACKAGES = (
    "numpy", "onnx", "onnxruntime", "safetensors", "sentencex", "tokenizers", "torch", "transformers",
)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def cpuinfo() -> dict[str, str]:
    """The first processor's entry in /proc/cpuinfo."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def flags() -> list[str]:
    """Those of the processor's instruction sets that matter here."""
    info = cpuinfo()
    have = set(info.get("flags", info.get("Features", "")).split())
    return [flag for flag in FLAGS if flag in have]


def has_vnni() -> bool:
    """Whether int8 products are summed up in 32 bits by one instruction."""
    return bool({"avx512_vnni", "avx_vnni", "asimddp"} & set(flags()))


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 faster than f32: by tiles, or by AMD's instruction. Intel's is slower."""
    intel = cpuinfo().get("vendor_id") == "GenuineIntel"
    return "amx_bf16" in flags() or ("avx512_bf16" in flags() and not intel)


def has_int16() -> bool:
    """Whether copydesk multiplies integers of 16 bits where bfloat16 does not pay."""
    return "avx512_vnni" in flags() or ("avx2" in flags() and "avx512f" not in flags())


def describe() -> dict:
    """Processor, cores, system, versions, and how busy the machine was to begin with."""
    return {
        "cpu": cpuinfo().get("model name", platform.processor()),
        "architecture": platform.machine(),
        "cores": cores(),
        "flags": flags(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }
