// Every signal around the boundary as a small multiple; what moved is coloured, and each says in words what it did.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { counted } from "../lib/format";
import { groupMissing, type LensFrame, orderSignals } from "../lib/lens";
import { extent, linePath, linear, padded } from "../lib/path";
import type { Lens, LensSignal } from "../types";

const HEIGHT = 34;

function SignalRow({ signal, frame, kind, lit }: { signal: LensSignal; frame: LensFrame; kind: string; lit: boolean }): JSX.Element {
  const self = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (lit) self.current?.scrollIntoView({ block: "nearest" });
  }, [lit]);
  const range = extent(signal.value) ?? [0, 1];
  const y = linear(range[0] === range[1] ? range : padded(range, 0.05), [HEIGHT - 5, 5]);
  const path = linePath(signal.offset.map(frame.x), signal.value.map((value) => (value === null ? null : y(value))));
  const cut = frame.x(-0.5);
  return (
    <div ref={self} class={`row ${lit ? "lit" : ""}`} style={{ height: HEIGHT }} role="img" aria-label={`${signal.label}: ${signal.said}`}>
      <span class="name" title={signal.unit === "" ? signal.name : `${signal.name}, ${signal.unit}`}>
        {signal.label}
      </span>
      <svg style={{ left: frame.left }} width={frame.width} height={HEIGHT}>
        <path class={`cut s-${kind}`} d={`M${cut} 0V${HEIGHT}`} />
        <path class={signal.moved ? `trace moved s-${kind}` : "trace"} d={path} />
      </svg>
      <span class={`words ${signal.moved ? `moved c-${kind}` : ""}`} style={{ left: frame.words, top: HEIGHT / 2 }} title={signal.said}>
        {signal.said}
      </span>
    </div>
  );
}

export function SignalRows({ lens, frame, lit }: { lens: Lens; frame: LensFrame; lit: string | null }): JSX.Element {
  const [all, setAll] = useState(false);
  const { rows, first } = orderSignals(lens.signals, lit);
  const shown = all ? rows : rows.slice(0, first);
  const { kind } = lens.boundary;
  return (
    <>
      {shown.map((signal) => (
        <SignalRow key={signal.name} signal={signal} frame={frame} kind={kind} lit={signal.name === lit} />
      ))}
      {rows.length <= first ? null : (
        <button type="button" class="plain more-signals" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? "fewer signals" : `${counted(rows.length - first, "more signal", "more signals")}, steady`}
        </button>
      )}
      {groupMissing(lens.missing).map((group) => (
        <p class="note missing">
          {group.labels}: not recorded. <code>{group.how}</code>
        </p>
      ))}
    </>
  );
}
