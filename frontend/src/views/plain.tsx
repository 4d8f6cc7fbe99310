// A run without a recording: TensorBoard's own scalar, and what is missing for a verdict.

import type { JSX } from "preact";
import { retry, setScalar } from "../actions";
import { count } from "../lib/format";
import { column } from "../lib/range";
import type { State } from "../state";
import type { RunRow } from "../types";
import { Card } from "./card";
import { LineLane } from "./lanes";
import { Shape } from "./shape";
import { Start } from "./empty";
import { Sentence } from "./text";
import { useWidth } from "./use";

function Curve({ state }: { state: State }): JSX.Element {
  const [ref, width] = useWidth();
  const table = state.scalar.value;
  const batches = table === null ? [] : column(table, "step").map((step) => step ?? 0);
  const frame = { from: batches[0] ?? 0, to: batches[batches.length - 1] ?? 1, width };
  return (
    <div ref={ref}>
      <LineLane
        frame={frame}
        label={state.place.scalar ?? ""}
        batches={batches}
        values={table === null ? [] : column(table, "value")}
        height={220}
        lit={false}
        empty="no points"
      />
      <p class="note indent">
        step {count(frame.from)} to {count(frame.to)}, {count(batches.length)} points that TensorBoard kept
      </p>
    </div>
  );
}

export function Plain({ state, row }: { state: State; row: RunRow }): JSX.Element {
  return (
    <>
      <div class="verdict">
        <Shape kind="plain" size={19} />
        <div class="says">
          <h1>{row.label} has scalars only</h1>
          <p>
            <Sentence text={row.verdict} />
          </p>
        </div>
      </div>
      <Card
        area="timeline wide"
        title="Scalar"
        load={state.scalar}
        onRetry={() => retry("scalar")}
        aside={
          <select aria-label="Scalar" value={state.place.scalar ?? ""} onChange={(event) => setScalar(event.currentTarget.value)}>
            {(state.tags.value?.tags ?? []).map((tag) => (
              <option key={tag}>{tag}</option>
            ))}
          </select>
        }
      >
        {() => <Curve state={state} />}
      </Card>
      <section class="card lens wide" aria-label="How to record">
        <header>
          <h2>How to record every batch</h2>
        </header>
        <Start code={state.runs.value?.code ?? ""} />
      </section>
    </>
  );
}
