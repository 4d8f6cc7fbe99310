// The batches that lie furthest from those around them, as a table; one opened below it.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { openBatch, retry } from "../actions";
import { count, num, signed } from "../lib/format";
import { clicked, type Order, sorted } from "../lib/sort";
import type { State } from "../state";
import type { Batches, Num } from "../types";
import { BatchDetail } from "./batch";
import { Card } from "./card";
import { NotRecorded } from "./missing";

/** Columns of the table: name in the answer, heading, and how a value is written; distances from what is usual have a sign. */
const COLUMNS: readonly (readonly [name: string, heading: string, title: string, show: (value: Num) => string])[] = [
  ["batch", "batch", "row of the run", whole],
  ["step", "step", "the training's own step", whole],
  ["epoch", "epoch", "", whole],
  ["index", "in epoch", "batches since the start of the epoch", whole],
  ["loss", "loss", "", num],
  ["loss_z", "off", "distance of the loss from the batches around, in robust standard deviations", distance],
  ["grad_norm", "gradient", "norm of the gradient", num],
  ["grad_z", "off", "distance of the gradient norm, in robust standard deviations", distance],
  ["input_z", "inputs off", "distance of the mean or the standard deviation of the inputs, in robust standard deviations", distance],
];

function whole(value: Num): string {
  return value === null ? "–" : count(value);
}

function distance(value: Num): string {
  return signed(value, 2);
}

function Table({ batches, chosen }: { batches: Batches; chosen: number | null }): JSX.Element {
  const [order, setOrder] = useState<Order>({ column: -1, falling: true });
  const shown = COLUMNS.map(([name, ...rest]) => ({ name, rest, values: batches.columns[batches.names.indexOf(name)] ?? [] })).filter(({ values }) => values.some((value) => value !== null));
  const rows = useMemo(() => {
    const by = shown[order.column];
    if (by !== undefined) return sorted(by.values, order.falling, by.name.endsWith("_z"));
    const [loss = [], grad = [], input = []] = ["loss_z", "grad_z", "input_z"].map((name) => batches.columns[batches.names.indexOf(name)]);
    const bad = new Set(batches.nonfinite);
    return sorted((batches.columns[0] ?? []).map((batch, row) => (bad.has(batch ?? -1) ? Infinity : Math.max(Math.abs(loss[row] ?? 0), Math.abs(grad[row] ?? 0), Math.abs(input[row] ?? 0)))), true, true);
  }, [batches, order]);
  const at = (row: number): number => batches.columns[0]?.[row] ?? 0;
  const keys = (event: KeyboardEvent): void => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const to = by === undefined || !(event.target instanceof HTMLElement) ? undefined : event.target.closest("tr")?.[by > 0 ? "nextElementSibling" : "previousElementSibling"];
    if (to === undefined) return;
    event.preventDefault();
    to?.querySelector("button")?.focus();
  };
  return (
    <div class="scroll" tabIndex={-1}>
      <table>
        <thead>
          <tr>
            {shown.map(({ rest: [heading, title] }, column) => (
              <th aria-sort={order.column !== column ? "none" : order.falling ? "descending" : "ascending"} title={title || undefined}>
                <button type="button" onClick={() => setOrder(clicked(order, column))}>
                  {heading}
                  <i aria-hidden="true">{order.column !== column ? "" : order.falling ? " ↓" : " ↑"}</i>
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody onKeyDown={keys}>
          {rows.map((row) => (
            <tr key={at(row)} class={at(row) === chosen ? "chosen" : ""} onClick={() => openBatch(at(row))}>
              {shown.map(({ name, rest: [, , show], values }, column) => {
                const value = values[row] ?? null;
                const text = name === "loss" && batches.nonfinite.includes(at(row)) ? "not finite" : show(value);
                const far = name.endsWith("_z") && Math.abs(value ?? 0) >= batches.far;
                return (
                  <td class={far || text === "not finite" ? "far" : ""}>
                    {column > 0 ? (
                      text
                    ) : (
                      <button type="button" aria-pressed={at(row) === chosen} aria-label={`Open batch ${text}`}>
                        {text}
                      </button>
                    )}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function BatchesCard({ state }: { state: State }): JSX.Element {
  return (
    <>
      <Card area="batches" title="Batches that lie far off" load={state.batches} onRetry={() => retry("batches")} aside="click a row, or ↑ ↓ and Enter, to open it">
        {(batches) =>
          batches.columns[0]?.length === 0 ? (
            <p class="note">{batches.said}</p>
          ) : (
            <>
              <p class="told">{batches.said}</p>
              <Table batches={batches} chosen={state.place.batch} />
              {state.place.batch === null ? <NotRecorded missing={batches.missing} /> : null}
            </>
          )
        }
      </Card>
      {state.place.batch === null ? null : <BatchDetail state={state} />}
    </>
  );
}
