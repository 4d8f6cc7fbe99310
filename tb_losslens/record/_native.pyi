from typing import Any

INTERFACE: int

def methods(known: dict[str, Any], /) -> dict[str, Any]: ...
