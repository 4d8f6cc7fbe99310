// TensorBoard around our frame: its address, its dark mode, and whether our tab is seen. Each access is guarded,
// because a notebook may frame TensorBoard from another origin.

function guarded<T>(ask: () => T, otherwise: T): T {
  try {
    return ask();
  } catch {
    return otherwise;
  }
}

/** The window whose address carries our state: TensorBoard's, or our own where that is out of reach. */
function outer(): Window {
  return guarded(() => (typeof window.parent.location.hash === "string" ? window.parent : window), window);
}

export function readHash(): string {
  return guarded(() => outer().location.hash, "");
}

/** Replaces the hash without a new entry in the history and without waking TensorBoard's router. */
export function writeHash(hash: string): void {
  guarded(() => {
    const host = outer();
    const base = host.location.href.split("#")[0] ?? "";
    if (host.location.hash !== hash) host.history.replaceState(host.history.state, "", base + hash);
  }, undefined);
}

/** The address to hand to a colleague. */
export function address(): string {
  return guarded(() => outer().location.href, window.location.href);
}

export function watchHash(changed: () => void): void {
  guarded(() => outer().addEventListener("hashchange", changed), undefined);
}

/** Tells `changed` now and whenever TensorBoard switches between light and dark. */
export function watchDark(changed: (dark: boolean) => void): void {
  const media = window.matchMedia("(prefers-color-scheme: dark)");
  const body = guarded(() => (window.parent === window ? null : window.parent.document.body), null);
  if (body === null) {
    const tell = (): void => changed(media.matches);
    media.addEventListener("change", tell);
    tell();
    return;
  }
  const tell = (): void => changed(body.classList.contains("dark-mode"));
  new MutationObserver(tell).observe(body, { attributes: true, attributeFilter: ["class"] });
  tell();
}

function frame(): Element | null {
  return guarded(() => window.frameElement, null);
}

/** False while the browser's tab or TensorBoard's tab is in the background; TensorBoard keeps the frame and hides it. */
export function visible(): boolean {
  const element = frame();
  const shown = element === null || (element.getClientRects().length > 0 && getComputedStyle(element).visibility !== "hidden");
  return shown && !document.hidden;
}

export function watchVisible(changed: () => void): void {
  document.addEventListener("visibilitychange", changed);
  window.addEventListener("resize", changed);
  const element = frame();
  if (element !== null) new MutationObserver(changed).observe(element, { attributes: true, attributeFilter: ["style", "class"] });
}
