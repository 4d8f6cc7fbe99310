// Which marks stand above the timeline, where, and how large.

import type { Boundary, Finding, MarkKind } from "../types";
import { interpolate } from "./axis";
import { type Frame, GUTTER, xOf } from "./frame";
import { boundaryKind, kindWords } from "./kinds";
import { change, count, num } from "./format";

export interface Mark {
  key: string;
  x: number;
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
  const all: (Mark & { weight: number })[] = [];
  for (const boundary of boundaries) {
    if (boundary.batch < frame.from || boundary.batch >= frame.to) continue;
    all.push({
      key: `b${boundary.index}`,
      x: xOf(frame, boundary.batch),
      size: boundary.kind === "none" ? 6 : markSize(boundary.z),
      kind: boundary.kind,
      boundary: boundary.index,
      finding: null,
      label: boundaryLabel(boundary),
      measured: boundary.unmeasured === "",
      weight: boundary.index === selected ? Infinity : (boundary.kind === "none" ? 0 : 1000) + Math.abs(boundary.z ?? 0),
    });
  }
  findings.forEach((finding, index) => {
    const step = finding.steps[0];
    if (finding.boundaries.length > 0 || step === undefined) return;
    const batch = interpolate(rows.step, rows.batch, step);
    if (batch === null || batch < frame.from || batch >= frame.to) return;
    const label = `${finding.title}, step ${count(step)}: ${kindWords(finding.kind)}`;
    all.push({ key: `f${index}`, x: xOf(frame, batch), size: 12, kind: finding.kind, boundary: null, finding: index, label, measured: true, weight: 1e6 });
  });
  const kept: Mark[] = [];
  const taken = new Map<number, number[]>();
  for (const mark of all.sort((a, b) => b.weight - a.weight)) {
    const slot = Math.floor((mark.x - GUTTER.left) / room);
    const near = [slot - 1, slot, slot + 1].flatMap((index) => taken.get(index) ?? []);
    if (near.some((x) => Math.abs(x - mark.x) < room)) continue;
    taken.set(slot, [...(taken.get(slot) ?? []), mark.x]);
    kept.push(mark);
  }
  return kept.sort((a, b) => a.x - b.x);
}

/**
 * The boundary that the lens opens on. Of those where the leading finding acts (of all, if it is at none) the largest |z| among those
 * that its evidence shows; where that shows none, the one nearest to it.
 */
export function tellingBoundary(boundaries: readonly Boundary[], findings: readonly Finding[]): number | null {
  const [best] = findings;
  const acting = boundaries.filter(({ index }) => best?.boundaries.includes(index));
  const among = acting.length > 0 ? acting : boundaries;
  const spans = (best?.evidence_at ?? []).flatMap((place) => (place?.span ? [place.span] : []));
  const shown = spans.map(([from, to]) => among.filter(({ batch }) => batch >= from && batch <= to)).find((held) => held.length > 0);
  const [span] = spans;
  const near = span !== undefined && acting.length === 0 && shown === undefined;
  const far = ({ batch, z }: Boundary): number => (near ? Math.abs(2 * batch - span[0] - span[1]) : -Math.abs(z ?? 0));
  return [...(shown ?? among)].sort((a, b) => far(a) - far(b))[0]?.index ?? null;
}

/** The index of the boundary before (-1) or after (+1) `current` in the list, or null at its end. */
export function neighbour(boundaries: readonly Boundary[], current: number | null, by: -1 | 1): number | null {
  const at = boundaries.findIndex((boundary) => boundary.index === current);
  if (at < 0) return boundaries[by > 0 ? 0 : boundaries.length - 1]?.index ?? null;
  return boundaries[at + by]?.index ?? null;
}
