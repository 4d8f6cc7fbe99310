// Which marks stand above the timeline, where, and how large.

import type { Boundary, Finding, MarkKind } from "../types";
import { interpolate } from "./axis";
import { type Frame, GUTTER, xOf } from "./frame";
import { boundaryKind, kindWords } from "./kinds";
import { change, count, num } from "./format";

export interface Mark {
  key: string;
  x: number;
  batch: number;
  /** Side of its box in pixels. */
  size: number;
  kind: MarkKind;
  /** Index of the boundary, or null for a finding that is at no boundary. */
  boundary: number | null;
  /** Index of the finding, or null for a boundary. */
  finding: number | null;
  label: string;
  /** False for a boundary with too few finite losses beside it. */
  measured: boolean;
}

/** Larger jumps get larger marks: 8 px at noise, 15 px from 20 times the noise on. */
export function markSize(z: number | null): number {
  return 8 + 7 * Math.sqrt(Math.min(20, Math.abs(z ?? 0)) / 20);
}

export function boundaryName(boundary: Pick<Boundary, "index">): string {
  return `Boundary ${count(boundary.index + 1)}`;
}

/** Why nothing can be said of a boundary; empty where something can. */
export function notMeasured({ unmeasured }: Pick<Boundary, "unmeasured">): string {
  return unmeasured && `not measurable: ${unmeasured}`;
}

function boundaryLabel(boundary: Boundary): string {
  const jump = notMeasured(boundary) || `${change(boundary.jump ?? 0)}, ${num(Math.abs(boundary.z ?? 0), 2)} times the noise, ${kindWords(boundaryKind(boundary))}`;
  return `${boundaryName(boundary)}, epoch ${boundary.epoch}, step ${count(boundary.step)}: ${jump}`;
}

/**
 * Marks of boundaries, and of findings that act at no boundary (at the first step where they show), from left to
 * right. Where marks would lie closer than `room` pixels the one with the larger |z| stays, and the selected one always.
 */
export function marks(
  boundaries: readonly Boundary[],
  findings: readonly Finding[],
  rows: { batch: readonly number[]; step: readonly number[] },
  frame: Frame,
  selected: number | null,
  room = 13,
): Mark[] {
  // What a mark says is written for those alone that stay: a long run has thousands of boundaries, and this runs in each frame of a zoom.
  const all: { x: number; weight: number; make: (x: number) => Mark }[] = [];
  for (const boundary of boundaries) {
    const { batch, kind, index, unmeasured, z } = boundary;
    if (batch < frame.from || batch >= frame.to) continue;
    all.push({
      x: xOf(frame, batch),
      weight: index === selected ? Infinity : (kind === "none" ? 0 : 1000) + Math.abs(z ?? 0),
      make: (x) => ({ key: `b${index}`, x, batch, size: kind === "none" ? 6 : markSize(z), kind, boundary: index, finding: null, label: boundaryLabel(boundary), measured: unmeasured === "" }),
    });
  }
  findings.forEach(({ steps: [step], boundaries: { length }, title, kind }, index) => {
    if (length > 0 || step === undefined) return;
    const batch = interpolate(rows.step, rows.batch, step);
    if (batch === null || batch < frame.from || batch >= frame.to) return;
    const label = `${title}, step ${count(step)}: ${kindWords(kind)}`;
    all.push({ x: xOf(frame, batch), weight: 1e6, make: (x) => ({ key: `f${index}`, x, batch, size: 12, kind, boundary: null, finding: index, label, measured: true }) });
  });
  const kept: Mark[] = [];
  const taken = new Map<number, number>();
  for (const { x, make } of all.sort((a, b) => b.weight - a.weight)) {
    const slot = Math.floor((x - GUTTER.left) / room);
    if ([slot - 1, slot, slot + 1].some((index) => Math.abs((taken.get(index) ?? Infinity) - x) < room)) continue;
    taken.set(slot, x);
    kept.push(make(x));
  }
  return kept.sort((a, b) => a.x - b.x);
}

/** A finding at this many boundaries is shown at one that is like the others. */
const SEVERAL = 4;
/** A jump within this share of the median is like the others. */
const ALIKE = 0.25;
/** Where the placebo band is this many times as wide as usual, as in the first epoch, a large jump shows nothing. */
const WIDE = 2;

function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[(values.length - 1) >> 1] ?? 0;
}

/** The one of `boundaries` for which `far` is least, the first of equals; null if there is none. */
function nearest(boundaries: readonly Boundary[], far: (boundary: Boundary) => number): number | null {
  return [...boundaries].sort((a, b) => far(a) - far(b))[0]?.index ?? null;
}

/**
 * The boundary that the lens opens on; one that was not measured only where none was.
 *
 * Where the leading finding acts at several, a typical one: of those that are clear of the noise, the first jump that is near their median
 * (the budget of recording reads more signals at the first ones), or the nearest.
 * Where it acts at a few, the largest |z| of those that its evidence shows. Where it acts within an epoch, the boundary that is nearest to
 * where it begins. Else, as nothing is to be seen, the one that comes closest to a jump where the band is as usual.
 */
export function tellingBoundary(boundaries: readonly Boundary[], findings: readonly Finding[]): number | null {
  const known = boundaries.filter(({ unmeasured }) => unmeasured === "");
  const all = known.length > 0 ? known : boundaries;
  const [best] = findings;
  const size = ({ z }: Boundary): number => Math.abs(z ?? 0);
  const acting = all.filter(({ index }) => best?.boundaries.includes(index));
  if (acting.length >= SEVERAL) {
    const least = middle(acting.map(size));
    const typical = middle(acting.map(({ jump }) => jump ?? 0));
    return nearest(acting.filter((boundary) => size(boundary) >= least), ({ jump }) => Math.max(ALIKE * Math.abs(typical), Math.abs((jump ?? 0) - typical)));
  }
  const spans = (best?.evidence_at ?? []).flatMap((place) => (place?.span ? [place.span] : []));
  const among = acting.length > 0 ? acting : all;
  const shown = spans.map(([from, to]) => among.filter(({ batch }) => batch >= from && batch <= to)).find((held) => held.length > 0);
  const [span] = spans;
  if (shown === undefined && acting.length === 0 && span !== undefined) return nearest(all, ({ batch }) => Math.abs(batch - span[0]));
  const width = ({ placebo_low, placebo_high }: Boundary): number => (placebo_high ?? 0) - (placebo_low ?? 0);
  const usual = WIDE * middle(all.map(width));
  return nearest(shown ?? (acting.length > 0 ? acting : all.filter((boundary) => width(boundary) <= usual)), (boundary) => -size(boundary));
}

/** The index of the boundary before (-1) or after (+1) `current` in the list, or null at its end. */
export function neighbour(boundaries: readonly Boundary[], current: number | null, by: -1 | 1): number | null {
  const at = boundaries.findIndex((boundary) => boundary.index === current);
  if (at < 0) return boundaries[by > 0 ? 0 : boundaries.length - 1]?.index ?? null;
  return boundaries[at + by]?.index ?? null;
}
