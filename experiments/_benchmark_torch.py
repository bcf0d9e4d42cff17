"""The parts of `_benchmark_parts` in PyTorch: same weights, pixels and augmentations; a loop over seeds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch

from cxrjax.base import InputError
from cxrjax.models import transfer

from . import _benchmark_protocol as protocol
from . import _torch_networks as networks
from . import _torch_reference as reference
from ._benchmark_parts import RATE, Setting, first_image, head_inputs, initial_key
from ._timing import Work


def prepare() -> str:
    """Sets PyTorch up as a user who wants speed would, on the device that JAX uses; returns that device.

    Raises:
      InputError: if JAX has a GPU and PyTorch sees none.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    torch.manual_seed(0)
    if jax.default_backend() != "gpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise InputError(
            "--compare=torch: JAX runs on a GPU but this PyTorch sees none; JAX_PLATFORMS=cpu compares on CPU"
        )
    torch.set_float32_matmul_precision("high")  # TF32, which JAX uses by default
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True  # XLA, too, tries convolution algorithms when it compiles
    return "cuda"


def wait(result: Any) -> Any:
    """Returns when the GPU is done; on CPU PyTorch has computed by then."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result


def peak_memory(work: Work) -> float | None:
    """MB that PyTorch holds at most on the GPU during one call; None on CPU, which does not count them."""
    if not torch.cuda.is_available():
        return None
    torch.cuda.reset_peak_memory_stats()
    wait(work.run())
    return float(torch.cuda.max_memory_allocated()) / 1e6


def compiled(function: Any) -> Any:
    """torch.compile; every seed's head has a graph of its own if it must."""
    torch._dynamo.config.cache_size_limit = 64
    return torch.compile(function)


def eager(function: Any) -> Any:
    """Leaves a function as it is."""
    return function


def work(part: str, chosen: Setting, device: str, compiler: reference.Compiler) -> Work:
    """A part as plain PyTorch code runs it."""
    return Work(Parts(chosen, device, compiler).run(part), wait, chosen.steps)


class Parts:
    """A setting on PyTorch's device, and the parts over it."""

    def __init__(self, chosen: Setting, device: str, compiler: reference.Compiler) -> None:
        """Puts images and plan onto the device."""
        self.chosen, self.device = chosen, device
        self.images = torch.from_numpy(chosen.images).to(device)
        index, offset, flip = (np.array(x) for x in (chosen.plan.index, chosen.plan.offset, chosen.plan.flip))
        self.index, self.offset, self.flip = (torch.from_numpy(x).to(device) for x in (index, offset, flip))
        self.labels = torch.from_numpy(chosen.labels[index]).to(device, torch.int64)
        self.initial = jax.jit(chosen.net.initial)
        trunk, _ = self._model(0)
        self.program = reference.program(trunk, chosen.model, device, compiler)

    def run(self, part: str) -> Callable[[], Any]:
        """The function that runs all steps of a part."""
        parts = {
            "trunk": self._trunk,
            "head": self._head,
            "step": self._step,
            "dream": self._dream,
            "evaluation": self._evaluation,
        }
        return parts[part]()

    def learners(self) -> list[reference.Learner]:
        """The heads of all seeds, in training mode."""
        heads = [networks.train(self._model(seed)[1], self.chosen.head.batch_norm) for seed in range(self.chosen.seeds)]
        return [reference.Learner(head, torch.optim.SGD(head.parameters(), RATE)) for head in heads]

    def pixels(self, seed: int, step: int) -> Any:
        """The augmented batch [B, crop, crop] u8 of a step."""
        images = self.images[self.index[seed, step]]
        return self.program.crop_flip(images, self.offset[seed, step], self.flip[seed, step], self.chosen.model.crop)

    def _model(self, seed: int) -> tuple[Any, Any]:
        """Trunk and head with the weights that cxrjax starts this seed from."""
        net = self.chosen.net
        variables = transfer.layers(net, self.initial(initial_key(seed)))
        return networks.cut(networks.filled(net.model, variables, self.device), net.model, self.chosen.head.start)

    def _each(self) -> list[tuple[int, int]]:
        """(step, seed) in the order of the work."""
        return [(step, seed) for step in range(self.chosen.steps) for seed in range(self.chosen.seeds)]

    def _trunk(self) -> Callable[[], Any]:
        return lambda: [self.program.trunk(self.pixels(0, step)) for step in range(self.chosen.steps)]

    def _head(self) -> Callable[[], Any]:
        if not self.chosen.net.trunk.variables:
            return self._step()
        learners, ready = self.learners(), torch.from_numpy(head_inputs(self.chosen))
        if ready.ndim > 4:  # maps
            ready = ready.movedim(-1, 3)
        ready = ready.to(self.device, getattr(torch, self.chosen.model.dtype))

        def run() -> Any:
            return [
                reference.step(self.program, learners[seed], ready[seed, step], self.labels[seed, step])
                for step, seed in self._each()
            ]

        return run

    def _step(self) -> Callable[[], Any]:
        learners = self.learners()

        def one(step: int, seed: int) -> Any:
            inputs = self.program.trunk(self.pixels(seed, step))
            return reference.step(self.program, learners[seed], inputs, self.labels[seed, step])

        return lambda: [one(step, seed) for step, seed in self._each()]

    def _dream(self) -> Callable[[], Any]:
        head = self._model(0)[1].eval().requires_grad_(False)
        start = torch.from_numpy(first_image(self.chosen)).to(self.device)

        def run() -> Any:
            image = start
            for _ in range(self.chosen.steps):
                image = self.program.dream(head, image)
            return image

        return run

    def _evaluation(self) -> Callable[[], Any]:
        """The whole network of each seed, since a plain loop over seeds shares nothing."""
        heads = [learner.head.eval() for learner in self.learners()]
        middle = self.chosen.model.middle
        batches = self.images[:, middle, middle].split(self.chosen.batch)

        def run() -> Any:
            with torch.no_grad():
                return [self.program.logits(head, self.program.trunk(pixels)) for pixels in batches for head in heads]

        return run


class PlainEpoch:
    """One seed's training loop as one writes it in PyTorch; each call runs one epoch and its validation."""

    def __init__(self, chosen: Setting, sizes: protocol.Sizes, device: str) -> None:
        """Puts images and network onto the device."""
        parts = Parts(chosen._replace(seeds=1), device, eager)
        images, labels = protocol.pixels(sizes, chosen.model)
        self.images, self.labels = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device, torch.int64)
        self.program, (self.learner,), self.batch = parts.program, parts.learners(), chosen.batch
        self.sizes, self.device, self.model, self.batch_norm = sizes, device, chosen.model, chosen.head.batch_norm

    def __call__(self) -> protocol.Epoch:
        """Seconds of both."""
        start = time.perf_counter()
        wait(self._train())
        middle = time.perf_counter()
        wait(self._validate())
        return protocol.Epoch(middle - start, time.perf_counter() - middle)

    def _train(self) -> float:
        """Mean loss of an epoch."""
        total = torch.zeros((), device=self.device)
        networks.train(self.learner.head, self.batch_norm)
        for index in torch.randperm(self.sizes.train, device=self.device).split(self.batch):
            offset = torch.randint(0, self.model.offsets, (len(index), 2), device=self.device)
            flip = torch.rand(len(index), device=self.device) < 0.5
            inputs = self.program.trunk(self.program.crop_flip(self.images[index], offset, flip, self.model.crop))
            total += len(index) * reference.step(self.program, self.learner, inputs, self.labels[index])
        return total.item() / self.sizes.train

    def _validate(self) -> float:
        """Accuracy on the centre crops."""
        correct = torch.zeros((), device=self.device)
        self.learner.head.eval()
        with torch.no_grad():
            for index in torch.arange(self.sizes.train, len(self.images), device=self.device).split(self.batch):
                inputs = self.program.trunk(self.images[index][:, self.model.middle, self.model.middle])
                logits = self.program.logits(self.learner.head, inputs)
                correct += (logits.argmax(1) == self.labels[index]).sum()
        return correct.item() / self.sizes.val
