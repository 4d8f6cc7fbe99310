// The mark of a kind: one shape and one colour everywhere.

import type { JSX } from "preact";
import { type Kind, kindWords } from "../lib/kinds";

const OUTLINES: Partial<Record<Kind, string>> = {
  fault: "M8 1.5 15.2 14.5H.8Z",
  artifact: "M8 .6 15.4 8 8 15.4.6 8Z",
  planned: "M2 2h12v12H2Z",
};

function drawing(kind: Kind): JSX.Element {
  const outline = OUTLINES[kind];
  if (outline !== undefined) return <path d={outline} />;
  if (kind === "unknown")
    return (
      <>
        <circle class="ring" cx="8" cy="8" r="7" />
        <path class="stroke" d="M5.9 6.4a2.1 2.1 0 1 1 3.2 1.7c-.7.5-1.1.8-1.1 1.6" />
        <circle cx="8" cy="11.9" r=".95" />
      </>
    );
  if (kind === "pending") return <circle class="ring dotted" cx="8" cy="8" r="6.5" />;
  if (kind === "plain") return <path class="stroke" d="M1.5 11.5 5.5 6l4 3.5 5-6" />;
  return <circle cx="8" cy="8" r="6.6" />;
}

export function Shape({ kind, size = 12, named = false }: { kind: Kind; size?: number; named?: boolean }): JSX.Element {
  const name = named ? { role: "img" as const, "aria-label": kindWords(kind) } : { "aria-hidden": true as const };
  return (
    <svg class={`shape k-${kind}`} width={size} height={size} viewBox="0 0 16 16" {...name}>
      {drawing(kind)}
    </svg>
  );
}
