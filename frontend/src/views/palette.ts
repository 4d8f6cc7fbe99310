// The colours of the styles, for what is drawn on a canvas.

import type { MarkKind } from "../types";

export interface Palette {
  ink: string;
  page: string;
  card: string;
  mute: string;
  line: string;
  shade: string;
  data: string;
  band: string;
  validation: string;
  span: string;
  kinds: Record<MarkKind, string>;
}

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const get = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: get("ink"),
    page: get("page"),
    card: get("card"),
    mute: get("mute"),
    line: get("line"),
    shade: get("shade"),
    data: get("data"),
    band: get("band"),
    validation: get("validation"),
    span: get("span"),
    kinds: {
      fault: get("fault"),
      benign: get("benign"),
      artifact: get("artifact"),
      planned: get("planned"),
      unknown: get("unknown"),
      none: get("faint"),
    },
  };
}
