// The list of runs, and what else can be chosen: three selects.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { selectRun, setAxis, setOver, setScalar, setScale, setSmooth } from "../actions";
import { listed, MANY } from "../lib/choose";
import { others } from "../lib/compare";
import { counted } from "../lib/format";
import { kindWords, runKind } from "../lib/kinds";
import { isSparse } from "../lib/path";
import { column } from "../lib/range";
import { breakable, facts } from "../lib/words";
import type { State } from "../state";
import type { RunRow } from "../types";
import { Shape } from "./shape";

function subtitle(row: RunRow): string {
  if (row.short !== "") return row.short;
  return row.kind === "pending" ? "reading the verdict…" : kindWords(row.kind);
}

function Row({ row, chosen, room }: { row: RunRow; chosen: boolean; room: string }): JSX.Element {
  const self = useRef<HTMLLIElement>(null);
  useEffect(() => {
    const show = (): void => self.current?.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (!chosen) return;
    show();
    // Rows that come into sight get their real height only then.
    const again = requestAnimationFrame(show);
    return () => cancelAnimationFrame(again);
  }, [chosen, room]);
  return (
    <li
      ref={self}
      id={chosen ? "run-chosen" : undefined}
      role="option"
      aria-selected={chosen}
      class={`run k-${runKind(row)}`}
      title={row.verdict === "" ? row.label : `${row.label}\n${row.verdict}`}
      onClick={() => selectRun(row.run)}
    >
      <Shape kind={runKind(row)} size={12} named />
      <div class="names">
        <b>
          {breakable(row.label).map((part) => (
            <>
              {part}
              <wbr />
            </>
          ))}
        </b>
        <span>
          {row.live ? <em>live · </em> : null}
          {subtitle(row)}
        </span>
      </div>
    </li>
  );
}

function lossSource(state: State): string {
  return state.timeline.value?.settings.loss_source ?? "";
}

export function RunList({ state }: { state: State }): JSX.Element {
  const all = state.runs.value?.runs ?? [];
  const [words, setWords] = useState("");
  const rows = listed(all, words);
  const at = rows.findIndex((row) => row.run === state.place.run);
  // What moves the list while a run is opened: other runs, and the lines below it.
  const room = `${rows.length} ${lossSource(state)}`;
  // What did not change is not gone through again: the page is drawn anew for each frame of a zoom.
  const list = useMemo(() => rows.map((row) => <Row key={row.run} row={row} chosen={row.run === state.place.run} room={room} />), [all, words, state.place.run, room]);
  const keys = (event: KeyboardEvent): void => {
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    const row = to === undefined ? undefined : rows[to];
    if (to !== undefined) event.preventDefault();
    if (row !== undefined) selectRun(row.run);
  };
  return (
    <>
      <h2 class="label" id="runs-label">
        Runs
      </h2>
      {all.length <= MANY ? null : <input type="search" aria-label="Find runs" placeholder={`find in ${all.length} runs`} value={words} onInput={(event) => setWords(event.currentTarget.value)} />}
      <ul class="runs" role="listbox" aria-labelledby="runs-label" aria-activedescendant={at < 0 ? undefined : "run-chosen"} tabIndex={0} onKeyDown={keys}>
        {list}
      </ul>
    </>
  );
}

interface Choice {
  label: string;
  value: string;
  options: readonly (readonly [value: string, text: string])[];
  onChange: (value: string) => void;
}

function Select({ label, value, options, onChange }: Choice): JSX.Element {
  return (
    <label class="select">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([key, text]) => (
          <option key={key} value={key}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

export function Choices({ state }: { state: State }): JSX.Element {
  const { place } = state;
  const tags = state.tags.value?.tags ?? [];
  const known = place.scalar === null || tags.includes(place.scalar) ? tags : [place.scalar, ...tags];
  const source = lossSource(state);
  const rare = state.timeline.value !== null && isSparse(column(state.timeline.value, "mean"));
  return (
    <div class="choices">
      <h2 class="label">Signal</h2>
      <p class="source">batch loss{rare ? "" : ", every batch"}{source === "" ? "" : ` · ${source}`}</p>
      <Select
        label="under it"
        value={place.scalar === null ? "" : `=${place.scalar}`}
        options={[["", "nothing"], ...known.map((tag) => [`=${tag}`, tag] as const)]}
        onChange={(value) => setScalar(value === "" ? null : value.slice(1))}
      />
      <Select
        label="x axis"
        value={place.axis}
        options={[
          ["epoch", "epoch"],
          ["step", "step"],
        ]}
        onChange={(value) => setAxis(value === "step" ? "step" : "epoch")}
      />
      <Select
        label="y axis"
        value={place.scale}
        options={[
          ["auto", "as fits"],
          ["linear", "linear"],
          ["log", "log"],
        ]}
        onChange={(value) => setScale(value === "log" || value === "linear" ? value : "auto")}
      />
      <Select
        label="smooth"
        value={String(place.smooth ?? "")}
        options={[["", "not at all"], ...[1, 3, 10].map((share) => [String(share), `over ${share}\u202f%`] as const)]}
        onChange={(value) => setSmooth(value === "" ? null : Number(value))}
      />
      {others(state).length === 0 ? null : (
        <Select
          label="over it"
          value={place.over ? "1" : ""}
          options={[
            ["", "nothing"],
            ["1", counted(others(state).length, "other run", "other runs")],
          ]}
          onChange={(value) => setOver(value !== "")}
        />
      )}
    </div>
  );
}

export function Facts({ state }: { state: State }): JSX.Element {
  const row = state.runs.value?.runs.find((item) => item.run === state.place.run);
  if (row === undefined || row.plain) return <p class="facts" />;
  const timeline = state.timeline.value;
  // The list says 0 until the run was read for its verdict; the timeline may know already.
  const batches = row.batches === 0 ? (timeline?.batches ?? 0) : row.batches;
  const epochs = row.epochs === 0 ? (state.diagnosis.value?.epochs ?? 0) : row.epochs;
  return <p class="facts">{batches === 0 ? "" : facts({ batches, epochs }, timeline?.settings ?? null)}</p>;
}
