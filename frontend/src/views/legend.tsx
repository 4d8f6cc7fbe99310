// What the timeline's marks and colours mean; only what is there.

import type { JSX } from "preact";
import { lostWords } from "../lib/gaps";
import { kindWords } from "../lib/kinds";
import type { Mark } from "../lib/marks";
import type { MarkKind, Timeline } from "../types";
import { DASHES } from "./curve";
import { EventLegend } from "./lanes";
import { Shape } from "./shape";

/** Marks without a kind are within noise, unless nothing could be measured there. */
function words(kind: MarkKind, marks: readonly Mark[]): string {
  return kind === "none" && !marks.some((mark) => mark.kind === "none" && mark.measured) ? "not measured" : kindWords(kind);
}

const ORDER: readonly MarkKind[] = ["fault", "artifact", "planned", "benign", "unknown", "none"];

interface Props {
  timeline: Timeline;
  marks: readonly Mark[];
  smooth: number | null;
  /** Timelines of other runs, and what a run is called. */
  over: readonly Timeline[];
  label: (run: string) => string;
}

export function Legend({ timeline, marks, smooth, over, label }: Props): JSX.Element {
  const kinds = ORDER.filter((kind) => marks.some((mark) => mark.kind === kind));
  return (
    <ul class="legend">
      {timeline.raw ? (
        <li>
          <i class="sw mean" />
          each batch
        </li>
      ) : (
        <>
          <li>
            <i class="sw band" />
            batch loss, min to max
          </li>
          <li>
            <i class="sw mean" />
            mean
          </li>
        </>
      )}
      {smooth === null ? null : (
        <li>
          <i class="sw smooth" />
          smoothed over {smooth}{"\u202f"}%
        </li>
      )}
      {over.map(({ run }, index) => (
        <li>
          <svg width="28" height="8" aria-hidden="true">
            <path class="trace" stroke-dasharray={DASHES[index]?.join(" ")} d="M0 4H28" />
          </svg>
          {label(run)}
        </li>
      ))}
      {timeline.validation.batch.length === 0 ? null : (
        <li>
          <i class="sw dot" />
          validation loss
        </li>
      )}
      {timeline.nonfinite.length === 0 ? null : (
        <li>
          <i class="sw cross">×</i>
          no finite loss
        </li>
      )}
      {timeline.gaps.batch.length === 0 ? null : (
        <li>
          <i class="sw gap" />
          {lostWords(timeline.gaps)}
        </li>
      )}
      {kinds.map((kind) => (
        <li>
          <Shape kind={kind} size={11} />
          {words(kind, marks)}
        </li>
      ))}
      <EventLegend timeline={timeline} />
    </ul>
  );
}
