// The page: runs at the left, the answer on top, what shows it below.

import type { JSX } from "preact";
import { retry } from "../actions";
import type { State } from "../state";
import type { RunRow } from "../types";
import { Failure } from "./card";
import { Closer } from "./closer";
import { Empty } from "./empty";
import { Findings } from "./findings";
import { Plain } from "./plain";
import { Choices, Facts, RunList } from "./runs";
import { TimelineCard } from "./timeline";
import { useStore } from "./use";
import { Verdict } from "./verdict";

/** True where the run of the link cannot be shown: that is said once, in place of everything else. */
function isLost({ diagnosis, runs, place }: State): boolean {
  const unknown = runs.value !== null && !runs.value.runs.some((row) => row.run === place.run);
  return diagnosis.value === null && (diagnosis.status === "failed" || unknown);
}

function Main({ state, row }: { state: State; row: RunRow | undefined }): JSX.Element {
  if (row?.plain === true) return <Plain key={row.run} state={state} row={row} />;
  // Where there is no verdict its sentence says why; what could not be read either has nothing to add.
  const lost = isLost(state);
  return (
    <>
      <Verdict state={state} />
      {lost && state.timeline.value === null ? null : <TimelineCard state={state} />}
      {lost && state.lens.value === null ? null : <Closer state={state} />}
      <Findings state={state} />
    </>
  );
}

export function App(): JSX.Element {
  const state = useStore();
  const { runs, place } = state;
  const rows = runs.value?.runs ?? [];
  const said = isLost(state) && runs.error === state.diagnosis.error;
  const failed = runs.status === "failed" && !said ? <Failure sentence={runs.error} onRetry={() => retry("runs")} /> : null;
  if (rows.length === 0 && place.run === null) {
    if (failed !== null) return <main class="alone">{failed}</main>;
    if (runs.value === null) return <main class="alone waiting">Reading the runs…</main>;
  }
  if (runs.value !== null && rows.length === 0)
    return (
      <main class="alone">
        <Empty runs={runs.value} />
      </main>
    );
  const row = rows.find((item) => item.run === place.run);
  return (
    <div class="page">
      <aside class="side" aria-label="Runs and signals">
        <RunList state={state} />
        {row?.plain === true || isLost(state) ? null : <Choices state={state} />}
        <Facts state={state} />
      </aside>
      <main>
        {failed}
        {runs.value === null || runs.value.hint === "" ? null : <Empty runs={runs.value} />}
        <Main state={state} row={row} />
      </main>
    </div>
  );
}
