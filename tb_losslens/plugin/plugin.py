"""The TensorBoard plugin: routes that read parameters, ask api.py and write JSON."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from tensorboard import context as tb_context
from tensorboard import errors, plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from tb_losslens.analysis.engine import diagnose
from tb_losslens.errors import LossLensError
from tb_losslens.events.metadata import PLUGIN_NAME
from tb_losslens.plugin import api, assets, params
from tb_losslens.plugin.answers import Answers
from tb_losslens.plugin.cache import RunCache
from tb_losslens.plugin.plain import WithPlainLogs
from tb_losslens.plugin.scalars import Scalars
from tb_losslens.store.provider import ProviderSource
from tb_losslens.strict_json import dumps

_LOG = logging.getLogger(__name__)
_MAX_EXPERIMENTS = 8

Request = wrappers.Request
Implementation = Callable[[RunCache, Scalars, Request], dict[str, Any]]


class LossLensPlugin(base_plugin.TBPlugin):  # type: ignore[misc]  # tensorboard ships no types
    """One tab, read-only.

    Args:
        context: TensorBoard's `TBContext`; its `data_provider` must be there.
    """

    plugin_name = PLUGIN_NAME

    def __init__(self, context: base_plugin.TBContext) -> None:
        super().__init__(context)
        self._provider = context.data_provider
        self._logdir = str(context.logdir or "")
        self._caches: OrderedDict[str, RunCache] = OrderedDict()
        self._lock = threading.Lock()
        self._answers = Answers()

    def get_plugin_apps(self) -> dict[str, Any]:
        """Every route below data/plugin/losslens/."""
        return {
            "/runs": self._app(partial(runs_route, logdir=self._logdir)),
            "/first": self._kept(first_route),
            "/diagnosis": self._kept(diagnosis_route),
            "/boundaries": self._kept(boundaries_route),
            "/timeline": self._kept(timeline_route),
            "/lens": self._kept(lens_route),
            "/overlay": self._kept(overlay_route),
            "/fold": self._kept(fold_route),
            "/batches": self._kept(batches_route),
            "/batch": self._kept(batch_route),
            "/layers": self._kept(layers_route),
            "/compare": self._app(partial(compare_route, logdir=self._logdir)),
            "/scalars": self._app(scalars_route),
            "/scalar": self._app(scalar_route),
            "/report": self._kept(partial(report_route, logdir=self._logdir)),
            "/static/*": _guarded(static_route),
        }

    def is_active(self) -> bool:
        """False: TensorBoard asks only while no data of ours is there, and shows the tab by itself once it is."""
        return False

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """The tab's name and its module; the page reloads its own data, so TensorBoard's reload button stays on."""
        return base_plugin.FrontendMetadata(es_module_path="/static/index.js", tab_name="LossLens")

    def _cache(self, experiment: str, ctx: tb_context.RequestContext) -> RunCache:
        with self._lock:
            if experiment not in self._caches:
                source = ProviderSource(self._provider, ctx=ctx, experiment_id=experiment, logdir=self._logdir)
                scalars = Scalars(self._provider, ctx, experiment)
                self._caches[experiment] = RunCache(WithPlainLogs(source, scalars.tags, self._logdir), diagnose)
            self._caches.move_to_end(experiment)
            while len(self._caches) > _MAX_EXPERIMENTS:
                self._caches.popitem(last=False)
            return self._caches[experiment]

    def _app(self, implementation: Implementation) -> Any:
        """A route that is asked anew each time."""

        def answer(request: Request) -> Any:
            _, make = self._asked(implementation, request)
            return http_util.Respond(request, make(), "application/json")

        return _guarded(answer)

    def _kept(self, implementation: Implementation) -> Any:
        """A route whose answer follows from one run and the parameters: made once for a run that rests."""

        def answer(request: Request) -> Any:
            cache, make = self._asked(implementation, request)
            settled = cache.settled(request.args.get("run", ""))
            if settled is None:
                return http_util.Respond(request, make(), "application/json")
            key = (plugin_util.experiment_id(request.environ), request.path, request.query_string, settled)
            body = self._answers.get(key, make)
            return http_util.Respond(request, body, "application/json", content_encoding="gzip")

        return _guarded(answer)

    def _asked(self, implementation: Implementation, request: Request) -> tuple[RunCache, Callable[[], str]]:
        ctx = plugin_util.context(request.environ)
        experiment = plugin_util.experiment_id(request.environ)
        cache, scalars = self._cache(experiment, ctx), Scalars(self._provider, ctx, experiment)
        return cache, lambda: dumps(implementation(cache, scalars, request))


def _guarded(answer: Callable[[Request], Any]) -> Any:
    """A WSGI application around `answer`: GET only, and whatever goes wrong in it is a sentence."""

    @wrappers.Request.application
    def app(request: Request) -> Any:
        if request.method not in ("GET", "HEAD"):
            allow = [("Allow", "GET, HEAD")]
            return http_util.Respond(request, "this address answers GET only", "text/plain", code=405, headers=allow)
        try:
            return answer(request)
        except errors.PublicError:
            raise  # a sentence with a code already
        except LossLensError as error:
            raise errors.NotFoundError(str(error)) from error  # the run went away between the list and the reading
        except Exception as error:
            _LOG.exception("LossLens failed to answer %s", request.full_path)
            raise errors.PublicError(f"LossLens failed on this request ({type(error).__name__}: {error})") from error

    return app


def runs_route(cache: RunCache, scalars: Scalars, _request: Request, *, logdir: str) -> dict[str, Any]:
    """`/runs`."""
    return api.runs_impl(cache, scalars, logdir)


def diagnosis_route(cache: RunCache, _scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/diagnosis?run=`."""
    return api.diagnosis_impl(cache, params.text(request.args, "run"))


def boundaries_route(cache: RunCache, _scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/boundaries?run=`."""
    return api.boundaries_impl(cache, params.text(request.args, "run"))


def first_route(cache: RunCache, _scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/first?run=&from=&to=&points=`."""
    run = api.recorded_run(cache, params.text(request.args, "run"))
    return api.first_impl(cache, run, **_buckets(request))


def timeline_route(cache: RunCache, _scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/timeline?run=&from=&to=&points=`."""
    run = api.recorded_run(cache, params.text(request.args, "run"))
    return api.timeline_impl(cache, run, **_buckets(request))


def _buckets(request: Request) -> dict[str, Any]:
    args = request.args
    return {
        "first": params.whole(args, "from", default=0),
        "last": params.whole(args, "to") if "to" in args else None,
        "points": params.whole(args, "points", default=1000, low=10, high=1300),
    }


def lens_route(cache: RunCache, _scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/lens?run=&boundary=&m=`."""
    args = request.args
    return api.lens_impl(
        cache,
        api.recorded_run(cache, params.text(args, "run")),
        boundary=params.whole(args, "boundary"),
        m=params.whole(args, "m", low=5, high=200) if "m" in args else None,
    )


def overlay_route(cache: RunCache, _scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/overlay?run=&points=`."""
    args = request.args
    return api.overlay_impl(
        cache,
        api.recorded_run(cache, params.text(args, "run")),
        points=params.whole(args, "points", default=100, low=2, high=100),
    )


def fold_route(cache: RunCache, _scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/fold?run=&rows=&positions=`."""
    args = request.args
    return api.fold_impl(
        cache,
        api.recorded_run(cache, params.text(args, "run")),
        rows=params.whole(args, "rows", default=96, low=2, high=96),
        positions=params.whole(args, "positions", default=160, low=2, high=160),
    )


def batches_route(cache: RunCache, _scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/batches?run=`."""
    return api.batches_impl(cache, api.recorded_run(cache, params.text(request.args, "run")))


def batch_route(cache: RunCache, _scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/batch?run=&batch=`."""
    args = request.args
    return api.batch_impl(cache, api.recorded_run(cache, params.text(args, "run")), batch=params.whole(args, "batch"))


def layers_route(cache: RunCache, _scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/layers?run=&signal=&from=&to=&columns=`."""
    args = request.args
    return api.layers_impl(
        cache,
        api.recorded_run(cache, params.text(args, "run")),
        signal=args.get("signal", "layer_grad_norm"),
        first=params.whole(args, "from", default=0),
        last=params.whole(args, "to") if "to" in args else None,
        columns=params.whole(args, "columns", default=160, low=2, high=160),
    )


def compare_route(cache: RunCache, _scalars: Scalars, request: Request, *, logdir: str) -> dict[str, Any]:
    """`/compare?run=&run=...`."""
    params.text(request.args, "run")
    return api.compare_impl(cache, request.args.getlist("run"), logdir)


def scalars_route(cache: RunCache, scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/scalars?run=`."""
    return api.scalars_impl(cache, scalars, params.text(request.args, "run"))


def scalar_route(cache: RunCache, scalars: Scalars, request: Request) -> dict[str, Any]:
    """`/scalar?run=&tag=`."""
    run = api.any_run(cache, scalars, params.text(request.args, "run"))
    return api.scalar_impl(cache, scalars, run, params.text(request.args, "tag"))


def report_route(cache: RunCache, _scalars: Scalars, request: Request, *, logdir: str) -> dict[str, str]:
    """`/report?run=`."""
    return api.report_impl(cache, params.text(request.args, "run"), logdir)


def static_route(request: Request) -> Any:
    """`/static/FILE`: a file of the built page."""
    name = request.path.rpartition("/static/")[2]
    asset = assets.find(name)
    if asset is None:
        raise errors.NotFoundError(f"the page has no file {params.shown(name)}")
    return http_util.Respond(request, asset.gzipped, asset.content_type, content_encoding="gzip")
