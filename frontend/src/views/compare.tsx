// Runs side by side: verdict, jumps, loss and the settings that differ, and what a sweep does.

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { compareRuns, retry, selectRun } from "../actions";
import { compared, inOrder, MOST, most, settingText, shared, sweepOf } from "../lib/compare";
import { change, num } from "../lib/format";
import { causeTitle, runKind } from "../lib/kinds";
import { linePath, linear } from "../lib/path";
import { scaleOf } from "../chart/scale";
import { alike, column } from "../lib/range";
import type { State } from "../state";
import type { Compare, ComparedRun, MarkKind } from "../types";
import { Card } from "./card";
import { Plot } from "./plot";
import { Shape } from "./shape";

const [WIDTH, HEIGHT] = [100, 30];
const KINDS: readonly MarkKind[] = ["none", "benign", "planned", "artifact", "unknown", "fault"];
/** Losses that differ by more than this factor are drawn on a log axis. */
const WIDE = 50;

/** Each boundary a bar, up or down; all runs on one scale. */
function Jumps({ run, size }: { run: ComparedRun; size: number }): JSX.Element {
  const { jump, kind } = run.jumps;
  const x = linear([-0.5, Math.max(0.5, jump.length - 0.5)], [0, WIDTH]);
  const place = linear([-size, size], [HEIGHT, 0]);
  const y = (value: number): number => place(Math.max(-size, Math.min(size, value)));
  const bars = (wanted: MarkKind): string => jump.map((value, index) => (value === null || kind[index] !== wanted ? "" : `M${x(index).toFixed(1)} ${HEIGHT / 2}V${y(value).toFixed(1)}`)).join("");
  return (
    <svg width={WIDTH} height={HEIGHT} role="img" aria-label={`Jumps of ${run.label}, median ${run.jump === null ? "not measured" : change(run.jump)}`}>
      <path class="axis" d={`M0 ${HEIGHT / 2}H${WIDTH}`} />
      {KINDS.map((wanted) => (
        <path class={`bar-line k-${wanted}`} stroke-width={Math.max(1, Math.min(6, (0.6 * WIDTH) / Math.max(1, jump.length)))} d={bars(wanted)} />
      ))}
    </svg>
  );
}

function Loss({ run, range }: { run: ComparedRun; range: readonly [number, number] }): JSX.Element {
  const place = scaleOf(alike(range[0], range[1], range[0] > 0 && range[1] > WIDE * range[0]), HEIGHT, 0);
  const y = (value: number): number => Math.max(0, Math.min(HEIGHT, place(value)));
  const values = column(run.loss, "mean").map((value) => (value === null ? null : y(value)));
  return (
    <svg width={WIDTH} height={HEIGHT} role="img" aria-label={`Loss of ${run.label}, ${num(run.last)} at the end`}>
      <path class="trace" d={linePath(column(run.loss, "share").map((share) => (share ?? 0) * WIDTH), values)} />
    </svg>
  );
}

/** What they were set to, a run a column: as columns of the first table they would push its last ones out of sight. */
function Settings({ answer, rows }: { answer: Compare; rows: readonly ComparedRun[] }): JSX.Element {
  return (
    <>
      <div class="part">
        <h3>Settings that differ</h3>
      </div>
      <div class="scroll all" tabIndex={0} role="region" aria-label="Settings that differ">
        <table class="compared settings">
          <thead>
            <tr>
              <th>setting</th>
              {rows.map((row) => (
                <th title={row.label}>{row.label}</th>
              ))}
            </tr>
          </thead>
          <tbody>
            {answer.differ.map(({ name, label }, at) => (
              <tr key={name}>
                <th title={name}>{label}</th>
                {rows.map((row) => (
                  <td title={String(row.settings[at])}>{settingText(row.settings[at] ?? null)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Table({ answer, state }: { answer: Compare; state: State }): JSX.Element {
  const beside = answer.differ.length === 1;
  const shown = answer.runs.map((row) => row.run);
  const size = Math.max(1e-12, most(answer.runs.flatMap((row) => row.jumps.jump.map((value) => Math.abs(value ?? 0))))?.[1] ?? 0);
  const range = most(answer.runs.flatMap((row) => column(row.loss, "mean"))) ?? [0, 1];
  const rows = inOrder(answer);
  return (
    <div class="scroll all">
      <table class="compared">
        <thead>
          <tr>
            <th>run</th>
            <th>jumps at boundaries</th>
            <th>median</th>
            <th>loss</th>
            <th>at the end</th>
            {beside && answer.differ.map(({ name, label }) => <th title={name}>{label}</th>)}
            <td />
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.run} class={row.run === state.place.run ? "chosen" : ""}>
              <td>
                <button type="button" title={row.verdict || row.label} onClick={() => selectRun(row.run)}>
                  <Shape kind={runKind(row)} size={12} named />
                  <span>
                    <b>{row.label}</b>
                    {row.short === "" ? "reading the verdict…" : row.short}
                  </span>
                </button>
              </td>
              <td>
                <Jumps run={row} size={size} />
              </td>
              <td>{row.jump === null ? "–" : change(row.jump)}</td>
              <td>
                <Loss run={row} range={range} />
              </td>
              <td>{num(row.last)}</td>
              {beside && row.settings.map((value) => <td title={String(value)}>{settingText(value)}</td>)}
              <td>
                {rows.length === 1 ? null : (
                  <button type="button" class="plain" aria-label={`Leave out ${row.label}`} onClick={() => compareRuns(shown.filter((run) => run !== row.run))}>
                    ×
                  </button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The findings of all of them, by cause. */
function Shared({ answer, kind }: { answer: Compare; kind: string | null }): JSX.Element | null {
  const found = shared(answer);
  const some = found.filter((each) => each.kind === kind);
  if (found.length === 0) return null;
  return (
    <>
      <h3 class="part">Findings over all of them</h3>
      <ul class="legend shared">
        {(some.length > 0 ? some : found).map((each) => (
          <li title={each.runs.join("\n")}>
            <Shape kind={each.kind} size={11} named />
            {causeTitle(each.cause)}: {each.runs.length === 1 ? each.runs[0] : `${each.runs.length} of ${answer.runs.length} runs`}
          </li>
        ))}
      </ul>
    </>
  );
}

/** What changes with the setting that was swept. */
function SweepCharts({ answer, dark }: { answer: Compare; dark: boolean }): JSX.Element | null {
  return useMemo(() => sweepCharts(answer), [answer, dark]);
}

function sweepCharts(answer: Compare): JSX.Element | null {
  const sweep = sweepOf(answer);
  if (sweep === null) return null;
  const { at, names, label, runs } = sweep;
  const charts: readonly (readonly [title: string, of: "last" | "noise" | "jump"])[] = [
    ["loss of the last epoch", "last"],
    ["noise from batch to batch", "noise"],
    ["median jump", "jump"],
  ];
  const ticks = at.map((x, index) => ({ at: x, text: names[index] ?? "" }));
  return (
    <div class="pieces three">
      {charts.map(([title, of]) => (
        <section class="piece">
          <h3>
            {title} <small>by {label}</small>
          </h3>
          <Plot xs={at} lines={[{ ys: runs.map((run) => run[of]), dots: true }]} ticks={ticks} label={`${title} by ${label}`} />
        </section>
      ))}
    </div>
  );
}

function Add({ state }: { state: State }): JSX.Element | null {
  const rows = state.runs.value?.runs ?? [];
  const shown = compared(rows, state.place);
  const others = rows.filter((row) => !row.plain && !shown.includes(row.run));
  return (
    <>
      {others.length === 0 || shown.length >= MOST ? null : (
        <select aria-label="Add a run" value="" onChange={(event) => compareRuns([...shown, event.currentTarget.value])}>
          <option value="">add a run</option>
          {others.map((row) => (
            <option value={row.run}>{row.label}</option>
          ))}
        </select>
      )}
      {state.place.run === null || shown.length < 2 ? null : (
        <button type="button" class="button small" onClick={() => compareRuns([state.place.run ?? ""])}>
          Only this run
        </button>
      )}
      {state.place.runs.length === 0 ? null : (
        <button type="button" class="button small" onClick={() => compareRuns([])}>
          All runs
        </button>
      )}
    </>
  );
}

export function CompareCard({ state }: { state: State }): JSX.Element {
  return (
    <Card area="compare" title="Runs side by side" load={state.compare} onRetry={() => retry("compare")} aside={<Add state={state} />}>
      {(answer) => (
        <>
          <p class="told">{answer.said}</p>
          <SweepCharts answer={answer} dark={state.dark} />
          <Table answer={answer} state={state} />
          <Shared answer={answer} kind={state.place.kind} />
          {answer.differ.length > 1 && <Settings answer={answer} rows={inOrder(answer)} />}
        </>
      )}
    </Card>
  );
}
