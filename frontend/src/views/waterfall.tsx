// Where the jump comes from: its parts as bars that add up to it.

import type { JSX } from "preact";
import { addingUp, signed } from "../lib/format";
import { waterfall } from "../lib/waterfall";
import type { Lens, Num } from "../types";

/** Share of the drawing's height that bars may take; the rest is for the number above the highest. */
const HEIGHT = 0.86;

/** The interval of a part in words; empty where it has none. */
function interval({ low = null, high = null }: { low?: Num; high?: Num }): string {
  return low === null || high === null ? "" : `, 95\u202f% between ${signed(low, 2)} and ${signed(high, 2)}`;
}

export function Waterfall({ lens }: { lens: Lens }): JSX.Element | null {
  const parts = lens.waterfall;
  if (parts.length === 0) return lens.waterfall_note === "" ? null : <p class="note">{lens.waterfall_note}</p>;
  const { bars, zero } = waterfall(parts);
  const texts = addingUp(parts.map((part) => part.value));
  const percent = (share: number): string => `${share * HEIGHT * 100}%`;
  return (
    <figure class="waterfall">
      <figcaption>Where {texts[texts.length - 1]} comes from</figcaption>
      <div class="bars" style={{ gridTemplateColumns: `repeat(${bars.length}, minmax(0, 1fr))` }}>
        {bars.map((bar, index) => (
          <div class="bar" title={`${bar.label}: ${texts[index] ?? ""}${interval(bar)}`}>
            <div class="room">
              <i class="zero" style={{ bottom: percent(zero) }} />
              {index < bars.length - 1 ? <i class="step" style={{ bottom: percent(bar.level) }} /> : null}
              <b class={`k-${bar.kind}`} style={{ bottom: percent(bar.bottom), height: `max(1px, ${percent(bar.top - bar.bottom)})` }} />
              <span style={{ bottom: `calc(${percent(bar.top)} + 3px)` }}>{texts[index]}</span>
            </div>
            <small>{bar.label}</small>
          </div>
        ))}
      </div>
      {lens.waterfall_note === "" ? null : <p class="note">{lens.waterfall_note}</p>}
    </figure>
  );
}
