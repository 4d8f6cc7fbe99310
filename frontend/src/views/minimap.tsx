// Where a zoomed timeline lies in the whole run: its mean in small, and a window that can be moved.

import type { JSX, TargetedPointerEvent } from "preact";
import { useMemo } from "preact/hooks";
import { zoom } from "../actions";
import { count } from "../lib/format";
import { type Frame, GUTTER, inner, xOf } from "../lib/frame";
import { withGaps } from "../lib/gaps";
import { moved } from "../lib/wheel";
import { extent, linePath, linear } from "../lib/path";
import { column } from "../lib/range";
import type { Timeline } from "../types";

const HEIGHT = 26;

/** A click or a drag brings the middle of the window to the pointer. */
export function Minimap({ whole, frame }: { whole: Timeline; frame: Frame }): JSX.Element {
  const { batches } = whole;
  const all = { from: 0, to: batches, width: frame.width };
  const path = useMemo(() => {
    const [at = [], , mean = []] = withGaps(whole.columns, whole.gaps);
    const y = linear(extent(column(whole, "mean")) ?? [0, 1], [HEIGHT - 3, 3]);
    return linePath(at.map((batch) => xOf(all, batch ?? 0)), mean.map((value) => value && y(value)));
  }, [whole, frame.width]);
  const move = (event: TargetedPointerEvent<SVGSVGElement>): void => {
    if (event.buttons !== 1) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    const x = event.clientX - event.currentTarget.getBoundingClientRect().left;
    zoom(...moved([frame.from, frame.to], (x / inner(frame)) * batches, batches));
  };
  const [from, to] = [xOf(all, frame.from), xOf(all, frame.to)];
  return (
    <div class="lane line map" style={{ height: HEIGHT }} role="img" aria-label={`Batches ${count(frame.from)} to ${count(frame.to)} of ${count(batches)}; Shift with an arrow key moves them`}>
      <span class="name">whole run</span>
      <svg style={{ left: GUTTER.left }} width={inner(frame)} height={HEIGHT} viewBox={`${GUTTER.left} 0 ${inner(frame)} ${HEIGHT}`} onPointerDown={move} onPointerMove={move}>
        <path class="trace" d={path} />
        <rect x={from} width={Math.max(3, to - from)} height={HEIGHT} />
      </svg>
    </div>
  );
}
