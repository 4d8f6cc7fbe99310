// What the timeline draws on its canvas: the loss and everything that lies on the same axes.

import { drawBand, drawCrosses, drawDots, drawLine, drawSpan, drawVertical, drawXAxis, drawYAxis } from "../chart/draw";
import { type Area, FONT, type Pen, within } from "../chart/pen";
import { type Scale, scaleOf } from "../chart/scale";
import type { Tick } from "../lib/axis";
import { type Frame, GUTTER, inner, xOf } from "../lib/frame";
import { isSparse } from "../lib/path";
import type { YRange } from "../lib/range";
import type { Gaps, MarkKind, Num } from "../types";
import type { Palette } from "./palette";

export interface Curve {
  frame: Frame;
  height: number;
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
  /** The mean of a few pixels, laid over the raw line. */
  smooth: readonly Num[];
  /** Means of other runs. */
  over: readonly { batches: readonly number[]; mean: readonly Num[] }[];
  points: { batch: readonly number[]; value: readonly Num[] };
  nonfinite: readonly number[];
  gaps: Gaps;
  /** Rows that the clicked evidence speaks of. */
  span: readonly [number, number] | null;
  palette: Palette;
}

const TOP = 8;
const AXIS = 24;
/** Other runs are told apart by how their lines are broken, for eyes of any kind. */
export const DASHES = [[7, 3], [2, 3], [9, 3, 2, 3], [4, 2]] as const satisfies readonly number[][];
/** Batches further apart than this many pixels are drawn as dots. */
const DOTS = 4;

/** Where the curve itself is drawn. */
export function areaOf({ frame, height }: Pick<Curve, "frame" | "height">): Area {
  return { left: GUTTER.left, top: TOP, width: inner(frame), height: height - TOP - AXIS };
}

/** Where batches were lost the paper is cut, and how many is written beside it. */
function drawGaps(pen: Pen, { gaps, palette }: Curve, x: Scale, area: Area): void {
  const half = 3;
  const end = area.left + area.width;
  Object.assign(pen, { font: FONT, textBaseline: "bottom", textAlign: "left" });
  let free = -Infinity;
  gaps.batch.forEach((batch, index) => {
    const at = Math.round(x(batch - 0.5));
    if (at < area.left || at > end) return;
    pen.fillStyle = palette.page;
    pen.fillRect(at - half, area.top, 2 * half, area.height);
    pen.fillStyle = palette.mute;
    for (const edge of [at - half, at + half]) pen.fillRect(edge, area.top, 1, area.height);
    const text = `${gaps.lost[index] ?? 0} lost`;
    const width = pen.measureText(text).width;
    const left = at + half + 4;
    if (left < free || left + width > end) return;
    free = left + width;
    pen.fillText(text, left, area.top + area.height - 4);
  });
}

function drawBoundaries(pen: Pen, { boundaries, palette }: Curve, x: Scale, area: Area): void {
  pen.save();
  pen.lineWidth = 1;
  for (const { batch, kind, chosen } of boundaries) {
    pen.strokeStyle = palette.kinds[kind];
    pen.globalAlpha = chosen ? 1 : kind === "none" ? 0.45 : 0.38;
    pen.setLineDash(chosen ? [3, 3] : []);
    drawVertical(pen, x(batch), area);
  }
  pen.restore();
}

function drawLoss(pen: Pen, curve: Curve, x: Scale, y: Scale): void {
  const { batches, palette } = curve;
  pen.fillStyle = palette.band;
  if (!curve.raw) drawBand(pen, batches, curve.low, curve.high, x, y);
  pen.strokeStyle = pen.fillStyle = palette.data;
  pen.lineWidth = 1.5;
  drawLine(pen, batches, curve.mean, x, y);
  pen.save();
  Object.assign(pen, { strokeStyle: palette.mute, lineWidth: 1.25 });
  curve.over.forEach((run, index) => {
    pen.setLineDash(DASHES[index] ?? []);
    drawLine(pen, run.batches, run.mean, x, y);
  });
  pen.setLineDash([]);
  Object.assign(pen, { strokeStyle: palette.ink, lineWidth: 1.75 });
  drawLine(pen, batches, curve.smooth, x, y);
  pen.restore();
  const apart = inner(curve.frame) / Math.max(1, curve.frame.to - curve.frame.from) >= DOTS;
  // Points without neighbours make no line.
  if (isSparse(curve.mean) || (curve.raw && apart)) drawDots(pen, batches, curve.mean, x, y, 2.5);
}

function drawValidation(pen: Pen, { points, y: range, frame, palette }: Curve, x: Scale, y: Scale): void {
  const seen = (batch: number): boolean => batch >= frame.from && batch <= frame.to;
  const values = points.value.map((value, index) => (value === null || (range.log && value <= 0) || !seen(points.batch[index] ?? -1) ? null : value));
  // Where there are many they become small, so that they do not cover the curve.
  const radius = Math.max(1.2, Math.min(3.2, (0.8 * frame.width) / Math.max(1, points.batch.filter(seen).length)));
  pen.fillStyle = palette.validation;
  drawDots(pen, points.batch, values, x, y, radius);
}

export function paintCurve(pen: Pen, curve: Curve): void {
  const { frame, palette } = curve;
  const area = areaOf(curve);
  const x: Scale = (batch) => xOf(frame, batch);
  const y = scaleOf(curve.y, area.top + area.height, area.top);
  pen.fillStyle = palette.shade;
  for (const [from, to] of curve.shading) drawSpan(pen, Math.round(x(from)), Math.round(x(to)), area);
  pen.fillStyle = palette.span;
  if (curve.span !== null) drawSpan(pen, x(curve.span[0]), x(curve.span[1]), area, 3);
  drawGaps(pen, curve, x, area);
  drawBoundaries(pen, curve, x, area);
  drawYAxis(pen, curve.yTicks.map((tick, index) => ({ at: y(tick), text: curve.yLabels[index] ?? "" })), area, palette.mute, palette.line);
  drawXAxis(pen, curve.xTicks.map(({ batch, text }) => ({ at: x(batch), text })), area, palette.mute);
  within(pen, area, () => drawLoss(pen, curve, x, y));
  // What lies on the edge is seen whole.
  within(pen, { left: area.left - 6, top: area.top - 6, width: area.width + 12, height: area.height + 12 }, () => {
    drawValidation(pen, curve, x, y);
    pen.strokeStyle = palette.kinds.fault;
    pen.lineWidth = 1.6;
    drawCrosses(pen, curve.nonfinite.filter((batch) => batch >= frame.from && batch <= frame.to), x, area.top + 7, 3.5);
  });
}
