// Every signal around the boundary as a small multiple; what moved is coloured, and each says in words what it did.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { counted } from "../lib/format";
import { withGaps } from "../lib/gaps";
import { groupMissing, type LensFrame, orderSignals, readSides, tells, unread } from "../lib/lens";
import { dotPath, extent, isSparse, linePath, linear, padded } from "../lib/path";
import type { Lens, LensSignal, Num } from "../types";

const HEIGHT = 34;

interface Props {
  signal: LensSignal;
  frame: LensFrame;
  kind: string;
  lit: boolean;
  /** Offsets of the batches before which others are missing. */
  gaps: number[];
}

function SignalRow({ signal, frame, kind, lit, gaps }: Props): JSX.Element {
  const self = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (lit) self.current?.scrollIntoView({ block: "nearest" });
  }, [lit]);
  const range = extent(signal.value) ?? [0, 1];
  const y = linear(range[0] === range[1] ? range : padded(range, 0.05), [HEIGHT - 5, 5]);
  const [at = [], values = []] = withGaps([signal.offset, signal.value.map((value): Num => (value === null ? null : y(value)))], { batch: gaps });
  const sparse = isSparse(signal.value);
  const moved = tells(signal);
  const path = (sparse ? dotPath : linePath)(at.map((offset) => frame.x(offset ?? 0)), values);
  const cut = frame.x(-0.5);
  const [before, after] = readSides(signal);
  return (
    <div ref={self} class={`row ${lit ? "lit" : ""}`} style={{ height: HEIGHT }} role="img" aria-label={`${signal.label}: ${signal.said}`}>
      <span class="name" title={signal.unit === "" ? signal.name : `${signal.name}, ${signal.unit}`}>
        {signal.label}
        {signal.unit.length === 1 ? `, ${signal.unit}` : ""}
      </span>
      <svg style={{ left: frame.left }} width={frame.width} height={HEIGHT}>
        <path class={`cut k-${kind}`} d={`M${cut} 0V${HEIGHT}`} />
        {before && after ? null : <path class="unread" d={`M${before ? cut : 0} ${HEIGHT / 2}H${before ? frame.width : cut}`} />}
        <path class={`trace${sparse ? " dots" : ""}${moved ? ` moved k-${kind}` : ""}`} d={path} />
      </svg>
      <span class={`words ${moved ? `moved k-${kind}` : ""}`} style={{ left: frame.words, top: HEIGHT / 2 }} title={signal.said}>
        {signal.said}
      </span>
    </div>
  );
}

export function SignalRows({ lens, frame, lit }: { lens: Lens; frame: LensFrame; lit: string | null }): JSX.Element {
  const [all, setAll] = useState(false);
  const { rows, first } = orderSignals(lens.signals, lit);
  const shown = all ? rows : rows.slice(0, first);
  const none = unread(lens.signals);
  const { kind, batch } = lens.boundary;
  const gaps = lens.gaps.batch.map((row) => row - batch);
  return (
    <>
      {shown.map((signal) => (
        <SignalRow key={signal.name} signal={signal} frame={frame} kind={kind} lit={signal.name === lit} gaps={gaps} />
      ))}
      {rows.length <= first ? null : (
        <button type="button" class="plain more-signals" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? "fewer signals" : counted(rows.length - first, "more signal", "more signals")}
        </button>
      )}
      {none === "" ? null : <p class="note missing">not read at these batches: {none}</p>}
      {groupMissing(lens.missing).map((group) => (
        <p class="note missing">
          {group.labels}: not recorded. <code>{group.how}</code>
        </p>
      ))}
    </>
  );
}
