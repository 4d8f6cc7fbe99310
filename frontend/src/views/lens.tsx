// One boundary from close by: the loss on both sides, every signal on the same axis, and the parts of the jump.

import type { JSX } from "preact";
import { retry, stepBoundary } from "../actions";
import { count } from "../lib/format";
import { lostWords } from "../lib/gaps";
import { boundaryKind } from "../lib/kinds";
import { neighbour, notMeasured } from "../lib/marks";
import type { State } from "../state";
import { Beside } from "./beside";
import { Card } from "./card";
import { Jump } from "./jump";
import { SignalRows } from "./signals";
import { Shape } from "./shape";
import { Superposed } from "./superposed";
import { useWidth } from "./use";
import { lensFrame } from "../lib/lens";
import { yRange } from "../lib/range";
import type { Lens } from "../types";

function Stack({ lens, state }: { lens: Lens; state: State }): JSX.Element {
  const [ref, width] = useWidth();
  const frame = lensFrame(lens.m, width);
  const timeline = state.timeline.value;
  const log = timeline !== null && yRange(timeline, state.place.scale).log;
  return (
    <div class="stack" ref={ref}>
      {width === 0 ? null : (
        <>
          <Jump lens={lens} frame={frame} lit={state.highlight?.signal === "loss"} log={log} />
          <SignalRows lens={lens} frame={frame} lit={state.highlight?.signal ?? null} />
          <Superposed lens={lens} frame={frame} total={width} dark={state.dark} />
        </>
      )}
    </div>
  );
}

function Steppers({ state }: { state: State }): JSX.Element {
  const boundaries = state.diagnosis.value?.boundaries ?? [];
  const step = (by: -1 | 1): JSX.Element => {
    const to = neighbour(boundaries, state.place.boundary, by);
    const number = to === null ? "" : count(to + 1);
    return (
      <button
        type="button"
        class="plain"
        disabled={to === null}
        aria-label={by < 0 ? `Previous boundary ${number}` : `Next boundary ${number}`}
        title={by < 0 ? "Previous boundary (←)" : "Next boundary (→)"}
        onClick={() => stepBoundary(by)}
      >
        {by < 0 ? `‹ ${number}` : `${number} ›`}
      </button>
    );
  };
  return (
    <>
      {step(-1)}
      {step(1)}
    </>
  );
}

export function LensCard({ state }: { state: State }): JSX.Element | null {
  const diagnosis = state.diagnosis.value;
  const chosen = diagnosis?.boundaries.find((boundary) => boundary.index === state.place.boundary);
  if (diagnosis !== null && diagnosis.boundaries.length === 0)
    return (
      <section class="card lens" aria-label="Boundary">
        <header>
          <h2>No boundary yet</h2>
        </header>
        <p class="note">
          A boundary is where one epoch ends and the next begins. Epochs are known from{" "}
          <code>train_loader = writer.wrap(train_loader)</code> or <code>writer.start_epoch(epoch)</code>.
        </p>
      </section>
    );
  const lens = state.lens.value;
  const here = lens !== null && lens.boundary.index === chosen?.index ? lens : null;
  const [from, to] = here?.epochs ?? [];
  const lost = here === null ? "" : lostWords(here.gaps);
  const index = chosen?.index ?? state.place.boundary;
  return (
    <Card
      area="lens"
      title={index === null ? "Boundary" : `Boundary ${count(index + 1)}`}
      load={state.lens}
      onRetry={() => retry("lens")}
      note={
        chosen === undefined ? null : (
          <span class="sub">
            <Shape kind={boundaryKind(chosen)} size={11} named /> epoch {from === undefined || to === undefined ? chosen.epoch : `${from} → ${to}`} · step {count(chosen.step)}
            {[notMeasured(chosen), chosen.unclear ? "not clear" : "", chosen.shape === "none" ? "" : chosen.shape.replaceAll("_", " ")].map((text) => text && ` · ${text}`)}
            {lost === "" ? null : <b class="lost"> · {lost}</b>}
          </span>
        )
      }
      aside={<Steppers state={state} />}
    >
      {(lens) => (
        <div class={`halves ${state.lens.status === "loading" ? "stale" : ""}`}>
          <Stack lens={lens} state={state} />
          <Beside lens={lens} state={state} />
        </div>
      )}
    </Card>
  );
}
