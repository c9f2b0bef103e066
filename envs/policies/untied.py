"""A checkpoint with an output layer of its own, for vLLM.

Many models have one matrix for their input embeddings and their output layer (`tie_word_embeddings`), and a checkpoint
has it once. vLLM can exchange an engine's weights, but of such a model it keeps the old output layer
(`lm_head`), and says nothing. So it is given a folder in which the matrix stands twice: the right output layer is then
loaded like all other weights, at the start and ever after. Nothing is copied but that matrix.
"""

import json
from pathlib import Path

from tools.command import InputError

EMBEDDINGS, OUTPUT = "embed_tokens.weight", "lm_head.weight"
INDEX = "model.safetensors.index.json"


def untied(folder: Path, into: Path) -> Path:
    """`folder` itself if its model's embeddings aren't tied; else `into`, filled with links to the same weights and
    an output layer.

    Raises InputError for weights in another form than safetensors, and where the embeddings have an unknown name.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    if not (config.tie_word_embeddings or config.get_text_config().tie_word_embeddings):
        return folder
    into.mkdir(parents=True)
    for file in folder.iterdir():
        if file.is_file() and file.name not in ("config.json", INDEX):
            (into / file.name).symlink_to(file.resolve())
    for part in (config, config.get_text_config()):
        part.tie_word_embeddings = False
    config.save_pretrained(into)
    file, name = _embeddings(folder)
    _spell_out(file, name, into / "lm_head.safetensors")
    if (folder / INDEX).is_file():
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        index["weight_map"][OUTPUT] = "lm_head.safetensors"
        (into / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return into


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a checkpoint's weights."""
    from safetensors import safe_open

    found = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - it can't be iterated over
                found[name] = tuple(weights.get_slice(name).get_shape())
    return found


def _embeddings(folder: Path) -> tuple[Path, str]:
    """The file that has the input embeddings, and their name."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - it can't be iterated over
                if name.endswith(EMBEDDINGS):
                    return file, name
    raise InputError(
        f"{folder} has tied embeddings, and no weights in it are called {EMBEDDINGS}: vLLM would keep an old output "
        "layer; serve the model, and give openai:MODEL@BASE_URL, or give hf: in place of vllm:"
    )


def _spell_out(file: Path, name: str, out: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(file, framework="pt") as weights:
        save_file({OUTPUT: weights.get_tensor(name)}, out, metadata={"format": "pt"})
