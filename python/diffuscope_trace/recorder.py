"""Follows a run of a pipeline through its stages."""
from __future__ import annotations

import inspect
import os
import warnings
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple, Union

import torch

from .calls import Calls, Modules, check_modules, choose
from .checks import check_call, check_pipe, recorded_class
from .errors import Full, RecordingStopped, TraceError
from .evidence import evidence
from .noise import draws
from .patches import call_patches, replaced
from .settings import (
    bound_arguments, generator_of, number, numbers, producer, scheduler_entry, seed_of, settings, size,
)
from .stage import Rows, Stage
from .store import FORMAT, RESERVE, VERSION, Store, human
from .tensors import first_tensor

Steps = Union[str, Sequence[int]]

# `algorithm_type`s with which a solver's `convert_model_output` gives x₀ and not the noise.
_DATA_PREDICTION = ("dpmsolver++", "sde-dpmsolver++", "data_prediction")


def record(
    pipe: Any,
    path: Union[str, "os.PathLike[str]"],
    modules: Modules = "stages",
    steps: Steps = "all",
    limit: Union[str, int, None] = "20GB",
) -> "Recorder":
    """Records the call of `pipe` inside of the `with` statement as the trace `path`.

    modules: `"stages"` for the tensors of each stage only, `"all"` for every module as well, or a list of patterns of
    modules' paths, such as `["unet.*.attn2", "vae.decoder.*"]`.
    steps: `"all"`, or the numbers of the steps of `denoise` whose modules are recorded. The tensors of each step are.
    limit: how large the trace may become. The recording stops before; the run goes on.

    An older trace at `path` is replaced. The pipeline is left as it was.
    """
    return Recorder(pipe, path, modules, steps, limit)


class Recorder:
    """The context manager that `record` returns. `path` is the trace, `stopped` why the recording ended early."""

    def __init__(
        self, pipe: Any, path: Union[str, "os.PathLike[str]"], modules: Modules, steps: Steps, limit: Union[str, int, None]
    ) -> None:
        recorded_class(pipe)
        check_modules(modules)
        self.stopped: Optional[str] = None
        self._steps = _checked_steps(steps)
        self._pipe = pipe
        self._modules = modules
        self._store = Store(path, limit)
        self.path = self._store.path
        self._run: Optional[Run] = None

    def __enter__(self) -> "Recorder":
        if not call_patches.add(self._pipe, self._call):
            raise TraceError("this pipeline is being recorded already")
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        call_patches.remove(self._pipe)
        if self._run is None and kind is None:
            warnings.warn("the pipeline was not called, so nothing was recorded", RecordingStopped, stacklevel=2)

    def _call(self, original: Callable[..., Any], args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
        if self._run is not None:
            raise TraceError("a trace holds one run: call the pipeline once in a `with` statement")
        arguments = bound_arguments(original, self._pipe, args, kwargs)
        check_pipe(self._pipe)
        check_call(arguments)
        chosen = choose(self._pipe, self._modules)
        self._store.check()
        self._run = Run(self._pipe, self._store, chosen, self._steps, arguments)
        try:
            return self._run.record(lambda: original(self._pipe, *args, **kwargs))
        finally:
            self.stopped = self._run.stopped


def _checked_steps(steps: Steps) -> Optional[Set[int]]:
    if isinstance(steps, str):
        if steps != "all":
            raise TraceError(f'steps is "all" or a list of numbers such as [0, 5], and not {steps!r}')
        return None
    if not all(isinstance(step, int) and not isinstance(step, bool) and step >= 0 for step in steps):
        raise TraceError(f"steps has to be a list of numbers from 0, and not {steps!r}")
    return set(steps)


class Run:
    """One run. Its methods are called when the pipeline calls its models, its scheduler, and its own methods."""

    def __init__(
        self,
        pipe: Any,
        store: Store,
        chosen: Dict[str, torch.nn.Module],
        steps: Optional[Set[int]],
        arguments: Dict[str, Any],
    ) -> None:
        self.stopped: Optional[str] = None
        self._pipe = pipe
        self._store = store
        self._chosen = chosen
        self._steps = steps
        self._stage: Optional[Stage] = None
        self._rows: Rows = None
        self._begun = False
        self._estimated = False
        # Whether the modules of the stage are recorded.
        self._with_modules = True
        # The number of the first step, of the steps that are done, and of all steps.
        self._first = 0
        self._done = 0
        self._total = 0
        self._recorded: Set[int] = set()

        device = pipe._execution_device
        generator = generator_of(arguments, device)
        self._generator_state = None if generator is None else generator.get_state().clone()
        self._has_prompt = arguments.get("prompt_embeds") is None
        unet = pipe.unet
        self._trace: Dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "producer": producer(),
            "model": str(pipe.config.get("_name_or_path") or ""),
            "pipeline": type(pipe).__name__,
            "device": device.type,
            "dtype": str(unet.dtype).replace("torch.", ""),
            "layout": "NCHW",
            "settings": settings(arguments, seed_of(generator, arguments)),
            "scheduler": scheduler_entry(pipe.scheduler),
            "vae": {"scaling_factor": pipe.vae.config.scaling_factor},
            "stages": [],
        }

    def record(self, run: Callable[[], Any]) -> Any:
        """Runs the pipeline. Afterwards it is as it was, whatever happened."""
        pipe = self._pipe
        calls = Calls(lambda: self._stage if self._with_modules else None, lambda: self._rows, self._guard)
        with ExitStack() as undo:
            self._hook(undo, pipe.unet, before=self._unet_begins)
            if isinstance(pipe.text_encoder, torch.nn.Module):
                self._hook(undo, pipe.text_encoder, before=self._text_encoder_begins)
            for path, module in self._chosen.items():
                for handle in calls.register(path, module):
                    undo.callback(handle.remove)
            self._hook(undo, pipe.unet, after=self._unet_ends)
            undo.enter_context(replaced(pipe, "encode_prompt", self._encode_prompt))
            undo.enter_context(replaced(pipe, "prepare_latents", self._prepare_latents))
            undo.enter_context(replaced(pipe.scheduler, "add_noise", self._add_noise))
            undo.enter_context(replaced(pipe.scheduler, "step", self._step))
            if hasattr(pipe.scheduler, "convert_model_output"):
                undo.enter_context(replaced(pipe.scheduler, "convert_model_output", self._convert_model_output))
            undo.enter_context(replaced(pipe.vae, "decode", self._decode))
            try:
                result = run()
            except BaseException as error:
                self._stop(f"{type(error).__name__}: {error}", warn=False)
                raise
        self._complete()
        return result

    @staticmethod
    def _hook(undo: ExitStack, module: torch.nn.Module, before: Any = None, after: Any = None) -> None:
        if before is not None:
            undo.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
        if after is not None:
            undo.callback(module.register_forward_hook(after, with_kwargs=True).remove)

    # The stages.

    def _encode_prompt(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def encode_prompt(*args: Any, **kwargs: Any) -> Any:
            self._begin_trace()
            self._begin("encode_prompt")
            self._rows = ["uncond"] if self._has_prompt is False else None
            result = original(*args, **kwargs)
            with self._guard() as stage:
                if stage is not None:
                    stage.put("prompt_embeds", result[0])
                    stage.put("negative_prompt_embeds", result[1])
            self._finish()
            return result

        return encode_prompt

    def _text_encoder_begins(self, module: Any, args: Any, kwargs: Any) -> None:
        if self._stage is None or self._stage.name != "encode_prompt":
            return
        # First the prompt, then the negative prompt. With the embeddings of a prompt given, only the latter.
        self._rows = ["text"] if self._rows is None else ["uncond"]
        ids = kwargs.get("input_ids", args[0] if args else None)
        with self._guard() as stage:
            if stage is not None:
                stage.put("input_ids" if self._rows == ["text"] else "negative_input_ids", ids)

    def _prepare_latents(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def prepare_latents(*args: Any, **kwargs: Any) -> Any:
            self._begin("get_latent")
            with self._guard() as stage:
                if stage is not None:
                    stage.put("generator_state", self._generator_state)
                    image = inspect.signature(original).bind(*args, **kwargs).arguments.get("image")
                    if isinstance(image, torch.Tensor) and image.dim() == 4 and image.shape[1] == 3:
                        stage.put("init_image", image * 0.5 + 0.5)
            with draws() as drawn:
                latents = original(*args, **kwargs)
            with self._guard() as stage:
                if stage is not None:
                    if not any(key.endswith("/noise") for key in (*stage.tensors, *stage.same)):
                        stage.put("noise", drawn.first(latents.shape))
                    stage.put("latents", latents)
            self._trace["settings"].update(size(self._pipe, latents))
            self._finish()
            return latents

        return prepare_latents

    def _add_noise(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def add_noise(*args: Any, **kwargs: Any) -> Any:
            if self._stage is not None and self._stage.name == "get_latent":
                given = inspect.signature(original).bind(*args, **kwargs).arguments
                with self._guard() as stage:
                    if stage is not None:
                        stage.put("init_latents", given.get("original_samples"))
                        stage.put("noise", given.get("noise"))
            return original(*args, **kwargs)

        return add_noise

    def _unet_begins(self, module: Any, args: Any, kwargs: Any) -> None:
        if self._total == 0:
            timesteps = numbers(self._pipe.scheduler.timesteps)
            # With a start image, the first timesteps do not run.
            self._total = getattr(self._pipe, "_num_timesteps", None) or len(timesteps)
            self._first = len(timesteps) - self._total
            self._trace["scheduler"]["timesteps"] = timesteps[self._first :]
        step = self._first + self._done
        if self._done >= self._total:
            return
        sample = kwargs.get("sample", args[0] if args else None)
        timestep = kwargs.get("timestep", args[1] if len(args) > 1 else None)
        rows = ["uncond", "text"] if sample is not None and sample.shape[0] == 2 else ["text"]
        # A call of the UNet without a step of the scheduler after it, such as a callback's, gives way to the next one.
        self._begin(f"denoise.{step:03}", rows, None if timestep is None else number(timestep))
        self._with_modules = self._steps is None or step in self._steps
        self._rows = rows

    def _unet_ends(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        residual = first_tensor(output)
        with self._guard() as stage:
            if stage is None or residual is None:
                return
            if residual.shape[0] == 2:
                uncond, text = residual.chunk(2)
                stage.put("uncond_residual", uncond)
                stage.put("text_cond_residual", text)
            else:
                stage.put("text_cond_residual", residual)

    def _step(self, original: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(original)

        def step(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            # A step that was wrapped may take `*args, **kwargs`: the parameters are those of every scheduler of diffusers.
            given = {**dict(zip(("model_output", "timestep", "sample"), args)), **kwargs, **bound.arguments}
            sample = given.get("sample")
            with self._guard() as stage:
                if stage is not None:
                    stage.put("guided_noise_residual", given.get("model_output"))
            # The object has x₀ where the tuple may have none.
            as_object = stage is not None and given.get("return_dict", True) is False
            if as_object:
                kwargs = {**kwargs, "return_dict": True}
            with draws(self._pipe.scheduler) as drawn:
                result = original(*args, **kwargs)
            latents = getattr(result, "prev_sample", None)
            with self._guard() as stage:
                if stage is not None:
                    latents = first_tensor(result) if latents is None else latents
                    noise = given.get("variance_noise")
                    stage.put("variance_noise", drawn.first(sample.shape) if noise is None and sample is not None else noise)
                    stage.put("pred_original_sample", getattr(result, "pred_original_sample", None))
                    stage.put("latents", latents)
            self._finish()
            self._done += 1
            return result.to_tuple() if as_object and hasattr(result, "to_tuple") else result

        return step

    def _convert_model_output(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def convert_model_output(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            config = self._pipe.scheduler.config
            if config.get("predict_x0") is True or config.get("algorithm_type") in _DATA_PREDICTION:
                with self._guard() as stage:
                    if stage is not None and stage.name.startswith("denoise"):
                        stage.put("pred_original_sample", result)
            return result

        return convert_model_output

    def _decode(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def decode(*args: Any, **kwargs: Any) -> Any:
            # A callback may decode in the middle of a run. That is no stage.
            over = self._done >= self._total > 0 or getattr(self._pipe, "_interrupt", False)
            if self._stage is not None or not over:
                return original(*args, **kwargs)
            self._begin("vae_decode")
            result = original(*args, **kwargs)
            image = first_tensor(result)
            with self._guard() as stage:
                if stage is not None and image is not None:
                    stage.put("image", (image * 0.5 + 0.5).clamp(0, 1))
            self._finish()
            return result

        return decode

    # Writing.

    def _begin_trace(self) -> None:
        self._store.begin()
        self._begun = True
        with self._guard():
            if self._chosen:
                self._trace["modules"] = {
                    path: evidence(module, is_root="." not in path) for path, module in self._chosen.items()
                }
            self._store.write_trace(self._trace)

    def _begin(self, name: str, rows: Rows = None, timestep: Union[int, float, None] = None) -> None:
        self._rows = None
        self._with_modules = True
        self._stage = Stage(name, self._store.check_room, rows, timestep) if self.stopped is None else None

    def _finish(self) -> None:
        with self._guard() as stage:
            if stage is None:
                return
            size = self._store.write_tensors(stage.file, stage.tensors)
            stages: List[Dict[str, Any]] = [entry for entry in self._trace["stages"] if entry["name"] != stage.name]
            self._trace["stages"] = [*stages, stage.entry()]
            self._store.write_trace(self._trace)
            if stage.name.startswith("denoise") and self._with_modules:
                self._recorded.add(self._first + self._done)
                self._estimate(size)
        self._stage = None

    def _estimate(self, size: int) -> None:
        """After the first recorded step: will the others fit?"""
        if self._estimated:
            return
        self._estimated = True
        numbers = range(self._first + self._done + 1, self._first + self._total)
        more = len([step for step in numbers if self._steps is None or step in self._steps])
        whole = self._store.bytes + more * size
        limit = self._store.limit
        free = self._store.free() - RESERVE
        if limit is not None and whole > limit:
            reason = f"more than the limit of {human(limit)}"
        elif more * size > free:
            reason = f"more than the {human(max(free, 0))} that the disk has left"
        else:
            return
        warnings.warn(
            f"a step takes {human(size)}, so the trace would take about {human(whole)}, {reason}: the recording will stop "
            "before. Choose fewer modules or steps.",
            RecordingStopped,
            stacklevel=2,
        )

    @contextmanager
    def _guard(self) -> Iterator[Optional[Stage]]:
        """Around everything that records: without room, the recording stops and the run goes on."""
        try:
            yield self._stage
        except (Full, OSError) as error:
            where = f" in {self._stage.name}" if self._stage is not None else ""
            self._stop(f"the recording stopped{where}: {error}", warn=True)

    def _stop(self, reason: str, warn: bool) -> None:
        self._stage = None
        if self.stopped is None:
            self.stopped = reason
            if warn:
                warnings.warn(f"{self._store.path}: {reason}", RecordingStopped, stacklevel=2)
        self._trace["stopped"] = self.stopped
        if self._begun:
            try:
                self._store.write_trace(self._trace)
            except OSError:
                pass  # What is on the disk is readable; it only lacks the reason.

    def _complete(self) -> None:
        if self.stopped is not None or not self._begun:
            return
        missing = sorted((self._steps or set()) - self._recorded)
        if missing:
            warnings.warn(f"there was no step {', '.join(map(str, missing))} in this run", RecordingStopped, stacklevel=2)
        with self._guard():
            self._trace["complete"] = True
            self._store.write_trace(self._trace)
