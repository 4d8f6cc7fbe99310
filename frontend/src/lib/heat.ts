// The colours of a heat map: which values they stand for, and how many there are.

import type { Num } from "../types";

/** So many colours are more than an eye tells apart. */
export const STEPS = 24;

export interface Shades {
  low: number;
  high: number;
  log: boolean;
  /** The number of a value's colour, 0 to STEPS - 1; values beyond the ends have the colour of the end. */
  of: (value: number) => number;
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.round(share * (sorted.length - 1))] ?? 0;
}

/** Values that differ by more than this factor are told apart on a log scale only. */
const WIDE = 100;

/**
 * A scale for most of the values: the `rest` at each end share the colour of the end, so that one extreme does not leave all
 * others alike. Around zero it is symmetric. Null where no value is known.
 */
export function shades(rows: readonly (readonly Num[])[], around: boolean, rest = 0.02): Shades | null {
  const known = rows.flat().filter((value): value is number => value !== null);
  if (known.length === 0) return null;
  const sorted = (around ? known.map(Math.abs) : known).sort((a, b) => a - b);
  let [low, high] = [quantile(sorted, rest), quantile(sorted, 1 - rest)];
  if (around) low = -high;
  const log = !around && low > 0 && high > WIDE * low;
  if (!(high > low)) high = low + (Math.abs(low) || 1);
  const height = (value: number): number => (log ? Math.log(Math.max(value, low)) : value);
  const [bottom, top] = [height(low), height(high)];
  const of = (value: number): number => Math.max(0, Math.min(STEPS - 1, Math.floor(((height(value) - bottom) / (top - bottom)) * STEPS)));
  return { low, high, log, of };
}

function channels(hex: string): number[] {
  const full = hex.length === 4 ? hex.replace(/[0-9a-f]/gi, "$&$&") : hex;
  return [1, 3, 5].map((at) => parseInt(full.slice(at, at + 2), 16));
}

/** STEPS colours that lead through the given ones, which are written as #rgb or #rrggbb. */
export function ramp(colours: readonly string[]): string[] {
  const stops = colours.map(channels);
  return Array.from({ length: STEPS }, (_, step) => {
    const at = (step / (STEPS - 1)) * (stops.length - 1);
    const from = Math.min(stops.length - 2, Math.floor(at));
    const mixed = (stops[from] ?? []).map((value, channel) => Math.round(value + (at - from) * ((stops[from + 1]?.[channel] ?? 0) - value)));
    return `rgb(${mixed.join(",")})`;
  });
}

/** Which of the cells between rising `edges` holds `at`; -1 beside them. */
export function cellAt(edges: readonly number[], at: number): number {
  if (edges.length < 2 || at < (edges[0] ?? 0) || at > (edges[edges.length - 1] ?? 0)) return -1;
  let low = 0;
  let high = edges.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((edges[middle] ?? 0) <= at) low = middle;
    else high = middle;
  }
  return low;
}
