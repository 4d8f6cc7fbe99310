// The frame of the boundary lens: labels at the left, the aligned plots, words at the right.

import type { Lens, LensSignal } from "../types";

export interface LensFrame {
  /** Left end and width of the plots in pixels, and where the words begin. */
  left: number;
  width: number;
  words: number;
  /** The x of a batch offset within the plots; the cut lies half a batch before offset 0. */
  x: (offset: number) => number;
  /** Offsets with a label. */
  ticks: number[];
}

/** Pixels that the name of the boundary needs on each side of the cut. */
const NAME = 54;

/** Divides `total` pixels; `m` batches lie on each side of the boundary. */
export function lensFrame(m: number, total: number): LensFrame {
  const left = 88;
  const words = total < 420 ? 96 : total < 620 ? 132 : 172;
  const width = Math.max(60, total - left - words - 10);
  const x = (offset: number): number => ((offset + m + 0.5) / (2 * m)) * width;
  const step = [5, 10, 20, 50, 100].find((size) => (size / (2 * m)) * width >= 44 && m / size <= 3) ?? 100;
  const ticks: number[] = [];
  for (let at = -Math.floor(m / step) * step; at <= m; at += step) if (Math.abs(at) < m && Math.abs(x(at) - x(-0.5)) >= NAME) ticks.push(at);
  return { left, width, words: left + width + 10, x, ticks };
}

/** Signals that moved first, then the steady ones, with how many of them are shown before "more" is asked for. */
export function orderSignals(signals: readonly LensSignal[], wanted: string | null, least = 6): { rows: LensSignal[]; first: number } {
  const moved = signals.filter((signal) => signal.moved);
  const steady = signals.filter((signal) => !signal.moved);
  const asked = steady.filter((signal) => signal.name === wanted);
  const rows = [...moved, ...asked, ...steady.filter((signal) => !asked.includes(signal))];
  return { rows, first: Math.max(least, moved.length + asked.length) };
}

/** Missing signals by the line of code that records them. */
export function groupMissing(missing: Lens["missing"]): { labels: string; how: string }[] {
  const groups = new Map<string, string[]>();
  for (const { label, how } of missing) groups.set(how, [...(groups.get(how) ?? []), label]);
  return [...groups].map(([how, labels]) => ({ how, labels: labels.join(", ") }));
}
