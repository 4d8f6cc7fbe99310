// A small chart: lines over one x axis, with a band, a mark and few labels. The lens, the epochs, a batch and a sweep share it.

import type { JSX } from "preact";
import { useCallback } from "preact/hooks";
import { drawBand, drawDots, drawLine, drawVertical, drawXAxis, drawYAxis, type Label } from "../chart/draw";
import type { Area, Pen } from "../chart/pen";
import { scaleOf } from "../chart/scale";
import { niceTicks } from "../lib/axis";
import { num, tickLabels } from "../lib/format";
import { extent, linear } from "../lib/path";
import { alike } from "../lib/range";
import type { Num } from "../types";
import { Chart } from "./chart";
import { readPalette } from "./palette";
import { useWidth } from "./use";

export interface Line {
  ys: readonly Num[];
  ink?: boolean;
  alpha?: number;
  /** Each value is marked by a dot, too. */
  dots?: boolean;
}

interface Props {
  xs: readonly Num[];
  lines: readonly Line[];
  band?: { low: readonly Num[]; high: readonly Num[] };
  /** A value that the y axis holds in any case. */
  least?: number;
  /** Both ends of the x axis; by default those of `xs`. */
  ends?: readonly [number, number];
  /** Pixels beside the plot, for labels. */
  sides?: readonly [number, number];
  height?: number;
  /** What is written below; null for nothing, by default the first and the last x. `at` is an x. */
  ticks?: readonly Label[] | null;
  /** The x of a value that is marked. */
  at?: number;
  /** The x of an upright line. */
  cut?: number | undefined;
  /** Values that differ by more than this factor are drawn on a log axis: on another one all but the largest would lie on one line. */
  wide?: number;
  label: string;
}

const AXIS = 22;

/** Drawn again when its props are other ones: who draws it often keeps the element. */
export function Plot(props: Props): JSX.Element {
  const { xs, lines, band, least, sides = [44, 20], height = 84, ticks, at, cut = at, wide = Infinity, label } = props;
  const [ref, width] = useWidth();
  const area: Area = { left: sides[0], top: 6, width: Math.max(1, width - sides[0] - sides[1]), height };
  const range = extent([...lines.flatMap(({ ys }) => ys), ...(band === undefined ? [] : [...band.low, ...band.high]), least ?? null]);
  const paint = useCallback(
    (pen: Pen): void => {
      if (range === null) return;
      const palette = readPalette();
      const places = xs.map((x) => x ?? 0);
      const [from, to] = props.ends ?? [places[0] ?? 0, places[places.length - 1] ?? 1];
      const x = linear([from, to], [area.left, area.left + area.width]);
      const axis = alike(range[0], range[1], range[0] > 0 && range[1] > wide * range[0]);
      const y = scaleOf(axis, area.top + height, area.top);
      const marks = axis.log ? range : niceTicks(axis.low, axis.high, 4);
      const texts = axis.log ? range.map((value) => num(value, 2)) : tickLabels(marks);
      drawYAxis(pen, marks.map((tick, index) => ({ at: y(tick), text: texts[index] ?? "" })), area, palette.mute, palette.line);
      const below = ticks ?? (ticks === null ? [] : [from, to].map((end) => ({ at: end, text: num(end) })));
      drawXAxis(pen, below.map((tick) => ({ ...tick, at: x(tick.at) })), area, palette.mute);
      pen.fillStyle = palette.band;
      if (band !== undefined) drawBand(pen, places, band.low, band.high, x, y);
      for (const { ys, ink, alpha = 1, dots } of lines) {
        const colour = ink === true ? palette.ink : palette.data;
        Object.assign(pen, { strokeStyle: colour, fillStyle: colour, globalAlpha: alpha, lineWidth: ink === true ? 1.75 : 1.25 });
        drawLine(pen, places, ys, x, y);
        if (dots === true) drawDots(pen, places, ys, x, y, 2);
      }
      if (cut === undefined) return;
      Object.assign(pen, { strokeStyle: palette.ink, fillStyle: palette.ink, globalAlpha: 1, lineWidth: 1 });
      pen.setLineDash([3, 3]);
      drawVertical(pen, x(cut), area);
      if (at === undefined) return;
      const here = places.indexOf(at);
      for (const { ys, dots } of lines) if (dots === true) drawDots(pen, [at], [ys[here] ?? null], x, y, 3.5);
    },
    [props, width],
  );
  return <div ref={ref}>{width === 0 ? null : range === null ? <p class="note">nothing was read here</p> : <Chart width={width} height={height + area.top + (ticks === null ? 6 : AXIS)} area={area} paint={paint} label={label} />}</div>;
}
