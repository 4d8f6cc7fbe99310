// What each kind of mark is called. Its shape is in views/shape.tsx, its colour in the styles.

import type { Boundary, MarkKind, RunKind } from "../types";

export type Kind = MarkKind | RunKind | "rest" | "jump" | "open" | "unclear";

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
  open: "cannot tell",
  unclear: "not clear",
};

export function kindWords(kind: Kind): string {
  return WORDS[kind];
}

/** How a boundary is called: without a kind it is within noise only where it was measured and is small. */
export function boundaryKind({ kind, unmeasured, unclear }: Pick<Boundary, "kind" | "unmeasured" | "unclear">): Kind {
  return unmeasured !== "" ? "open" : unclear ? "unclear" : kind;
}

/** How a run is marked: green says that jumps were measured and are within noise or expected, so one that cannot be judged gets a grey dot. */
export function runKind({ kind, short }: { kind: RunKind; short: string }): Kind {
  return kind === "benign" && /^no verdict|to tell$/.test(short) ? "open" : kind;
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
