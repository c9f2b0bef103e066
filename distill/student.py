"""A model in training, on one device or on several: DDP or FSDP2, in fp32 or bf16, all of its weights or an adapter's.

Every pass that has a gradient is made inside a call of `Student`, whatever the pass does with the model: so DDP and
FSDP2, which work by hooks around a module's forward, see each of them, also those that never call the model's own
forward. Passes without a gradient (rollouts, prefills) go on between, with the whole weights at hand (`whole`).
Left out: what is computed (`distill.learner`) and who does which share (`distill.ranks`).
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from distill.config import Scale
from distill.ranks import Ranks
from tools.command import InputError


class Passes(nn.Module):
    """A model whose forward is whatever pass is asked for. `computes` is the precision of its passes."""

    def __init__(self, model: Any, computes: AbstractContextManager[Any]) -> None:
        super().__init__()
        self.model, self.computes = model, computes

    def forward(self, work: Callable[[], Any]) -> Any:
        with self.computes:
            return work()


class Student:
    """`model` as it learns: call it with a pass, and give the loss that this returns to `backward`.

    With FSDP2 the weights of `model` are cut over all ranks, but within `whole`. Raises InputError for a way of
    spreading that there are no other processes for.
    """

    def __init__(self, model: Any, scale: Scale, ranks: Ranks) -> None:
        self.model, self.ranks = model, ranks
        self.sharded = scale.spread == "fsdp2"
        self.bf16 = scale.precision == "bf16" or model.dtype == torch.bfloat16
        if self.sharded and ranks.world == 1:
            raise InputError("fsdp2 spreads a model over processes, and there is one: use torchrun --nproc-per-node N")
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in trained if self.bf16 else ():
            parameter.data = parameter.data.float()  # a step is often smaller than what bf16 can tell apart
        self.passes: Any = Passes(model, self.computing())
        if self.sharded:
            self._shard()
        elif ranks.world > 1:
            self.passes = nn.parallel.DistributedDataParallel(self.passes)

    def computing(self) -> AbstractContextManager[Any]:
        """Passes in bf16 where that was asked for, or the model came in it. FSDP2 gathers its weights in bf16, and
        needs nothing else."""
        if not self.bf16:
            return nullcontext()
        return torch.autocast(self.model.device.type, torch.bfloat16)

    def _shard(self) -> None:
        mixed = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
        policy = mixed if self.bf16 else MixedPrecisionPolicy()
        mesh = init_device_mesh(self.model.device.type, (self.ranks.world,))
        layers = set(self.model._no_split_modules or ())
        for module in list(self.model.modules()):
            if type(module).__name__ in layers:
                fully_shard(module, mesh=mesh, mp_policy=policy)
        fully_shard(self.passes, mesh=mesh, mp_policy=policy)
        self.passes(lambda: None)  # the first to be called is taken for the root, so it must not be a layer
        self.passes.reshard()  # a root's weights stay whole after a pass, and an optimizer would be given those

    def parameters(self) -> list[nn.Parameter]:
        """Those that are trained."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def loss(self, work: Callable[[], tuple[torch.Tensor, Any]]) -> tuple[torch.Tensor, Any]:
        """Do a pass that gives a loss, and what else there is to know of it."""
        loss: torch.Tensor
        loss, shown = self.passes(work)
        return loss, shown

    def gathering(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around a backward pass: with DDP gradients go over the network once a step, with the last one's."""
        if isinstance(self.passes, nn.parallel.DistributedDataParallel) and not last:
            return self.passes.no_sync()
        return nullcontext()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """All weights on each rank, for passes without a gradient, which ranks need not make in step."""
        if not self.sharded:
            with self.computing():
                yield
            return
        shards = [module for module in self.passes.modules() if isinstance(module, FSDPModule)]
        self.passes.set_reshard_after_forward(False)
        for module in shards:
            module.unshard()
        try:
            with self.computing():
                yield
        finally:
            self.passes.set_reshard_after_forward(True)
            for module in shards:
                module.reshard()

    def save(self, folder: Path, tokenizer: Any) -> None:
        """The model in Hugging Face's format, an adapter in peft's; written by the main process, called by all."""
        weights = self._gathered() if self.sharded else self.model.state_dict()
        if self.ranks.main:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # peft looks for the base model's config, online too
                self.model.save_pretrained(folder, state_dict=weights)
            tokenizer.save_pretrained(folder)
        self.ranks.wait()

    def _gathered(self) -> dict[str, torch.Tensor]:
        """All weights, on the main process; tied ones once, as a checkpoint has them."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        gathered: Any = get_model_state_dict(self.passes, options=options)
        named = {name.removeprefix("model."): part for name, part in gathered.items()}
        once = {name for name, _ in [*self.model.named_parameters(), *self.model.named_buffers()]}
        return {name: part for name, part in named.items() if name in once}
