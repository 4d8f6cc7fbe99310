// Small pieces of text: pills, groups of what was not checked, code inside sentences.

import type { Diagnosis, Finding, RunRow } from "../types";
import { count, counted, percent } from "./format";
import { causeTitle, causeWords } from "./kinds";

/** Strength and share of a finding, as "proved · 84 %". */
export function pill(finding: Pick<Finding, "kind" | "strength" | "share" | "explains_jump">): string {
  if (finding.kind === "unknown") return "unknown";
  if (!finding.explains_jump) return `${finding.strength} · not the jump`;
  return finding.share === null ? finding.strength : `${finding.strength} · ${percent(finding.share)}`;
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
  /** Titles of the causes that wait for the same line of code. */
  title: string;
  /** Their reasons, each once. */
  why: string[];
  how: string;
}

/** Causes that were skipped, one entry for each line of code that would record what they need, or for each reason. */
export function groupSkipped(skipped: Diagnosis["skipped"]): Unchecked[] {
  const groups = new Map<string, { causes: string[]; why: string[]; how: string }>();
  for (const item of skipped) {
    const key = item.how === "" ? `why:${item.why}` : `how:${item.how}`;
    const group = groups.get(key) ?? { causes: [], why: [], how: item.how };
    group.causes.push(item.cause);
    if (!group.why.includes(item.why)) group.why.push(item.why);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ causes, why, how }) => {
    const [first = "", ...rest] = causes;
    return { title: [causeTitle(first), ...rest.map(causeWords)].join(", "), why, how };
  });
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

/** The facts below the run list. */
export function facts(run: Pick<RunRow, "batches" | "epochs">, overhead: number | null): string {
  const parts = [counted(run.batches, "batch", "batches"), counted(run.epochs, "epoch", "epochs")];
  if (overhead !== null) parts.push(`recorded in ${percent(overhead)} of step time`);
  return parts.join(" · ");
}
