// The timeline's curve. The only file that knows uPlot.

import uPlot from "uplot";
import type { Tick } from "../lib/axis";
import { GUTTER } from "../lib/frame";
import { isSparse } from "../lib/path";
import type { YRange } from "../lib/range";
import type { Gaps, MarkKind, Num } from "../types";
import type { Palette } from "./palette";

export interface Curve {
  width: number;
  height: number;
  from: number;
  to: number;
  batches: number[];
  low: Num[];
  high: Num[];
  mean: Num[];
  /** Each point is one batch. */
  raw: boolean;
  y: YRange;
  yTicks: readonly number[];
  yLabels: readonly string[];
  xTicks: readonly Tick[];
  shading: readonly (readonly [number, number])[];
  boundaries: readonly { batch: number; kind: MarkKind; chosen: boolean }[];
  points: readonly { batch: number; value: Num }[];
  nonfinite: readonly number[];
  gaps: Gaps;
  /** Rows that the clicked evidence speaks of. */
  span: readonly [number, number] | null;
  palette: Palette;
}

export interface Listeners {
  onZoom(from: number, to: number): void;
  onReset(): void;
  /** Index of the bucket under the pointer, or null. */
  onHover(index: number | null): void;
}

export interface Plot {
  update(curve: Curve): void;
  destroy(): void;
}

/** Pixels that a finger or a shaky hand may move without meaning to zoom. */
const DRAG = 6;
const AXIS = 24;
// uPlot declares these as a const enum, which is gone once it is compiled; only the numbers are left.
/* eslint-disable @typescript-eslint/no-unsafe-enum-assignment */
const LINEAR = 1 as uPlot.Scale.Distr.Linear;
const LOG = 3 as uPlot.Scale.Distr.Logarithmic;
/* eslint-enable @typescript-eslint/no-unsafe-enum-assignment */
/** Batches further apart than this many pixels are drawn as dots. */
const DOTS = 4;

function under(u: uPlot, curve: Curve): void {
  const { ctx, bbox } = u;
  // Half a device pixel in, so that a hairline is one pixel wide.
  const x = (batch: number): number => Math.floor(u.valToPos(batch, "x", true)) + 0.5;
  const fill = (from: number, to: number, colour: string, least: number): void => {
    const left = Math.max(bbox.left, x(from));
    const right = Math.min(bbox.left + bbox.width, Math.max(x(to), x(from) + least));
    ctx.fillStyle = colour;
    if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
  };
  ctx.save();
  for (const [from, to] of curve.shading) fill(from, to, curve.palette.shade, 0);
  if (curve.span !== null) fill(curve.span[0], curve.span[1], curve.palette.span, 3 * devicePixelRatio);
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textBaseline = "bottom";
  let free = -Infinity;
  curve.gaps.batch.forEach((batch, index) => {
    const at = x(batch - 0.5);
    if (at < bbox.left || at > bbox.left + bbox.width) return;
    const half = 3 * devicePixelRatio;
    ctx.fillStyle = curve.palette.page;
    ctx.fillRect(at - half, bbox.top, 2 * half, bbox.height);
    ctx.fillStyle = curve.palette.mute;
    for (const edge of [at - half, at + half]) ctx.fillRect(edge - 0.5, bbox.top, devicePixelRatio, bbox.height);
    const text = `${curve.gaps.lost[index] ?? 0} lost`;
    const width = ctx.measureText(text).width;
    const left = at + half + 4 * devicePixelRatio;
    if (left < free || left + width > bbox.left + bbox.width) return;
    free = left + width;
    ctx.fillText(text, left, bbox.top + bbox.height - 4 * devicePixelRatio);
  });
  ctx.lineWidth = devicePixelRatio;
  for (const { batch, kind, chosen } of curve.boundaries) {
    ctx.strokeStyle = curve.palette.kinds[kind];
    ctx.globalAlpha = chosen ? 1 : kind === "none" ? 0.45 : 0.38;
    ctx.setLineDash(chosen ? [3 * devicePixelRatio, 3 * devicePixelRatio] : []);
    ctx.beginPath();
    ctx.moveTo(x(batch), bbox.top);
    ctx.lineTo(x(batch), bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function over(u: uPlot, curve: Curve): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left - 6, bbox.top - 6, bbox.width + 12, bbox.height + 12);
  ctx.clip();
  ctx.fillStyle = curve.palette.validation;
  // Where there are many they become small, so that they do not cover the curve.
  const shown = curve.points.filter(({ batch }) => batch >= curve.from && batch <= curve.to).length;
  const radius = Math.max(1.2, Math.min(3.2, (0.8 * curve.width) / Math.max(1, shown))) * devicePixelRatio;
  for (const { batch, value } of curve.points) {
    if (value === null || (curve.y.log && value <= 0) || batch < curve.from || batch > curve.to) continue;
    ctx.beginPath();
    ctx.arc(u.valToPos(batch, "x", true), u.valToPos(value, "y", true), radius, 0, 2 * Math.PI);
    ctx.fill();
  }
  const size = 3.5 * devicePixelRatio;
  ctx.strokeStyle = curve.palette.kinds.fault;
  ctx.lineWidth = 1.6 * devicePixelRatio;
  let last = -Infinity;
  for (const batch of curve.nonfinite) {
    const x = u.valToPos(batch, "x", true);
    if (x < last + 3 * size) continue;
    last = x;
    const y = bbox.top + 2 * size;
    ctx.beginPath();
    ctx.moveTo(x - size, y - size);
    ctx.lineTo(x + size, y + size);
    ctx.moveTo(x + size, y - size);
    ctx.lineTo(x - size, y + size);
    ctx.stroke();
  }
  ctx.restore();
}

function dots(curve: Curve): boolean {
  // Points without neighbours make no line.
  return isSparse(curve.mean) || curve.raw && (curve.width - GUTTER.left - GUTTER.right) / Math.max(1, curve.to - curve.from) >= DOTS;
}

function options(first: Curve, current: () => Curve, listeners: Listeners): uPlot.Options {
  const font = "11px system-ui, sans-serif";
  const colour = (name: "mute" | "line" | "data"): (() => string) => () => current().palette[name];
  return {
    width: first.width,
    height: first.height,
    padding: [8, GUTTER.right, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      points: { show: false },
      drag: { x: true, y: false, setScale: false, dist: DRAG },
      bind: {
        dblclick: () => () => {
          listeners.onReset();
          return null;
        },
      },
    },
    scales: { x: { time: false, range: () => [current().from, current().to] }, y: { distr: first.y.log ? LOG : LINEAR, range: () => [current().y.low, current().y.high] } },
    axes: [
      { size: AXIS, gap: 4, font, stroke: colour("mute"), grid: { show: false }, ticks: { show: false }, splits: () => current().xTicks.map((tick) => tick.batch), values: () => current().xTicks.map((tick) => tick.text) },
      { size: GUTTER.left, gap: 6, font, stroke: colour("mute"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, splits: () => [...current().yTicks], values: () => [...current().yLabels], filter: (_, splits) => splits },
    ],
    series: [
      {},
      { points: { show: false }, width: 0 },
      { points: { show: false }, width: 0 },
      { stroke: colour("data"), width: 1.5, points: { show: () => dots(current()), size: 5, width: 0, fill: colour("data") } },
    ],
    bands: [{ series: [2, 1], fill: () => current().palette.band }],
    hooks: {
      drawClear: [(u) => under(u, current())],
      draw: [(u) => over(u, current())],
      setCursor: [(u) => listeners.onHover(u.cursor.idx ?? null)],
      setSelect: [
        (u) => {
          const { left, width } = u.select;
          if (width < DRAG) return;
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          listeners.onZoom(Math.floor(u.posToVal(left, "x")), Math.ceil(u.posToVal(left + width, "x")));
        },
      ],
    },
  };
}

function data(curve: Curve): uPlot.AlignedData {
  return [curve.batches, curve.low, curve.high, curve.mean];
}

export function createPlot(host: HTMLElement, first: Curve, listeners: Listeners): Plot {
  let curve = first;
  const make = (): uPlot => new uPlot(options(curve, () => curve, listeners), data(curve), host);
  let u = make();
  return {
    update(next) {
      const before = curve;
      curve = next;
      if (before.y.log !== next.y.log) {
        u.destroy();
        u = make();
        return;
      }
      if (before.width !== next.width || before.height !== next.height) u.setSize({ width: next.width, height: next.height });
      // The ticks are ours and may change while the scales do not, which uPlot cannot know.
      u.batch(() => {
        u.setData(data(next), true);
        u.redraw(false, true);
      });
    },
    destroy: () => u.destroy(),
  };
}
