"""A model in vLLM, in this process: `vllm:PATH`. Needs the `vllm` extra.

vLLM keeps keys and values between turns (its prefix cache), lets contexts come and go at any time, and draws the
tokens, each turn with a seed from its episode's own chance. What is asked for and what comes back are token ids, as
with `envs.policies.hf`; log-probs are those of the model itself, at temperature 1.
`reload` exchanges the weights of the running engine; `envs.policies.untied` says what that takes.

Left out: several GPUs (serve the model, and give openai:MODEL@BASE_URL).
"""

import os
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from envs.context import ContextWriter
from envs.policies.base import Context
from envs.policies.loading import is_adapter, load_model, model_folder, stop_ids_of, usual_tokens
from envs.policies.turns import Sampled, Sampling, TokenPolicy, check_same, ids_of
from envs.policies.untied import shapes, untied
from tools.command import InputError

SETTINGS = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_KVCACHE_SPACE": "4", "VLLM_NO_USAGE_STATS": "1"}
"""What vLLM reads from the environment, where nothing is set there. On a CPU it takes so many GiB for keys and values;
by itself it would take most of the machine."""


def is_installed() -> bool:
    return find_spec("vllm") is not None


class EnginePolicy(TokenPolicy):
    """Samples turns from a vLLM engine. New contexts may join at any turn (`joins`)."""

    joins = True

    def __init__(self, path: str | Path, *, name: str = "", sampling: Sampling | None = None, **options: Any) -> None:
        """Takes what `LocalPolicy.load` does; `options` are those of `vllm.LLM`.

        Raises InputError where vLLM isn't installed, and for a model that it can't load.
        """
        if not is_installed():
            raise InputError("vllm: needs the vllm package: pip install 'hintsight[vllm]', or give hf: in its place")
        folder = model_folder(path)
        self._place = tempfile.TemporaryDirectory(prefix="hintsight-vllm-")
        self._loads = 0
        self._served = self._servable(folder)
        writer = _writer(self._served)
        self.engine = _engine(self._served, options)
        longest = self.engine.llm_engine.model_config.max_model_len
        usual = usual_tokens(_generation_config(self._served))
        super().__init__(name or f"vllm:{path}", writer, longest, sampling, usual=usual)
        self.folder = folder

    def reload(self, path: str | Path) -> None:
        served = self._servable(model_folder(path))
        vocabularies = [writer.tokenizer.get_vocab() for writer in (self.writer, _writer(served))]
        check_same(path, [shapes(self._served), shapes(served)], vocabularies)
        self.engine.collective_rpc("reload_weights", kwargs={"weights_path": str(served)})
        self.engine.reset_prefix_cache()  # what it holds was computed with the old weights
        self._served = served

    def _servable(self, folder: Path) -> Path:
        """A folder with a model's weights as vLLM can load them, and load them again."""
        self._loads += 1
        place = Path(self._place.name) / str(self._loads)
        if is_adapter(folder):
            model, tokenizer = load_model(folder)
            folder = place / "merged"
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        return untied(folder, place / "untied")

    def _sample_after(self, contexts: Sequence[Context], heard: Sequence[Sequence[int]]) -> list[Sampled]:
        from vllm import SamplingParams
        from vllm.v1.engine.exceptions import EngineDeadError

        prompts = [[*ids_of(context), *new] for context, new in zip(contexts, heard, strict=True)]
        asked = [
            SamplingParams(
                temperature=self.sampling.temperature,
                max_tokens=min(self.most_tokens, self.longest - len(prompt)),
                seed=context.rng.getrandbits(31),
                stop_token_ids=sorted(self.writer.stop_ids),
                ignore_eos=True,  # a turn ends where its chat form says so, and only there
                logprobs=0,
                detokenize=False,
            )
            for context, prompt in zip(contexts, prompts, strict=True)
        ]
        try:
            outputs = self.engine.generate([{"prompt_token_ids": prompt} for prompt in prompts], asked, use_tqdm=False)
        except EngineDeadError as error:
            raise InputError(f"{self.name}: vLLM's engine has died: begin again with the same command") from error
        return [_sampled(output.outputs[0]) for output in outputs]


def _writer(folder: Path) -> ContextWriter:
    from transformers import AutoConfig, AutoTokenizer

    model_type = AutoConfig.from_pretrained(folder).model_type
    stops = stop_ids_of(_generation_config(folder))
    return ContextWriter(AutoTokenizer.from_pretrained(folder), model_type=model_type, stop_ids=stops)


def _generation_config(folder: Path) -> Any:
    """A model's generation config; its config where it has none."""
    from transformers import AutoConfig, GenerationConfig

    known = (folder / "generation_config.json").is_file()
    return GenerationConfig.from_pretrained(folder) if known else AutoConfig.from_pretrained(folder)


def _engine(folder: Path, options: dict[str, Any]) -> Any:
    """A `vllm.LLM` that computes as `envs.policies.hf` does: its precision, all tokens to choose from."""
    for setting, value in SETTINGS.items():
        os.environ.setdefault(setting, value)
    from vllm import LLM
    from vllm.platforms import current_platform

    on_cpu = current_platform.is_cpu()
    given = {
        "dtype": "float32" if on_cpu else "bfloat16",
        "enforce_eager": on_cpu,
        "enable_chunked_prefill": not on_cpu,  # there, a turn with a seed whose prompt is cut in parts kills the engine
        "max_model_len": -1,  # what the model knows, or what there is memory for
        "generation_config": "vllm",
        "logprobs_mode": "raw_logprobs",
        "skip_tokenizer_init": True,
        "use_tqdm_on_load": False,
        **options,
    }
    try:
        return LLM(str(folder), **given)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(f"{folder} can't be loaded by vLLM: {error}") from error


def _sampled(output: Any) -> Sampled:
    tokens = list(output.token_ids)
    scores = [float(step[token].logprob) for token, step in zip(tokens, output.logprobs, strict=True)]
    return Sampled(token_ids=tokens, logprobs=scores)
