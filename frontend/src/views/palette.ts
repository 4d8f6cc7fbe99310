// The colours of the styles, for what is drawn on a canvas.

import type { MarkKind } from "../types";

const NAMES = ["ink", "page", "card", "mute", "line", "shade", "data", "band", "validation", "span"] as const;
const KINDS = ["fault", "benign", "artifact", "planned", "unknown"] as const;

export type Palette = Record<(typeof NAMES)[number], string> & { kinds: Record<MarkKind, string> };

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const read = <K extends string>(names: readonly K[]): Record<K, string> =>
    Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()])) as Record<K, string>;
  return { ...read(NAMES), kinds: { ...read(KINDS), none: read(["faint"]).faint } };
}
