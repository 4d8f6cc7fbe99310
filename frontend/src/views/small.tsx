// A small line chart with a few labels, for many of them side by side.

import type { JSX } from "preact";
import { useCallback } from "preact/hooks";
import { drawDots, drawLine, drawVertical, drawXAxis, drawYAxis, type Label } from "../chart/draw";
import type { Area, Pen } from "../chart/pen";
import { scaleOf } from "../chart/scale";
import { niceTicks } from "../lib/axis";
import { num, tickLabels } from "../lib/format";
import { extent, linear } from "../lib/path";
import { alike } from "../lib/range";
import type { Num } from "../types";
import { Chart } from "./chart";
import type { Palette } from "./palette";
import { useWidth } from "./use";

const HEIGHT = 112;

interface Props {
  xs: readonly Num[];
  ys: readonly Num[];
  /** The x that is marked. */
  at?: number | null;
  /** What each x is called; without them the first and the last are written as they are. */
  names?: readonly string[];
  palette: Palette;
  label: string;
}

function named(places: readonly number[], names?: readonly string[]): Label[] {
  if (names !== undefined) return places.map((at, index) => ({ at, text: names[index] ?? "" }));
  return [places[0] ?? 0, places[places.length - 1] ?? 0].map((at) => ({ at, text: num(at) }));
}

/** A small line chart: `xs` over `ys`, with a mark at `at`. */
export function Small({ xs, ys, at = null, names, palette, label }: Props): JSX.Element {
  const [ref, width] = useWidth();
  const area: Area = { left: 44, top: 6, width: Math.max(1, width - 64), height: HEIGHT - 28 };
  const range = extent(ys);
  const paint = useCallback(
    (pen: Pen): void => {
      if (range === null) return;
      const places = xs.map((x) => x ?? 0);
      const x = linear([places[0] ?? 0, places[places.length - 1] ?? 1], [area.left, area.left + area.width]);
      const axis = alike(range[0], range[1], false);
      const y = scaleOf(axis, area.top + area.height, area.top);
      const ticks = niceTicks(axis.low, axis.high, 4);
      drawYAxis(pen, ticks.map((tick, index) => ({ at: y(tick), text: tickLabels(ticks)[index] ?? "" })), area, palette.mute, palette.line);
      drawXAxis(pen, named(places, names).map(({ at: place, text }) => ({ at: x(place), text })), area, palette.mute);
      Object.assign(pen, { strokeStyle: palette.data, fillStyle: palette.data, lineWidth: 1.25 });
      drawLine(pen, places, ys, x, y);
      drawDots(pen, places, ys, x, y, 2);
      if (at === null) return;
      pen.strokeStyle = palette.ink;
      pen.setLineDash([3, 3]);
      drawVertical(pen, x(at), area);
      pen.fillStyle = palette.ink;
      drawDots(pen, places, ys.map((value, index) => (places[index] === at ? value : null)), x, y, 3.5);
    },
    [xs, ys, at, names, palette, width],
  );
  return <div ref={ref}>{width === 0 ? null : range === null ? <p class="note">nothing was read here</p> : <Chart width={width} height={HEIGHT} area={area} paint={paint} label={label} />}</div>;
}
