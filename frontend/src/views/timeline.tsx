// The whole run, or the part that was zoomed into: loss, boundary marks, learning rate, events.

import type { JSX } from "preact";
import { useCallback, useMemo, useRef } from "preact/hooks";
import { pan, resetZoom, retry, selectBoundary, showFinding, wheel, zoom } from "../actions";
import { logTicks, nearest, niceTicks } from "../lib/axis";
import { count, counted, num, tickLabels } from "../lib/format";
import { most } from "../lib/compare";
import type { Frame } from "../lib/frame";
import { withGaps } from "../lib/gaps";
import { type Mark, marks as layMarks } from "../lib/marks";
import { column, yRange } from "../lib/range";
import { smoothed } from "../lib/smooth";
import type { State } from "../state";
import type { Num, Timeline } from "../types";
import type { Pen } from "../chart/pen";
import { Card } from "./card";
import { Chart } from "./chart";
import { areaOf, type Curve, paintCurve } from "./curve";
import { EmptyLane, EventLane, LineLane } from "./lanes";
import { Legend } from "./legend";
import { Minimap } from "./minimap";
import { readPalette } from "./palette";
import { Shape } from "./shape";
import { xTicks } from "./ticks";
import { useWidth } from "./use";

const HELP = "drag, Ctrl+wheel or + − to zoom · click a mark to look closer · ← → next boundary";
/** Epochs narrower than this many pixels are not shaded: stripes would only make the page grey. */
const STRIPE = 6;

function numbers(values: readonly Num[]): number[] {
  return values.map((value) => value ?? 0);
}

/** The epoch that a batch lies in, as its own number. */
function epochOf(timeline: Timeline, batch: number): number | null {
  const { epoch, from } = timeline.epochs;
  let found: number | null = null;
  from.forEach((first, index) => {
    if (first <= batch) found = epoch[index] ?? null;
  });
  return found;
}

/** What lies under the pointer, in words. */
function readout(timeline: Timeline, index: number): string {
  const gap = timeline.gaps.batch.findIndex((first) => first - 0.5 === column(timeline, "batch")[index]);
  if (gap >= 0) return `${counted(timeline.gaps.lost[gap] ?? 0, "batch was", "batches were")} lost here`;
  const at = (name: string): Num => column(timeline, name)[index] ?? null;
  const batch = at("batch") ?? 0;
  const epoch = epochOf(timeline, batch);
  const parts = [epoch === null ? "" : `epoch ${epoch}`, `step ${count(at("step") ?? batch)}`, `loss ${num(at("mean"))}`];
  if (!timeline.raw && at("mean") !== null) parts.push(`${num(at("min"))} to ${num(at("max"))}`);
  return parts.filter((part) => part !== "").join(" · ");
}

function MarkButtons({ marks, chosen }: { marks: readonly Mark[]; chosen: number | null }): JSX.Element {
  const first = marks.find((mark) => mark.boundary === chosen) ?? marks[0];
  return (
    <div class="marks" role="group" aria-label="Boundaries">
      {marks.map((mark) => (
        <button
          key={mark.key}
          type="button"
          style={{ left: mark.x }}
          title={mark.label}
          aria-label={mark.label}
          aria-pressed={mark.boundary !== null && mark.boundary === chosen}
          tabIndex={mark === first || mark.boundary === null ? 0 : -1}
          onClick={() => (mark.boundary === null ? showFinding(mark.finding ?? 0) : selectBoundary(mark.boundary))}
        >
          <Shape kind={mark.kind} size={mark.size} />
        </button>
      ))}
    </div>
  );
}

interface BodyProps {
  state: State;
  timeline: Timeline;
  say: (text: string) => void;
}

function Body({ state, timeline: answer, say }: BodyProps): JSX.Element {
  const timeline = useMemo(() => ({ ...answer, columns: withGaps(answer.columns, answer.gaps) }), [answer]);
  const [ref, width] = useWidth();
  const { place, highlight, dark } = state;
  const diagnosis = state.diagnosis.value;
  const [from, to] = place.zoom ?? [0, Math.max(1, timeline.batches)];
  const frame: Frame = { from, to, width };

  const rows = useMemo(() => ({ batch: numbers(column(timeline, "batch")), step: numbers(column(timeline, "step")) }), [timeline]);
  const marks = useMemo(
    () => layMarks(diagnosis?.boundaries ?? [], diagnosis?.findings ?? [], rows, { from, to, width }, place.boundary),
    [diagnosis, rows, from, to, width, place.boundary],
  );
  const over = place.over ? state.over.value : null;
  const curve = useMemo((): Curve => {
    const others = (over ?? []).map((run) => {
      const [batches = [], , mean = []] = withGaps(run.columns, run.gaps);
      return { batches: numbers(batches), mean };
    });
    const mean = column(timeline, "mean");
    const y = yRange(timeline, place.scale, most(others.flatMap((run) => run.mean)) ?? []);
    const yTicks = y.empty ? [] : y.log ? logTicks(y.low, y.high) : niceTicks(y.low, y.high, 5);
    const inEpochs = timeline.epochs.from.map((first, index) => [first, timeline.epochs.to[index] ?? first] as const);
    return {
      frame: { from, to, width },
      height: Math.round(Math.max(190, Math.min(330, width * 0.235))),
      batches: rows.batch,
      low: column(timeline, "min"),
      high: column(timeline, "max"),
      mean,
      smooth: place.smooth === null ? [] : smoothed(mean, Math.ceil((place.smooth / 200) * mean.length)),
      over: others,
      raw: timeline.raw,
      y,
      yTicks,
      yLabels: y.log ? yTicks.map((tick) => num(tick)) : tickLabels(yTicks),
      xTicks: xTicks(timeline, rows.batch, rows.step, { from, to, width }, place.axis),
      shading: inEpochs.length * STRIPE > width ? [] : inEpochs.filter((_, index) => (timeline.epochs.epoch[index] ?? 0) % 2 === 1),
      boundaries: marks.filter(({ boundary }) => boundary !== null).map(({ batch, kind, boundary }) => ({ batch, kind, chosen: boundary === place.boundary })),
      points: timeline.validation,
      nonfinite: timeline.nonfinite,
      gaps: timeline.gaps,
      span: highlight?.span ?? (place.view === "batches" && place.batch !== null ? [place.batch, place.batch + 1] : null),
      palette: readPalette(),
    };
  }, [timeline, rows, marks, from, to, width, place.scale, place.axis, place.boundary, place.view, place.batch, place.smooth, over, highlight, dark]);

  const area = areaOf(curve);
  const paint = useCallback((pen: Pen) => paintCurve(pen, curve), [curve]);
  const batchAt = (x: number): number => from + (x / area.width) * (to - from);
  const scalar = place.scalar === null ? null : state.scalar.value;
  const loss = `Loss of ${count(timeline.batches)} batches, ${num(curve.y.low)} to ${num(curve.y.high)}`;
  return (
    <div ref={ref} class={state.timeline.status === "loading" ? "stale" : ""}>
      <MarkButtons marks={marks} chosen={place.boundary} />
      <Chart
        width={width}
        height={curve.height}
        area={area}
        paint={paint}
        label={loss}
        onWheel={(event) => wheel(event, area.width)}
        onSelect={(low, high) => zoom(Math.floor(batchAt(low)), Math.ceil(batchAt(high)))}
        onPan={(by) => pan(by, area.width)}
        onReset={resetZoom}
        onHover={(x) => say(x === null ? "" : readout(timeline, nearest(rows.batch, batchAt(x))))}
      />
      {width === 0 ? null : (
        <>
          {place.zoom === null || state.whole.value === null ? null : <Minimap whole={state.whole.value} frame={frame} />}
          {timeline.lanes.names.includes("lr") ? (
            <LineLane
              frame={frame}
              label="LR"
              batches={numbers(column(timeline.lanes, "batch"))}
              values={column(timeline.lanes, "lr")}
              height={36}
              lit={highlight?.signal?.startsWith("lr") === true}
              empty="not known here"
              gaps={timeline.gaps.batch}
            />
          ) : null}
          {timeline.more.map(({ name, label, unit, value }) => (
            <LineLane
              key={name}
              frame={frame}
              label={label}
              batches={numbers(column(answer, "batch"))}
              values={value}
              unit={unit}
              height={46}
              lit={highlight?.signal === name}
              empty="not read here"
              gaps={timeline.gaps.batch}
            />
          ))}
          <EventLane frame={frame} timeline={timeline} say={say} />
          {timeline.missing.map(({ label, how }) => (
            <EmptyLane key={label} label={label}>
              not recorded: <code>{how}</code>
            </EmptyLane>
          ))}
          {place.scalar === null ? null : state.scalar.status === "failed" ? (
            <p class="note indent">{state.scalar.error}</p>
          ) : (
            <LineLane
              frame={frame}
              label={place.scalar}
              batches={scalar === null ? [] : numbers(column(scalar, "batch"))}
              values={scalar === null ? [] : column(scalar, "value")}
              height={64}
              lit={false}
              empty={state.scalar.status === "loading" ? "reading…" : "no points here"}
            />
          )}
        </>
      )}
      <Legend timeline={timeline} marks={marks} smooth={place.smooth} over={over ?? []} label={(run) => state.runs.value?.runs.find((row) => row.run === run)?.label ?? run} />
    </div>
  );
}

export function TimelineCard({ state }: { state: State }): JSX.Element {
  const words = useRef<HTMLSpanElement>(null);
  const say = (text: string): void => {
    if (words.current !== null) words.current.textContent = text === "" ? HELP : text;
  };
  const zoomed = state.place.zoom !== null;
  return (
    <Card
      area="timeline"
      title="Timeline"
      load={state.timeline}
      onRetry={() => retry("timeline")}
      aside={
        <>
          <span class="readout" ref={words}>
            {HELP}
          </span>
          {zoomed ? (
            <button type="button" class="button small" onClick={resetZoom}>
              Whole run
            </button>
          ) : null}
        </>
      }
    >
      {(timeline) => (timeline.batches === 0 ? <p class="note">No batch was recorded yet.</p> : <Body state={state} timeline={timeline} say={say} />)}
    </Card>
  );
}
