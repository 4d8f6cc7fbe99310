"""Wraps a loader so that iterating it marks epochs and batches, and changes nothing else about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from tb_losslens.record.guard import Guard
from tb_losslens.record.passes import Listener, PassIterator


class LoaderProxy:
    """Stands for a loader: same class to `isinstance`, same length, same attributes to read and to set.

    Copying or pickling it gives the loader itself.
    """

    __slots__ = ("__weakref__", "_losslens")

    def __init__(self, loader: Any, split: str, listener: Listener, guard: Guard) -> None:
        object.__setattr__(self, "_losslens", (loader, split, listener, guard, object(), []))

    def __iter__(self) -> Iterator[Any]:
        loader, split, listener, guard, owner, running = object.__getattribute__(self, "_losslens")
        if not guard.alive:
            return iter(loader)
        if not hasattr(type(loader), "__next__"):
            return PassIterator(loader, owner, split, listener, guard)
        if not running:  # an iterator is its own iteration
            running.append(PassIterator(loader, owner, split, listener, guard))
        first: Iterator[Any] = running[0]
        return first

    @property
    def __class__(self) -> Any:
        return type(_loader_of(self))

    @__class__.setter
    def __class__(self, value: Any) -> None:
        _loader_of(self).__class__ = value

    def __getattr__(self, name: str) -> Any:
        return getattr(_loader_of(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_loader_of(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_loader_of(self), name)

    def __dir__(self) -> list[str]:
        return dir(_loader_of(self))

    def __repr__(self) -> str:
        return repr(_loader_of(self))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _same, (_loader_of(self),)


_PASSED_ON = (
    "__len__",
    "__getitem__",
    "__contains__",
    "__reversed__",
    "__call__",
    "__bool__",
    "__enter__",
    "__exit__",
    "__add__",
)


def wrap_loader(loader: Any, split: str, listener: Listener, guard: Guard) -> Any:
    """`loader` behind a proxy that reports to `listener`; the same proxy if it was wrapped like that before.

    Raises:
        TypeError: `loader` cannot be iterated.
    """
    if issubclass(type(loader), LoaderProxy):
        _, known_split, known_listener, *_ = object.__getattribute__(loader, "_losslens")
        if known_listener is listener and known_split == split:
            return loader
    if not hasattr(type(loader), "__iter__"):
        raise TypeError(f"wrap(loader) expects something to iterate, such as a torch DataLoader, got {type(loader).__name__}")
    names = tuple(name for name in (*_PASSED_ON, "__next__") if hasattr(type(loader), name))
    return _proxy_class(names)(loader, split, listener, guard)


@lru_cache(maxsize=64)
def _proxy_class(names: tuple[str, ...]) -> type[LoaderProxy]:
    """A proxy with just those special methods that the loader has; Python looks them up on the class."""
    methods: dict[str, Any] = {name: _forward(name) for name in names if name != "__next__"}
    if "__next__" in names:
        methods["__next__"] = lambda self: next(iter(self))
    return type("LoaderProxy", (LoaderProxy,), {"__slots__": (), "__module__": __name__, **methods})


def _forward(name: str) -> Callable[..., Any]:
    def method(self: LoaderProxy, *args: Any, **kwargs: Any) -> Any:
        loader = _loader_of(self)
        return getattr(type(loader), name)(loader, *args, **kwargs)

    method.__name__ = name
    return method


def _loader_of(proxy: LoaderProxy) -> Any:
    return object.__getattribute__(proxy, "_losslens")[0]


def _same(loader: Any) -> Any:
    return loader
