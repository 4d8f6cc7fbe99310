// One number of each layer by batch, on the x axis of the timeline above.

import type { JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { openBatch, resetZoom, retry, setColour, setSignal, wheel, zoom } from "../actions";
import type { Area } from "../chart/pen";
import { num } from "../lib/format";
import { type Frame, GUTTER, inner, xOf } from "../lib/frame";
import { ramp, shades } from "../lib/heat";
import { againstMedian, coverage, factor, readLayer } from "../lib/layers";
import { column } from "../lib/range";
import type { State } from "../state";
import type { Layers } from "../types";
import { Card } from "./card";
import { Heat, Key } from "./heat";
import { NotRecorded } from "./missing";
import { readPalette } from "./palette";
import { xTicks } from "./ticks";
import { useWidth } from "./use";

const HELP = "arrow keys or pointer read a cell · drag to zoom · click or Enter opens the batch";

function Map({ state, layers, width, say }: { state: State; layers: Layers; width: number; say: (text: string) => void }): JSX.Element {
  const { place, diagnosis } = state;
  const timeline = state.timeline.value;
  const palette = useMemo(readPalette, [state.dark]);
  const less = place.colour === "less";
  const rows = useMemo(() => (less ? againstMedian(layers.cells) : layers.cells), [layers, less]);
  const scale = useMemo(() => shades(rows, less), [rows]);
  const colours = useMemo(() => ramp(less ? [palette.data, palette.card, palette.validation] : [palette.card, palette.data]), [palette, less]);
  const [from, to] = place.zoom ?? [0, Math.max(1, timeline?.batches ?? layers.to)];
  const frame: Frame = { from, to, width };
  const area = useMemo((): Area => ({ left: GUTTER.left, top: 2, width: inner(frame), height: Math.max(40, Math.min(420, rows.length * 16)) }), [width, rows]);
  const edges = useMemo(() => [...layers.batch, layers.to].map((batch) => xOf(frame, batch)), [layers, from, to, width]);
  const ticks = useMemo(
    () => (timeline === null ? [] : xTicks(timeline, column(timeline, "batch"), column(timeline, "step"), frame, place.axis).map(({ batch, text }) => ({ at: xOf(frame, batch), text }))),
    [timeline, from, to, width, place.axis],
  );
  const marks = useMemo(
    () =>
      (diagnosis.value?.boundaries ?? [])
        .filter(({ batch, index, kind }) => batch > from && batch < to && (index === place.boundary || (to - from) / inner(frame) < (kind === "none" ? 5 : 50)))
        .map(({ batch, index, kind }) => ({ at: xOf(frame, batch), colour: palette.kinds[kind], chosen: index === place.boundary })),
    [diagnosis.value, place.boundary, from, to, width, palette],
  );
  if (scale === null) return <p class="note">No number was read in this range.</p>;
  const show = (value: number): string => (less ? factor(value) : num(value, 2));
  const batchAt = (x: number): number => from + (x / area.width) * (to - from);
  return (
    <>
      <div class="part">
        <h3>By layer, the first at the top</h3>
        <Key colours={colours} low={show(scale.low)} high={show(scale.high)} title={scale.log ? "log" : ""} />
        <select aria-label="Signal of the layers" value={layers.signal} onChange={(event) => setSignal(event.currentTarget.value)}>
          {layers.signals.map(({ name, label }) => (
            <option value={name}>{label}</option>
          ))}
        </select>
        <select aria-label="Colour" value={place.colour} onChange={(event) => setColour(event.currentTarget.value === "value" ? "value" : "less")}>
          <option value="less">against its median</option>
          <option value="value">value</option>
        </select>
      </div>
      <Heat
        label={`${layers.label} by layer and batch: ${layers.said}`}
        width={width}
        area={area}
        rows={rows}
        names={layers.names}
        edges={edges}
        ticks={ticks}
        shades={scale}
        colours={colours}
        palette={palette}
        marks={marks}
        onCell={(row, at) => say(row === null ? "" : readLayer(layers, row, at))}
        onPick={(_, at) => openBatch(layers.batch[at] ?? 0)}
        onSelect={(low, high) => zoom(Math.floor(batchAt(low)), Math.ceil(batchAt(high)))}
        onReset={resetZoom}
        onWheel={(event) => wheel(event, area.width)}
      />
      <p class="note indent">{coverage(layers)}</p>
    </>
  );
}

function Body({ state, layers, say }: { state: State; layers: Layers; say: (text: string) => void }): JSX.Element {
  const [ref, width] = useWidth();
  return (
    <div ref={ref} class={state.layers.status === "loading" ? "stale" : ""}>
      {layers.said === "" ? null : <p class="told">{layers.said}</p>}
      {width === 0 || layers.names.length === 0 ? null : <Map state={state} layers={layers} width={width} say={say} />}
      <NotRecorded missing={layers.missing} />
    </div>
  );
}

export function LayersCard({ state }: { state: State }): JSX.Element {
  const words = useRef<HTMLSpanElement>(null);
  const say = (text: string): void => {
    if (words.current !== null) words.current.textContent = text === "" ? HELP : text;
  };
  return (
    <Card
      area="layers"
      title="Layers"
      load={state.layers}
      onRetry={() => retry("layers")}
      aside={
        <span class="readout" ref={words} aria-live="polite">
          {HELP}
        </span>
      }
    >
      {(layers) => <Body state={state} layers={layers} say={say} />}
    </Card>
  );
}
