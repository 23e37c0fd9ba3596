"""Adapters, as vLLM names them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class LoRARequest:
    """An adapter by name and place. The engine takes none yet and says so."""

    lora_name: str
    lora_int_id: int
    lora_path: str = ""
    base_model_name: str | None = None
    load_inplace: bool = False
