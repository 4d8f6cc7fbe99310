// What each kind of mark is called. Its shape is in views/shape.tsx, its colour in the styles.

import type { MarkKind, RunKind } from "../types";

export type Kind = MarkKind | RunKind | "rest" | "jump";

const WORDS: Record<Kind, string> = {
  fault: "fault",
  benign: "expected",
  artifact: "artifact of logging",
  planned: "planned",
  unknown: "unexplained",
  none: "within noise",
  pending: "not diagnosed yet",
  plain: "scalars only",
  rest: "not explained",
  jump: "jump",
};

export function kindWords(kind: Kind): string {
  return WORDS[kind];
}

/** An id of the catalogue in words: `repeated_order` is "repeated order". */
export function causeWords(cause: string): string {
  return cause.replaceAll("_", " ").replace(/\blr\b/, "LR");
}

/** The same as the start of a sentence. */
export function causeTitle(cause: string): string {
  const words = causeWords(cause);
  return words.charAt(0).toUpperCase() + words.slice(1);
}
