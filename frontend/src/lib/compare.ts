// Which runs are compared, in which order, and what a sweep is drawn over.

import type { Compare, ComparedRun, FindingKind, Num, RunRow } from "../types";
import { count, num } from "./format";
import type { Place } from "./hash";

/** The server takes so many. */
export const MOST = 24;

/** The runs that are compared: the chosen ones that there are, else the first of the list, the open one among them. */
export function compared(rows: readonly RunRow[], place: Pick<Place, "run" | "runs">): string[] {
  const there = rows.filter((row) => !row.plain).map((row) => row.run);
  const chosen = place.runs.filter((run) => there.includes(run));
  if (chosen.length > 0) return chosen.slice(0, MOST);
  const first = there.slice(0, MOST);
  return place.run === null || first.includes(place.run) || !there.includes(place.run) ? first : [place.run, ...first.slice(0, MOST - 1)];
}

/** So many lines can be told apart over another. */
const OVER = 4;

/** The compared runs that can be drawn over the open one. */
export function others({ runs, place }: { runs: { value: { runs: readonly RunRow[] } | null }; place: Pick<Place, "run" | "runs"> }): string[] {
  return compared(runs.value?.runs ?? [], place).filter((run) => run !== place.run).slice(0, OVER);
}

/** A setting as it is written in the table. */
export function settingText(value: ComparedRun["settings"][number]): string {
  if (value === null) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? (Number.isInteger(value) ? count(value) : num(value)) : value;
}

/** The runs as a table shows them: in the order of a sweep, and after those the ones that have no value of it. */
export function inOrder(answer: Compare): ComparedRun[] {
  const swept = sweepOf(answer)?.runs ?? [];
  return [...swept, ...answer.runs.filter((run) => !swept.includes(run))];
}

/** The range of most values: `rest` of them at each end do not stretch it, as a run that diverged would. Null without a value. */
export function most(values: readonly Num[], rest = 0.04): [number, number] | null {
  const known = values.filter((value): value is number => value !== null).sort((a, b) => a - b);
  const at = (share: number): number => known[Math.round(share * (known.length - 1))] ?? 0;
  return known.length === 0 ? null : [at(rest), at(1 - rest)];
}

/** What was found in more than one place at once: each cause with its runs, the one with most runs first. */
export function shared({ runs }: Pick<Compare, "runs">): { cause: string; kind: FindingKind; runs: string[] }[] {
  const found = new Map<string, { cause: string; kind: FindingKind; runs: string[] }>();
  for (const { label, findings } of runs)
    for (const { cause, kind } of findings) {
      const key = `${kind}/${cause}`;
      const entry = found.get(key) ?? { cause, kind, runs: [] };
      if (!entry.runs.includes(label)) entry.runs.push(label);
      found.set(key, entry);
    }
  return [...found.values()].sort((a, b) => b.runs.length - a.runs.length);
}

export interface Sweep {
  label: string;
  /** Runs in the order of the swept setting. */
  runs: ComparedRun[];
  /** Where each stands: by its logarithm where the values differ by much. */
  at: number[];
  names: string[];
}

/** The swept setting with its runs, or null without one. */
export function sweepOf({ runs, differ, sweep }: Compare): Sweep | null {
  const index = differ.findIndex(({ name }) => name === sweep);
  if (index < 0) return null;
  const valued = runs.flatMap((run) => {
    const value = run.settings[index];
    return typeof value === "number" ? [{ run, value }] : [];
  });
  valued.sort((a, b) => a.value - b.value);
  const values = valued.map(({ value }) => value);
  const log = (values[0] ?? 0) > 0 && (values[values.length - 1] ?? 0) > 5 * (values[0] ?? 0);
  return {
    label: differ[index]?.label ?? "",
    runs: valued.map(({ run }) => run),
    at: values.map((value) => (log ? Math.log(value) : value)),
    // Runs with the same value share a label.
    names: values.map((value, at) => (at > 0 && value === values[at - 1] ? "" : num(value))),
  };
}
