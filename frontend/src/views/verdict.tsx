// The answer, before anything else: what the loss does, how sure that is, and why.

import type { JSX } from "preact";
import { retry } from "../actions";
import { api } from "../api";
import { address } from "../host";
import { runKind } from "../lib/kinds";
import { toDo } from "../lib/words";
import type { State } from "../state";
import { Failure } from "./card";
import { Copy } from "./copy";
import { Export } from "./export";
import { Shape } from "./shape";
import { Sentence } from "./text";

export function Verdict({ state }: { state: State }): JSX.Element {
  const { value, status, error } = state.diagnosis;
  const run = state.place.run ?? "";
  if (value === null) {
    const label = state.runs.value?.runs.find((row) => row.run === run)?.label ?? run;
    return (
      <div class="verdict">
        {status === "failed" ? (
          <div class="says">
            <h1>{label} cannot be shown</h1>
            <Failure sentence={error} onRetry={() => retry("diagnosis")} />
          </div>
        ) : (
          <div>
            <h1 class="quiet" title={label}>
              Reading {label === "" ? "the runs" : label}…
            </h1>
          </div>
        )}
      </div>
    );
  }
  const todo = toDo(value);
  return (
    <div class={`verdict k-${value.kind}`}>
      <Shape kind={runKind(value)} size={19} named />
      <div class="says" aria-live="polite">
        <h1>
          {value.headline || value.verdict} {value.aside === "" ? null : <small>{value.aside}</small>}
        </h1>
        {value.subline === "" ? null : (
          <p>
            <Sentence text={value.subline} />
          </p>
        )}
        {todo === "" ? null : (
          <p>
            <b>What to do:</b> <Sentence text={todo} />
          </p>
        )}
        {value.unchecked === "" ? null : (
          <p class="unchecked">
            <Sentence text={value.unchecked} />
          </p>
        )}
        {value.problems.map((problem) => (
          <p class="problem">
            <Sentence text={problem} />
          </p>
        ))}
        {status === "failed" ? <Failure sentence={error} onRetry={() => retry("diagnosis")} /> : null}
      </div>
      <div class="buttons">
        <Copy text={async () => (await api.report(run)).markdown} label="Copy report" />
        <Copy text={() => Promise.resolve(address())} label="Link" name="Copy a link to this view" />
        <Export state={state} />
      </div>
    </div>
  );
}
