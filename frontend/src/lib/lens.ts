// The frame of the boundary lens: labels at the left, the aligned plots, words at the right.

import type { LensSignal, Missing } from "../types";
import { extent } from "./path";

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
const NAME = 52;

/** Divides `total` pixels; `m` batches lie on each side of the boundary. */
export function lensFrame(m: number, total: number): LensFrame {
  const left = 88;
  const words = total < 420 ? 100 : Math.min(184, Math.round(total * 0.33));
  const width = Math.max(60, total - left - words - 10);
  const x = (offset: number): number => ((offset + m + 0.5) / (2 * m)) * width;
  const step = [5, 10, 20, 50, 100].find((size) => (size / (2 * m)) * width >= 44 && m / size <= 3) ?? 100;
  const ticks: number[] = [];
  for (let at = -Math.floor(m / step) * step; at <= m; at += step) if (Math.abs(at) < m && Math.abs(x(at) - x(-0.5)) >= NAME) ticks.push(at);
  return { left, width, words: left + width + 10, x, ticks };
}

/** Signals that tell of the machine and not of the training: shown, but never as what changed. */
const ASIDE: ReadonlySet<string> = new Set(["data_wait", "time"]);

/** Whether a signal was read before the boundary, and whether after it, at the batches shown. */
export function readSides({ offset, value }: Pick<LensSignal, "offset" | "value">): [before: boolean, after: boolean] {
  const known = offset.filter((_, index) => (value[index] ?? null) !== null);
  return [known.some((at) => at < 0), known.some((at) => at >= 0)];
}

/** True where the signal was seen to change at the boundary, with values on both sides, and says something about the loss by that. */
export function tells(signal: Pick<LensSignal, "name" | "moved" | "offset" | "value">): boolean {
  return signal.moved && !ASIDE.has(signal.name) && readSides(signal).every(Boolean);
}

/** Names of the signals that were recorded, but at none of the batches shown: not every batch is looked into. */
export function unread(signals: readonly LensSignal[]): string {
  return signals
    .filter(({ value }) => extent(value) === null)
    .map(({ label }) => label)
    .join(", ");
}

/**
 * The signals with something to see, and how many of them are shown before "more" is asked for: those that changed, the one that
 * is `wanted`, the LR, those with noise of their own, then counters, what was read on one side only, and the machine. Constants are
 * left out, but for the LR.
 */
export function orderSignals(signals: readonly LensSignal[], wanted: string | null, least = 6): { rows: LensSignal[]; first: number } {
  const rank = (signal: LensSignal): number => {
    if (tells(signal)) return 0;
    if (signal.name === wanted) return 1;
    if (/^lr(\.|$)/.test(signal.name)) return 2;
    const range = extent(signal.value);
    if (range === null || range[0] === range[1]) return NaN;
    return ASIDE.has(signal.name) ? 6 : !readSides(signal).every(Boolean) ? 5 : signal.z === null ? 4 : 3;
  };
  const ranked = signals.map((signal) => ({ signal, at: rank(signal) })).filter(({ at }) => !Number.isNaN(at));
  const rows = ranked.sort((a, b) => a.at - b.at).map(({ signal }) => signal);
  return { rows, first: Math.max(least, ranked.filter(({ at }) => at < 2).length) };
}

/** Missing signals by the line of code that records them. */
export function groupMissing(missing: readonly Missing[]): { labels: string; how: string }[] {
  const groups = new Map<string, string[]>();
  for (const { label, how } of missing) groups.set(how, [...(groups.get(how) ?? []), label]);
  return [...groups].map(([how, labels]) => ({ how, labels: labels.join(", ") }));
}
