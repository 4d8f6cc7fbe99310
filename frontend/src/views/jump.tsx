// The loss on both sides of the boundary: each batch a dot, the two levels, and what noise alone would do.

import type { JSX } from "preact";
import { scaleOf } from "../chart/scale";
import { logTicks, niceTicks } from "../lib/axis";
import { change, num, tickLabels } from "../lib/format";
import type { LensFrame } from "../lib/lens";
import { extent } from "../lib/path";
import { alike, column } from "../lib/range";
import { spread } from "../lib/spread";
import { boundaryName } from "../lib/marks";
import type { Lens, Num } from "../types";

const HEIGHT = 138;
const AXIS = 20;

interface Props {
  lens: Lens;
  frame: LensFrame;
  lit: boolean;
  /** The timeline is logarithmic. */
  log: boolean;
}

function middle(a: number, b: number): number {
  return (a + b) / 2;
}

export function Jump({ lens, frame, lit, log }: Props): JSX.Element {
  const { boundary, placebo } = lens;
  const loss = column(lens, "loss");
  const offsets = column(lens, "offset").map((value) => value ?? 0);
  const unlogged = new Set(lens.unlogged.map((batch) => batch - boundary.batch));
  const level = (value: Num): number | null => (boundary.before === null || value === null ? null : boundary.before + value);
  const [bandLow, bandHigh] = [level(placebo.low), level(placebo.high)];
  const levels = [...loss, boundary.before, boundary.after];
  const seen = extent(levels);
  // What noise alone would do may reach below zero, which no logarithm can show.
  const [least, most] = (log && seen !== null && seen[0] > 0 ? extent([...levels, bandHigh]) : extent([...levels, bandLow, bandHigh])) ?? [0, 1];
  const range = alike(least, most, log);
  const y = scaleOf(range, HEIGHT, 4);
  const ticks = seen === null ? [] : range.log ? logTicks(range.low, range.high, 5) : niceTicks(range.low, range.high, 4);
  const texts = range.log ? ticks.map((tick) => num(tick)) : tickLabels(ticks);
  const cut = frame.x(-0.5);
  const dot = Math.max(1.3, Math.min(2.7, (0.4 * frame.width) / lens.m)); // so small that many do not hide the levels
  const side = Math.min(boundary.m, lens.m); // what is drawn may be less than what was measured
  const bar = frame.x(Math.min(lens.m - 1, boundary.m + 1));
  const [jumpAt = 0, bandAt = 0] = spread(
    [
      boundary.before === null || boundary.after === null ? HEIGHT / 3 : y(middle(boundary.before, boundary.after)),
      bandLow === null || bandHigh === null ? HEIGHT * 0.8 : y(middle(bandLow, bandHigh)),
    ],
    40,
    12,
    HEIGHT - 22,
  );
  const said = `Loss around ${boundaryName(boundary)}: ${num(boundary.before)} before, ${num(boundary.after)} after`;
  return (
    <div class={`row ${lit ? "lit" : ""}`} style={{ height: HEIGHT + AXIS }}>
      <svg style={{ left: frame.left }} width={frame.width} height={HEIGHT + AXIS} role="img" aria-label={said}>
        {ticks.map((tick, index) => (
          <text x={-10} y={y(tick) + 4} text-anchor="end">
            {texts[index]}
          </text>
        ))}
        {bandLow === null || bandHigh === null ? null : (
          <rect class="placebo" x={0} y={y(bandHigh)} width={frame.width} height={Math.max(1, y(bandLow) - y(bandHigh))} />
        )}
        <path class={`cut k-${boundary.kind}`} d={`M${cut} 0V${HEIGHT}`} />
        {offsets.map((offset, index) => {
          const value = loss[index];
          if (value === null || value === undefined) {
            if (unlogged.has(offset)) return null;
            return (
              <text class="bad" x={frame.x(offset)} y={12} text-anchor="middle">
                ×<title>no finite loss</title>
              </text>
            );
          }
          return <circle class="dot" cx={frame.x(offset)} cy={y(value)} r={dot} />;
        })}
        {boundary.before === null ? null : <path class="level" d={`M${frame.x(-side - 0.5)} ${y(boundary.before)}H${cut}`} />}
        {boundary.after === null ? null : <path class="level" d={`M${cut} ${y(boundary.after)}H${frame.x(side - 0.5)}`} />}
        {boundary.before === null || boundary.after === null ? null : (
          <path class={`jump k-${boundary.kind}`} d={`M${bar} ${y(boundary.before)}V${y(boundary.after)}`} />
        )}
        {frame.ticks.map((tick) => (
          <text x={frame.x(tick)} y={HEIGHT + 14} text-anchor="middle">
            {tick > 0 ? tick : `\u2212${-tick}`}
          </text>
        ))}
        <text x={cut} y={HEIGHT + 14} text-anchor="middle">
          {boundaryName(boundary).toLowerCase()}
        </text>
      </svg>
      <b class={`words amount k-${boundary.kind}`} style={{ left: frame.words, top: jumpAt }}>
        {boundary.jump === null ? "not measured" : change(boundary.jump)}
      </b>
      <span class="words" style={{ left: frame.words, top: bandAt }}>
        {seen === null ? (unlogged.size > 0 ? "no loss logged on either side" : "no finite loss on either side") : unlogged.size > 0 ? `loss logged at ${offsets.length - unlogged.size} of ${offsets.length} batches` : placebo.count === 0 ? "too few batches for a placebo band" : "placebo band: 95\u202f% of cuts that are no boundary"}
      </span>
    </div>
  );
}
