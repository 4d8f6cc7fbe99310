// Numbers to the `d` of an SVG path.

import type { Num } from "../types";

function short(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** A line through the points; a null or non-finite value breaks it, a lone point becomes a short dash. */
export function linePath(xs: readonly number[], ys: readonly Num[]): string {
  let path = "";
  let open = false;
  xs.forEach((x, index) => {
    const y = ys[index];
    if (y === null || y === undefined || !Number.isFinite(y)) {
      open = false;
      return;
    }
    path += `${open ? "L" : "M"}${short(x)} ${short(y)}`;
    if (!open && !isNumber(ys[index + 1])) path += "h1";
    open = true;
  });
  return path;
}

/** A dot at each point that is there, for values that are missing in most places; drawn with round ends. */
export function dotPath(xs: readonly number[], ys: readonly Num[]): string {
  return xs.map((x, index) => (isNumber(ys[index]) ? `M${short(x)} ${short(ys[index] ?? 0)}h0` : "")).join("");
}

/** True where so many values are missing between the first and the last one that a line would be in pieces. */
export function isSparse(values: readonly Num[], share = 0.3): boolean {
  const there = values.map(isNumber);
  const known = there.filter(Boolean).length;
  const span = there.lastIndexOf(true) - there.indexOf(true) + 1;
  return known > 0 && span - known > share * span;
}

function isNumber(value: Num | undefined): boolean {
  return value !== null && value !== undefined && Number.isFinite(value);
}

/** Smallest and largest finite value, or null if there is none. */
export function extent(values: Iterable<Num>): [number, number] | null {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null || !Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : null;
}

/** A linear scale from `domain` to `range`; a domain of one value goes to the middle of the range. */
export function linear(domain: readonly [number, number], range: readonly [number, number]): (value: number) => number {
  const [d0, d1] = domain;
  const [r0, r1] = range;
  if (d1 === d0) return () => (r0 + r1) / 2;
  return (value) => r0 + ((value - d0) / (d1 - d0)) * (r1 - r0);
}

/** The domain with `share` of its length added at both ends; a single value gets a tenth of itself. */
export function padded(domain: readonly [number, number], share: number): [number, number] {
  const [low, high] = domain;
  const pad = high > low ? (high - low) * share : Math.max(Math.abs(high) * 0.1, 1e-9);
  return [low - pad, high + pad];
}
