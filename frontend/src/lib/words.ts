// Small pieces of text: pills, groups of what was not checked, code inside sentences.

import type { Diagnosis, Finding, RunRow, Timeline } from "../types";
import { count, counted, num, percent } from "./format";
import { causeTitle, causeWords } from "./kinds";

/** Strength and share of a finding, as "proved · 84 %". */
export function pill(finding: Pick<Finding, "kind" | "strength" | "share" | "explains_jump">): string {
  if (finding.kind === "unknown") return "unknown";
  if (!finding.explains_jump) return `${finding.strength} · not the jump`;
  return finding.share === null ? finding.strength : `${finding.strength} · ${percent(finding.share)}`;
}

/** What the verdict tells the reader to do: the advice of the best finding, unless there is nothing to mend. */
export function toDo({ findings }: Pick<Diagnosis, "findings">): string {
  const [best] = findings;
  return best === undefined || best.kind === "benign" || best.kind === "planned" ? "" : best.advice;
}

/** Where a finding acts, as "at 11 of 11 boundaries", "at boundary 3", "from step 1 045"; empty if it does not say. */
export function where(finding: Pick<Finding, "boundaries" | "steps">, total: number): string {
  const [first] = finding.boundaries;
  if (finding.boundaries.length > 1) return `at ${count(finding.boundaries.length)} of ${counted(total, "boundary", "boundaries")}`;
  if (first !== undefined) return `at boundary ${count(first + 1)}`;
  const [step] = finding.steps;
  if (step === undefined) return "";
  return finding.steps.length > 1 ? `at ${count(finding.steps.length)} steps from ${count(step)} on` : `at step ${count(step)}`;
}

export interface Unchecked {
  /** What was not recorded, or the causes that could not be tested. */
  title: string;
  /** What waits for it, or why. */
  why: string;
  /** The line of code that records it. */
  how: string;
}

/** What was not checked: an entry for each signal that is missing (or for those of one line of code), then one for each other reason. */
export function groupSkipped(skipped: Diagnosis["skipped"]): Unchecked[] {
  const lines = new Map<string, { missing: Set<string>; causes: Set<string> }>();
  const reasons = new Map<string, Diagnosis["skipped"]>();
  for (const item of skipped) {
    const needs = /^needs (.+), which w(?:as|ere) not recorded$/.exec(item.why)?.[1]?.split(" and ");
    if (needs === undefined) {
      const key = item.how || item.why;
      reasons.set(key, [...(reasons.get(key) ?? []), item]);
      continue;
    }
    const hows = item.how.split("; ");
    needs.forEach((label, index) => {
      // Signals that one line records share it; else they are named in the same order as their lines.
      const how = hows.length === needs.length ? (hows[index] ?? "") : item.how;
      const line = lines.get(how) ?? { missing: new Set(), causes: new Set() };
      line.missing.add(label);
      line.causes.add(item.cause);
      lines.set(how, line);
    });
  }
  const needed = [...lines].map(([how, { missing, causes }]) => ({
    title: causeTitle([...missing].join(", ")),
    why: `not recorded, for ${[...causes].map(causeWords).join(", ")}`,
    how,
  }));
  const others = [...reasons.values()].map((items) => {
    const [first = "", ...rest] = items.map((item) => item.cause);
    return { title: [causeTitle(first), ...rest.map(causeWords)].join(", "), why: [...new Set(items.map((item) => item.why))].join("; "), how: items[0]?.how ?? "" };
  });
  return [...needed, ...others];
}

export interface Piece {
  text: string;
  code: boolean;
}

/** A sentence cut at its backticks: `run \`a\` now` is text, code, text. An odd backtick stays as it is. */
export function pieces(text: string): Piece[] {
  const parts = text.split("`");
  if (parts.length % 2 === 0) return [{ text, code: false }];
  return parts.map((part, index) => ({ text: part, code: index % 2 === 1 })).filter((piece) => piece.text !== "");
}

/** Lines of Python cut where a comment begins; a `#` inside quotes is no comment. */
export function comments(code: string): { text: string; comment: string }[] {
  return code.split("\n").map((line) => {
    let quote = "";
    for (let at = 0; at < line.length; at += 1) {
      const letter = line[at] ?? "";
      if (quote !== "") quote = letter === quote ? "" : quote;
      else if (letter === '"' || letter === "'") quote = letter;
      else if (letter === "#") return { text: line.slice(0, at), comment: line.slice(at) };
    }
    return { text: line, comment: "" };
  });
}

/** A name cut where a line may break: after an underscore, and on both sides of any other mark. */
export function breakable(name: string): string[] {
  return name.split(/\b|(?<=_)/);
}

/** Recording that took no longer is told in seconds: at the start some are granted, which is a large share of a run that is over soon. */
const SHORT = 5;

/** Seconds as "0.5 s", "12 min" or "3.1 h". */
function duration(seconds: number): string {
  const [size, unit] = seconds < 100 ? [1, "s"] : seconds < 6000 ? [60, "min"] : [3600, "h"];
  return `${num(seconds / size, 2)}\u202f${unit}`;
}

/** What recording cost: "recording took 0.5 s of the run's 1.6 s", and its share where that says more. */
export function cost({ overhead, elapsed = null }: { overhead: number | null; elapsed?: number | null }): string {
  if (overhead === null) return "";
  if (elapsed === null) return `recording took ${percent(overhead)} of the run`;
  const seconds = overhead * elapsed;
  return `recording took ${seconds < SHORT && overhead > 0.01 ? duration(seconds) : percent(overhead)} of the run’s ${duration(elapsed)}`;
}

/** The facts below the run list. */
export function facts(run: Pick<RunRow, "batches" | "epochs">, settings: Timeline["settings"] | null): string {
  const parts = [counted(run.batches, "batch", "batches"), counted(run.epochs, "epoch", "epochs"), settings === null ? "" : cost(settings)];
  return parts.filter((part) => part !== "").join(" · ");
}
