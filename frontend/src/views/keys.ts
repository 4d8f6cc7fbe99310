// Keys that work anywhere on the page.

import { key, resetZoom, setView, stepBoundary } from "../actions";
import { VIEWS } from "../lib/hash";

const OWN_KEYS = "input, select, textarea, [contenteditable]";

export function watchKeys(): void {
  document.addEventListener("keydown", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (event.altKey || event.ctrlKey || event.metaKey || target?.closest(OWN_KEYS)) return;
    if (event.shiftKey || /^[-+=]$/.test(event.key)) key(event);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      stepBoundary(event.key === "ArrowLeft" ? -1 : 1);
    } else if (event.key === "Escape") resetZoom();
    else {
      // In the order of their tabs.
      const view = VIEWS[Number(event.key) - 1];
      if (view !== undefined) setView(view);
    }
  });
}
