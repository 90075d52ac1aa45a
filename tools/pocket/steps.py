"""Training that can stop after any step and go on later as if nothing had happened: what a step does follows from the
seed and the step's number alone (its random numbers come from `randomness`), everything else is in the checkpoint."""
import hashlib
import json
import math
import os
import time

import torch


class OutOfTime(Exception):
    """The minutes of `--minutes` are used up; a checkpoint has been written."""


class Clock:
    def __init__(self, minutes=None):
        self.end = None if minutes is None else time.monotonic() + 60 * minutes

    def over(self):
        return self.end is not None and time.monotonic() >= self.end


def randomness(seed, *what):
    """A generator for one purpose, such as ("denoiser", step)."""
    digest = hashlib.sha256(json.dumps([seed, *what]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def learning_rate(step, steps, peak, warmup=100):
    """Up linearly, then down to a hundredth along a cosine."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))))


class Average:
    """An exponential moving average of a module's parameters; the first steps weigh more, so that it starts unbiased."""

    def __init__(self, modules, decay):
        self.decay, self.steps = decay, 0
        self.parameters = [parameter for module in modules for parameter in module.parameters()]
        self.values = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self):
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.values, [parameter.detach() for parameter in self.parameters], 1 - decay)

    @torch.no_grad()
    def swap(self):
        """Exchanges the average and what is being trained; twice is nothing."""
        for value, parameter in zip(self.values, self.parameters):
            kept = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(kept)

    def state_dict(self):
        return {"steps": self.steps, "values": self.values}

    def load_state_dict(self, state):
        self.steps = state["steps"]
        for value, stored in zip(self.values, state["values"]):
            value.copy_(stored)


def ahead(dataset, first, device):
    """The items of `dataset` from `first` on, on the device; for a GPU made beforehand by other processes."""
    workers = max(1, min(12, (os.cpu_count() or 2) - 2)) if device == "cuda" else 0
    rest = torch.utils.data.Subset(dataset, range(first, len(dataset)))
    loader = torch.utils.data.DataLoader(rest, batch_size=None, num_workers=workers, pin_memory=device == "cuda",
                                         **({"prefetch_factor": 4} if workers else {}))
    for item in loader:
        yield [part.to(device, non_blocking=True) for part in item]


def train(name, folder, steps, step_function, parts, clock, batches, device, log_every=50, save_minutes=5):
    """Calls `step_function(step, batches[step])`, which gives the loss as a tensor, from the checkpoint's step to `steps`.
    `parts` is everything with a state: name → object with state_dict and load_state_dict. Returns once all steps are
    done; raises `OutOfTime` before that where the clock says so."""
    path = folder / f"{name}.ckpt"
    step, losses = 0, []
    if path.exists():
        stored = torch.load(path, map_location="cpu", weights_only=True)
        step = stored["step"]
        for key, part in parts.items():
            part.load_state_dict(stored["parts"][key])
        print(f"{name}: from step {step}", flush=True)

    def save():
        temporary = path.with_suffix(".tmp")
        torch.save({"step": step, "parts": {key: part.state_dict() for key, part in parts.items()}}, temporary)
        temporary.rename(path)

    last_save = started = time.monotonic()
    first = step
    for batch in ahead(batches, step, device):
        if clock.over():
            save()
            raise OutOfTime(f"{name}: {step} of {steps} steps")
        losses.append(step_function(step, batch).detach())
        step += 1
        if step % log_every == 0 or step == steps:
            mean = torch.stack(losses).float().mean().item()
            seconds = (time.monotonic() - started) / (step - first)
            line = f"{name}: step {step} of {steps}, loss {mean:.5f}, {seconds:.3f} s a step"
            print(line, flush=True)
            with open(folder / f"{name}.log", "a", encoding="utf-8") as log:
                log.write(line + "\n")
            losses = []
            if not math.isfinite(mean):
                raise SystemExit(f"{name}: the loss is {mean} at step {step}")
        if time.monotonic() - last_save > 60 * save_minutes:
            save()
            last_save = time.monotonic()
    if step > first:
        save()
