// Lanes below the timeline, on its x axis: learning rate, events, and a standard scalar.

import type { ComponentChildren, JSX } from "preact";
import { counted, num } from "../lib/format";
import { crowding, type Frame, GUTTER, inner, xOf } from "../lib/frame";
import { withGaps } from "../lib/gaps";
import { extent, linePath, linear, padded } from "../lib/path";
import type { Num, Timeline } from "../types";

interface LineProps {
  frame: Frame;
  label: string;
  batches: readonly number[];
  values: readonly Num[];
  height: number;
  lit: boolean;
  gaps?: readonly number[];
  unit?: string;
  /** Says why there is nothing to draw. */
  empty: string;
}

/** A lane with words in place of a drawing. */
export function EmptyLane({ label, children }: { label: string; children: ComponentChildren }): JSX.Element {
  return (
    <div class="lane" style={{ height: 22 }}>
      <span class="name" title={label}>
        {label}
      </span>
      <span class="none" style={{ left: GUTTER.left }}>
        {children}
      </span>
    </div>
  );
}

export function LineLane({ frame, label, batches, values, height, lit, empty, gaps = [], unit = "" }: LineProps): JSX.Element {
  const seen = values.filter((_, index) => (batches[index] ?? -1) >= frame.from && (batches[index] ?? -1) <= frame.to);
  const range = extent(seen);
  if (range === null) return <EmptyLane label={label}>{empty}</EmptyLane>;
  const y = linear(range[0] === range[1] ? range : padded(range, 0.08), [height - 4, 4]);
  const [at = [], broken = []] = withGaps([batches, values], { batch: [...gaps] });
  const text = (value: number): string => `${num(value, 2)}${unit && `\u202f${unit}`}`;
  const xs = at.map((batch) => xOf(frame, batch ?? 0));
  return (
    <div class={`lane line ${lit ? "lit" : ""}`} style={{ height }} role="img" aria-label={`${label}: ${num(range[0])} to ${num(range[1])}`}>
      <span class="name" title={label}>
        {label}
      </span>
      {range[0] === range[1] ? null : <small class="top">{text(range[1])}</small>}
      <small class={range[0] === range[1] ? "mid" : ""}>{text(range[0])}</small>
      <svg style={{ left: GUTTER.left }} width={inner(frame)} height={height} viewBox={`${GUTTER.left} 0 ${inner(frame)} ${height}`}>
        <path class="trace" d={linePath(xs, broken.map((value) => (value === null ? null : y(value))))} />
      </svg>
    </div>
  );
}

type Glyph = "val" | "save" | "restore" | "change" | "note";

const GLYPHS: Record<string, Glyph> = { validation: "val", validation_end: "val", save: "save", restore: "restore", config_change: "change", lr_change: "change" };
const NAMES: Record<Glyph, string> = { val: "validation ran", save: "saved", restore: "restored", change: "settings changed", note: "note" };

function glyphOf(kind: string): Glyph {
  return GLYPHS[kind] ?? "note";
}

function drawGlyph(glyph: Glyph, x: number, y: number, width = 6): JSX.Element {
  if (glyph === "val") return <rect class="e-val" x={x - width / 2} y={y - 4} width={width} height="8" />;
  if (glyph === "save") return <circle class="e-save" cx={x} cy={y} r="4" />;
  if (glyph === "restore") return <circle class="e-restore" cx={x} cy={y} r="3.4" />;
  if (glyph === "change") return <rect class="e-change" x={x - 4} y={y - 4} width="8" height="8" />;
  return <path class="e-note" d={`M${x} ${y - 5}v10`} />;
}

export function EventLane({ frame, timeline, say }: { frame: Frame; timeline: Timeline; say: (text: string) => void }): JSX.Element | null {
  const { batch, kind, text } = timeline.events;
  if (batch.length === 0) return null;
  const before = crowding(batch);
  const room = inner(frame) / Math.max(1, batch.filter((at) => at >= frame.from && at <= frame.to).length);
  return (
    <div class="lane" style={{ height: 22 }} role="group" aria-label={counted(batch.length, "event", "events")}>
      <span class="name">events</span>
      <svg style={{ left: 0 }} width={frame.width} height="22">
        {batch.map((at, index) => {
          const name = kind[index] ?? "";
          if (at < frame.from || at > frame.to) return null;
          const said = [name.replaceAll("_", " "), text[index] ?? ""].filter((part) => part !== "").join(": ");
          const x = xOf(frame, at) + Math.min(10, room) * (before[index] ?? 0);
          return (
            <g
              class="event"
              role="img"
              aria-label={said}
              tabIndex={name === "validation_end" ? -1 : 0}
              onPointerEnter={() => say(said)}
              onPointerLeave={() => say("")}
              onFocus={() => say(said)}
              onBlur={() => say("")}
            >
              {/* A note is as thin as a hair: what the pointer must meet is wider. */}
              <rect x={x - 5} width="10" height="22" fill="none" pointer-events="all" />
              {drawGlyph(glyphOf(name), x, 11, Math.max(1, Math.min(6, room / 2)))}
            </g>
          );
        })}
      </svg>
    </div>
  );
}

/** The kinds of events that a timeline holds, for its legend. */
export function EventLegend({ timeline }: { timeline: Timeline }): JSX.Element {
  const present = new Set(timeline.events.kind.map(glyphOf));
  return (
    <>
      {[...present].map((glyph) => (
        <li>
          <svg width="12" height="12" aria-hidden="true">
            {drawGlyph(glyph, 6, 6)}
          </svg>
          {NAMES[glyph]}
        </li>
      ))}
    </>
  );
}
