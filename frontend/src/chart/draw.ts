// Lines, bands, points, marks, shading and axes. Positions are in CSS pixels; null breaks a line.

import type { Num } from "../types";
import { type Area, crisp, FONT, type Pen } from "./pen";
import type { Scale } from "./scale";

type Values = readonly Num[];

/** A line through the values, in pieces where some are missing; one alone between missing ones is a dot as wide as the line. */
export function drawLine(pen: Pen, xs: readonly number[], values: Values, x: Scale, y: Scale): void {
  pen.lineCap = "round";
  pen.beginPath();
  let open = false;
  for (let index = 0; index < xs.length; index += 1) {
    const value = values[index] ?? null;
    if (value !== null) {
      const at = x(xs[index] ?? 0);
      if (!open) pen.moveTo(at, y(value));
      pen.lineTo(at, y(value));
    }
    open = value !== null;
  }
  pen.stroke();
}

/** The area between two lines; a piece for each run of values. */
export function drawBand(pen: Pen, xs: readonly number[], low: Values, high: Values, x: Scale, y: Scale): void {
  pen.beginPath();
  for (let from = 0; from < xs.length; from += 1) {
    if ((high[from] ?? null) === null || (low[from] ?? null) === null) continue;
    let to = from;
    for (; to < xs.length && (high[to] ?? null) !== null && (low[to] ?? null) !== null; to += 1) {
      const at = x(xs[to] ?? 0);
      if (to === from) pen.moveTo(at, y(high[to] ?? 0));
      else pen.lineTo(at, y(high[to] ?? 0));
    }
    for (let back = to - 1; back >= from; back -= 1) pen.lineTo(x(xs[back] ?? 0), y(low[back] ?? 0));
    from = to;
  }
  pen.fill();
}

export function drawDots(pen: Pen, xs: readonly number[], values: Values, x: Scale, y: Scale, radius: number): void {
  for (let index = 0; index < xs.length; index += 1) {
    const value = values[index] ?? null;
    if (value === null) continue;
    pen.beginPath();
    pen.arc(x(xs[index] ?? 0), y(value), radius, 0, 2 * Math.PI);
    pen.fill();
  }
}

/** Crosses of `size` pixels a side in one row, and none on another. */
export function drawCrosses(pen: Pen, xs: readonly number[], x: Scale, y: number, size: number): void {
  let last = -Infinity;
  pen.beginPath();
  for (const value of xs) {
    const at = x(value);
    if (at < last + 3 * size) continue;
    last = at;
    pen.moveTo(at - size, y - size);
    pen.lineTo(at + size, y + size);
    pen.moveTo(at + size, y - size);
    pen.lineTo(at - size, y + size);
  }
  pen.stroke();
}

export function drawVertical(pen: Pen, at: number, { top, height }: Area): void {
  pen.beginPath();
  pen.moveTo(crisp(at), top);
  pen.lineTo(crisp(at), top + height);
  pen.stroke();
}

/** A filled span of the x axis, cut at the area's sides and at least `least` pixels wide. */
export function drawSpan(pen: Pen, from: number, to: number, { left, top, width, height }: Area, least = 0): void {
  const start = Math.max(left, from);
  const end = Math.min(left + width, Math.max(to, from + least));
  if (end > start) pen.fillRect(start, top, end - start, height);
}

export interface Label {
  at: number;
  text: string;
}

/** Hairlines across the area, with what they stand for at their left. */
export function drawYAxis(pen: Pen, labels: readonly Label[], { left, width }: Area, ink: string, grid: string): void {
  pen.font = FONT;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const { at, text } of labels) {
    pen.fillStyle = grid;
    pen.fillRect(left, Math.round(at), width, 1);
    pen.fillStyle = ink;
    pen.fillText(text, left - 8, at);
  }
}

export function drawXAxis(pen: Pen, labels: readonly Label[], { left, top, width, height }: Area, ink: string): void {
  pen.font = FONT;
  pen.textAlign = "center";
  pen.textBaseline = "top";
  pen.fillStyle = ink;
  for (const { at, text } of labels) if (at >= left - 1 && at <= left + width + 1) pen.fillText(text, at, top + height + 6);
}
