// The part of the page's state that a link carries, in TensorBoard's own form: `#losslens&p.losslens.run=exp1&...`.

/** What is shown below the timeline. */
export const VIEWS = ["boundary", "epochs", "batches", "layers", "compare"] as const;
export type View = (typeof VIEWS)[number];

export interface Place {
  run: string | null;
  /** Index of the boundary in the lens. */
  boundary: number | null;
  /** Zoomed range of the timeline in batches, `from <= batch < to`; null is the whole run. */
  zoom: readonly [number, number] | null;
  axis: "epoch" | "step";
  scale: "auto" | "linear" | "log";
  /** Standard scalar that is laid under the timeline. */
  scalar: string | null;
  view: View;
  /** What the colours of a map stand for: the value less what is usual in its row, or itself. */
  colour: "less" | "value";
  /** The signal of the map of layers; null is the first. */
  signal: string | null;
  /** The batch that is open in the view of batches. */
  batch: number | null;
  /** Findings of this kind alone are listed. */
  kind: string | null;
  /** Share of the view, in percent, over which the overlaid line is smoothed; null for none. */
  smooth: number | null;
  /** The compared runs are drawn over the timeline, too. */
  over: boolean;
  /** The runs that are compared; empty for those of the list. */
  runs: readonly string[];
}

export const START: Place = { run: null, boundary: null, zoom: null, axis: "epoch", scale: "auto", scalar: null, view: "boundary", colour: "less", signal: null, batch: null, kind: null, smooth: null, over: false, runs: [] };

const PREFIX = "p.losslens.";

function whole(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Reads a location's hash. Anything that is missing or makes no sense is at its default. */
export function readPlace(hash: string): Place {
  const fields = new Map<string, string>();
  for (const part of hash.replace(/^#/, "").split("&")) {
    const cut = part.indexOf("=");
    const key = cut < 0 ? part : decoded(part.slice(0, cut));
    if (cut >= 0 && key.startsWith(PREFIX)) fields.set(key.slice(PREFIX.length), decoded(part.slice(cut + 1)));
  }
  const from = whole(fields.get("from"));
  const to = whole(fields.get("to"));
  const scale = fields.get("scale");
  return {
    run: fields.get("run") ?? null,
    boundary: whole(fields.get("boundary")),
    zoom: from !== null && to !== null && to > from ? [from, to] : null,
    axis: fields.get("axis") === "step" ? "step" : "epoch",
    scale: scale === "linear" || scale === "log" ? scale : "auto",
    scalar: fields.get("scalar") ?? null,
    view: VIEWS.find((view) => view === fields.get("view")) ?? "boundary",
    batch: whole(fields.get("batch")),
    runs: fields.get("runs")?.split("|").filter(Boolean).map(decoded) ?? [],
    colour: fields.get("colour") === "value" ? "value" : "less",
    signal: fields.get("signal") ?? null,
    kind: fields.get("kind") ?? null,
    smooth: whole(fields.get("smooth")),
    over: fields.has("over"),
  };
}

/** The same hash with `place` in it; what belongs to TensorBoard or to other plugins stays as it was. */
export function writePlace(hash: string, place: Place): string {
  const others = hash
    .replace(/^#/, "")
    .split("&")
    .filter((part) => part !== "" && !decoded(part.split("=")[0] ?? "").startsWith(PREFIX));
  if (others.length === 0) others.push("losslens");
  const fields: [string, string | number | null][] = [
    ["run", place.run],
    ["boundary", place.boundary],
    ["from", place.zoom ? place.zoom[0] : null],
    ["to", place.zoom ? place.zoom[1] : null],
    ...(["axis", "scale", "scalar", "view", "colour", "signal", "batch", "kind", "smooth", "over"] as const).map((key): [string, string | number | null] => [key, place[key] === START[key] ? null : String(place[key])]),
    // Each name is escaped, so that one with a bar in it stays one.
    ["runs", place.runs.length === 0 ? null : place.runs.map(encodeURIComponent).join("|")],
  ];
  const own = fields.flatMap(([key, value]) => (value === null ? [] : [`${PREFIX}${key}=${encodeURIComponent(value)}`]));
  return `#${[...others, ...own].join("&")}`;
}
