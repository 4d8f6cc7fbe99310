// Puts text on the clipboard, also where the browser's clipboard is out of reach (plain http, a notebook).

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useMoment } from "./use";

async function toClipboard(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    return;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "offscreen";
    document.body.append(area);
    area.select();
    // Deprecated, and the only way without a secure context.
    // eslint-disable-next-line @typescript-eslint/no-deprecated
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) throw new Error("The browser does not let the page copy.");
  }
}

interface Props {
  /** The text, or how to get it. */
  text: string | (() => Promise<string>);
  label: string;
  /** What the button is called for those who do not see where it stands. */
  name?: string;
  class?: string;
}

export function Copy({ text, label, name, class: extra = "button" }: Props): JSX.Element {
  const [done, mark] = useMoment();
  const [failed, setFailed] = useState("");
  const copy = async (): Promise<void> => {
    try {
      await toClipboard(typeof text === "string" ? text : await text());
      setFailed("");
      mark();
    } catch (error) {
      setFailed(error instanceof Error ? error.message : String(error));
    }
  };
  const shown = done ? "Copied" : failed ? "Not copied" : label;
  return (
    <button type="button" class={`${extra} copy`} aria-label={name ?? label} title={failed || undefined} onClick={() => void copy()}>
      <span class={shown === label ? "" : "hid"}>{label}</span>
      <span aria-live="polite">{shown === label ? "" : shown}</span>
    </button>
  );
}
